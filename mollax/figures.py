"""The command that draws the method: schedules, degraded images, label densities, the PNG curve (docs/METHOD.md).

python -m mollax.figures --out=FOLDER [--images=PATH --reader=tiny_imagenet] [--corruptions]
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from PIL import Image

from mollax import corrupt, data, evaluators, experiment, mollify
from mollax.data import Dataset
from mollax.image import standardize, unstandardize
from mollax.logbook import write_json
from mollax.mollify.compression import TINY_IMAGENET_PNG_LOSS
from mollax.progress import Terminal
from mollax.report import method_plots, spectrum_plots

_OUT = flags.DEFINE_string("out", None, "Folder for the pictures; created where missing.")
_IMAGES = flags.DEFINE_string("images", "", "File or folder of images; empty for scikit-learn's digits.")
_READER = flags.DEFINE_string("reader", "folder", "How to read --images: folder, tiny_imagenet, cifar, idx or npz.")
_SIZE = flags.DEFINE_integer("image_size", 0, "Side in pixels that --images are cropped to; 0 keeps the stored size.")
_PICTURES = flags.DEFINE_list("pictures", ["0", "1"], "Which test images the strips show, counted from 0.")
_PNG_CURVE = flags.DEFINE_string("png_curve", "", "JSON file with a measured PNG curve; empty measures it on --images.")
_CORRUPTIONS = flags.DEFINE_boolean(
    "corruptions", False, "Also draw every corruption and what it does to the cosine spectrum (minutes)."
)
_CORRUPTED = flags.DEFINE_integer("corrupted_images", 200, "How many test images --corruptions measures; 0 for all.", 0)
_FORMATS = flags.DEFINE_list("formats", ["png", "svg"], "What to write.")
_DPI = flags.DEFINE_integer("dpi", 110, "Dots per inch of PNG files; figures are up to 10 inches wide.", lower_bound=20)
_COLORS = flags.DEFINE_integer(
    "colors", 0, "Reduce PNG files to so many colors, for files of a third the size; 0 keeps all.", 0, 256
)

TEMPERATURES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)  # columns of a strip
POWERS = (0.5, 1.0, 2.0)  # k of eq 12 and 13
BETAS = ((1.0, 2.0), (1.0, 4.0), (1.0, 9.0), (2.0, 2.0))  # of the temperature; the first is the paper's
PNG_IMAGES = 200  # measured where no curve is given
PNG_WIDTH = 16  # below it PNG files are mostly headers
SEVERITY = 3  # of the corrupted picture
REFERENCE_T = 0.3  # temperature of the training's noise and blur beside it
BANDS = 8  # of frequencies in dct_change.json
DIGITS = 5  # decimals there
GAMMA = 0.5  # label share lost in the simplex picture
SEED = 0  # of the noise


def schedules() -> Figure:
    """Amplitudes, SNR and label decay over the temperature."""
    t = jnp.linspace(0.0, 1.0, 201)
    alpha, sigma = mollify.noise_amplitudes(t)
    gamma = {k: np.asarray(mollify.noise_label_decay(t, k)) for k in POWERS}
    ts, alphas, sigmas, snr = (np.asarray(values) for values in (t, alpha, sigma, mollify.snr(t)))
    return method_plots.schedule_curves(ts, alpha=alphas, sigma=sigmas, snr=snr, gamma_noise=gamma)


def strips(
    images: UInt8[np.ndarray, "pictures h w c"],
    *,
    mean: Float[np.ndarray, " c"],
    std: Float[np.ndarray, " c"],
    classes: int,
    temperatures: Sequence[float] = TEMPERATURES,
) -> dict[str, Figure]:
    """{"noise_strip", "blur_strip"}: the pictures at every temperature, one noise draw a picture.

    Args:
      images: the pictures.
      mean, std: per channel, of the set they come from, in [0, 1]; noise acts on standardized images.
      classes: number of classes, which decides what a fully smoothed label leaves on the true one.
      temperatures: of the columns.
    """
    center, spread = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
    t = jnp.asarray(temperatures, jnp.float32)
    scales = mollify.blur_scale(t, images.shape[2])
    standard = standardize(jnp.asarray(images, jnp.float32) / 255.0, center, spread)
    keys = jax.random.split(jax.random.key(SEED), len(images))

    def over_temperatures(key: jax.Array, image: jax.Array) -> tuple[jax.Array, jax.Array]:
        noisy = jax.vmap(lambda level: mollify.noise(key, image, level))(t)
        return noisy, jax.vmap(lambda scale: mollify.blur(image, scale))(scales)

    noisy, blurred = (
        np.asarray(unstandardize(shown, center, spread)) for shown in jax.vmap(over_temperatures)(keys, standard)
    )
    one_hot = jax.nn.one_hot(jnp.zeros(len(t), jnp.int32), classes)
    decays = (mollify.noise_label_decay(t), mollify.blur_label_decay(t))
    by_noise, by_blur = (np.asarray(mollify.smooth_labels(one_hot, gamma)[:, 0]) for gamma in decays)
    steps, snr = np.asarray(t), np.asarray(mollify.snr(t))
    return {
        "noise_strip": method_plots.noise_strip(noisy, steps, snr, by_noise),
        "blur_strip": method_plots.blur_strip(blurred, steps, np.asarray(scales), by_blur),
    }


def simplex(gamma: float = GAMMA) -> Figure:
    """One-hot, tempered and smoothed labels of three classes as densities over predictions."""
    one_hot, lost = jnp.array([1.0, 0.0, 0.0]), jnp.float32(gamma)
    labels = [one_hot, mollify.temper_labels(one_hot, lost), mollify.smooth_labels(one_hot, lost)]
    names = ("one-hot", f"tempered, γ = {gamma:g} (eq 7)", f"smoothed, γ = {gamma:g} (eq 8)")
    return method_plots.dirichlet_simplex(np.stack(labels).astype(np.float64), names)


def png_curve(dataset: Dataset, path: str = "") -> Figure:
    """The PNG curve from a file; else measured on test images; else, for tiny ones, TinyImageNet's mean.

    Raises:
      ValueError: if the file does not hold the lists "t", "mean" and "standard_deviation".
    """
    if path:
        return _stored_curve(Path(path))
    t = np.linspace(0.0, 1.0, len(TINY_IMAGENET_PNG_LOSS))
    if dataset.image_shape[1] < PNG_WIDTH:
        return method_plots.png_curve(t, np.array(TINY_IMAGENET_PNG_LOSS), source="1000 images of TinyImageNet")
    count = min(PNG_IMAGES, len(dataset.test))
    lost = mollify.png_loss_curve(evaluators.stack(dataset.test, range(count)), t)
    source = f"{count} test images of {dataset.name}"
    sd = lost.std(axis=0, ddof=1) if count > 1 else None
    return method_plots.png_curve(t, lost.mean(axis=0), sd, source=source)


def _stored_curve(path: Path) -> Figure:
    stored = json.loads(path.read_text(encoding="utf-8"))
    names = ("t", "mean", "standard_deviation")
    missing = [name for name in names if name not in stored]
    if missing:
        raise ValueError(f"{path} has no {', '.join(missing)}; benchmarks/png_curve.py writes such a file.")
    t, mean, sd = (np.array(stored[name], dtype=np.float64) for name in names)
    return method_plots.png_curve(t, mean, sd, source=str(stored.get("images", "")))


def groups() -> dict[str, tuple[str, ...]]:
    """The four groups of test corruptions, each with its held-out one at the end."""
    extra = dict(zip(corrupt.GROUPS, corrupt.EXTRA_NAMES, strict=True))
    return {group: (*names, extra[group]) for group, names in corrupt.GROUPS.items()}


def corruption_pictures(
    image: UInt8[np.ndarray, "h w c"], *, mean: Float[np.ndarray, " c"], std: Float[np.ndarray, " c"]
) -> Figure:
    """One picture under all 19 corruptions at the middle severity, beside the training's noise and blur (fig 11a).

    Args:
      image: the picture.
      mean, std: per channel, of the set it comes from, in [0, 1].
    """
    key, pixels = jax.random.key(SEED), jnp.asarray(image, jnp.float32) / 255.0
    shown = {
        name: np.asarray(corrupt.corrupt(key, pixels, name, SEVERITY)) for names in groups().values() for name in names
    }
    center, spread = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
    standard, t = standardize(pixels, center, spread), jnp.float32(REFERENCE_T)
    noisy = unstandardize(mollify.noise(key, standard, t), center, spread)
    blurred = unstandardize(mollify.blur(standard, mollify.blur_scale(t, image.shape[1])), center, spread)
    column = {
        "untouched": np.asarray(pixels),
        f"training noise, t = {REFERENCE_T:g}": np.asarray(noisy),
        f"training blur, t = {REFERENCE_T:g}": np.asarray(blurred),
    }
    return spectrum_plots.corruption_grid(shown, groups(), first_column=column)


def dct_change(
    dataset: Dataset, count: int = 200, *, progress: Callable[[str, int, int], None] | None = None
) -> tuple[Figure, dict[str, Any]]:
    """What corruptions, training noise and training blur do to the cosine spectrum (eq 16, fig 11b).

    Args:
      dataset: its test images are corrupted, at all severities; statistics for the noise are of its training images.
      count: how many, spread evenly; 0 for all.
      progress: called with what was done, how many of the 95 changes, and of how many.

    Returns:
      The figure and what dct_change.json holds: for each corruption the mean change of a coefficient (pixels in
      [0, 1]), the same in `BANDS` bands from low to high frequency, and its overlap with the training's noise and blur.
    """
    total = len(dataset.test)
    count = min(count, total) or total
    images = evaluators.stack(dataset.test, np.linspace(0, total - 1, count).astype(np.int64))
    mean, std = experiment.channel_statistics(dataset.train)
    training = evaluators.mollification_spectra(images, mean=mean, std=std)
    spectra = evaluators.corruption_spectra(images, progress=progress)
    alike = {
        name: {role: corrupt.overlap(found, training[role]) for role in training} for name, found in spectra.items()
    }
    notes = {name: f"noise {100 * on['noise']:.0f} %, blur {100 * on['blur']:.0f} %" for name, on in alike.items()}
    column = {
        "training noise": training["noise"],
        "training blur": training["blur"],
        "images": evaluators.image_spectrum(images),
    }
    figure = spectrum_plots.spectrum_grid(spectra, groups(), first_column=column, notes=notes)
    numbers = {
        "images": f"{count} test images of {dataset.name}",
        "image_shape": list(dataset.image_shape),
        "severities": list(corrupt.SEVERITIES),
        "training": {role: _summary(found) for role, found in training.items()},
        "corruptions": {name: {**_summary(found), "overlap": alike[name]} for name, found in spectra.items()},
    }
    return figure, numbers


def _summary(spectrum: Float[np.ndarray, "h w"]) -> dict[str, Any]:
    """Mean of a spectrum over all frequencies and over bands of equal width in (m / h, n / w) from the origin."""
    down, across = (np.arange(side) / side for side in spectrum.shape)
    radius = np.hypot(down[:, None], across[None, :]) / np.sqrt(2)
    band = np.minimum((BANDS * radius).astype(int), BANDS - 1)
    means = [round(float(spectrum[band == i].mean()), DIGITS) if (band == i).any() else None for i in range(BANDS)]
    return {"mean": round(float(spectrum.mean()), DIGITS), "bands": means}


def load(path: str, reader: str, *, image_size: int = 0) -> Dataset:
    """Images as RGB from `path`, or the digits where it is empty; the arguments are flags of the command."""
    if not path:
        return data.load("digits")
    return data.load(reader, path=path, channels=3, image_size=image_size or None, resize="crop")


def choose(dataset: Dataset, numbers: Sequence[str]) -> UInt8[np.ndarray, "pictures h w c"]:
    """The test images that --pictures names.

    Raises:
      ValueError: for something else than numbers of test images.
    """
    count = len(dataset.test)
    wrong = [number for number in numbers if not number.isdecimal() or int(number) >= count]
    if wrong or not numbers:
        raise ValueError(f"--pictures takes numbers from 0 to {count - 1}, such as 0,3; got {','.join(numbers)!r}.")
    return evaluators.stack(dataset.test, [int(number) for number in numbers])


def draw(dataset: Dataset, *, pictures: Sequence[str] = ("0", "1"), curve: str = "") -> dict[str, Figure]:
    """All figures by name; `pictures` and `curve` are the flags --pictures and --png_curve."""
    mean, std = experiment.channel_statistics(dataset.train)
    chosen = choose(dataset, pictures)
    return {
        "schedules": schedules(),
        **strips(chosen, mean=mean, std=std, classes=len(dataset.class_names)),
        "temperatures": method_plots.temperature_densities(BETAS),
        "dirichlet": simplex(),
        "png_curve": png_curve(dataset, curve),
    }


def save(
    figures: Mapping[str, Figure], folder: Path, *, formats: Sequence[str], dpi: int = 110, colors: int = 0
) -> list[Path]:
    """Writes every figure in every format and returns the files.

    Args:
      figures: name -> figure; the name is the file's.
      folder: created where missing.
      formats: "png", "svg", "pdf", ...
      dpi: dots per inch of PNG files.
      colors: most colors of a PNG file; 0 for all.

    Raises:
      ValueError: for a format that matplotlib does not write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, figure in figures.items():
        for kind in formats:
            file = folder / f"{name}.{kind}"
            figure.savefig(file, format=kind, dpi=dpi)
            if kind == "png" and colors:
                # Maximum coverage keeps small accents; a median cut spends its colors on the large areas.
                picture = Image.open(file).convert("RGB").quantize(colors, Image.Quantize.MAXCOVERAGE, kmeans=3)
                picture.save(file, optimize=True)
            files.append(file)
    return files


def main(arguments: Sequence[str]) -> None:
    """Runs the command; errors that a user can mend end in one message and exit code 2."""
    logging.getLogger("jax").setLevel(logging.WARNING)
    try:
        if arguments[1:] or not _OUT.value:
            raise ValueError("give --out=FOLDER, and every other setting as --name=value; see --help.")
        dataset = load(_IMAGES.value, _READER.value, image_size=_SIZE.value)
        figures = draw(dataset, pictures=_PICTURES.value, curve=_PNG_CURVE.value)
        numbers: dict[str, Any] = {}
        if _CORRUPTIONS.value:
            mean, std = experiment.channel_statistics(dataset.train)
            picture = choose(dataset, _PICTURES.value)[0]
            figures["corruptions"] = corruption_pictures(picture, mean=mean, std=std)
            with Terminal() as terminal:

                def show(name: str, done: int, total: int) -> None:
                    terminal.show("corruptions", done, total, name)

                figures["dct_change"], numbers = dct_change(dataset, _CORRUPTED.value, progress=show)
        files = save(figures, Path(_OUT.value), formats=_FORMATS.value, dpi=_DPI.value, colors=_COLORS.value)
        if numbers:
            files.append(Path(_OUT.value) / "dct_change.json")
            write_json(files[-1], numbers)
    except (ValueError, OSError) as error:
        print(f"mollax.figures: {error}", file=sys.stderr)
        sys.exit(2)
    for file in files:
        print(f"{file} ({file.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    app.run(main)
