"""The command that aligns images by what a run has learned: mean shift, image by image (METHODS section 2).

python -m mollax.align --workdir=runs/mnist_flow --out=aligned [--path=IMAGES | --reader=idx --path=FOLDER --split=test]

The images are those of the run's test split; or, with --path, all images in a folder or zip, which need no classes: if
they lie in several folders, a folder's name is their class; or a split of a set that a reader reads (of --reader=folder
with --split). They are brought to the run's size, as the run's own were; unreadable files are skipped and listed.
Writes CLASS/NUMBER.png, transforms.json (pull matrices, the angle by which each image was turned, in degrees
counter-clockwise, its number in the split or among the files, its file where that is known) and prototypes.png, the
mean image of each class before and after.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from mollax import checks, data, evaluators, experiment, host, invariance
from mollax.data import Dataset, LazyImages, Skip, Split
from mollax.data.decode import LazyDecode, count_kinds
from mollax.data.export import choose, class_folders
from mollax.data.options import TakenDecode, evenly_spaced
from mollax.data.stream import decode_batches, find_images
from mollax.finished_run import FinishedRun, open_run, read_records
from mollax.logbook import quiet_libraries, write_json
from mollax.progress import Terminal
from mollax.report.invariance_plots import aligned_means

Show = Callable[..., None]
IMAGES = 500  # of a split, unless --images says otherwise
BATCH = 256  # files decoded at a time


def read_run(workdir: Path) -> FinishedRun:
    """A finished run that can align.

    Raises:
      FileNotFoundError: if there is none.
      ValueError: if it has no augmenter, or one whose transforms cannot be added up.
    """
    config, _ = read_records(workdir)
    if not config.invariance.augmenter:
        raise ValueError(f"The run in {workdir} has no augmenter, so it knows no poses; train one with a flow.")
    if config.invariance.kind == "crop":
        raise ValueError(f"The run in {workdir} has learned crops; mean shift is for transforms around the identity.")
    return open_run(workdir)


@dataclass(frozen=True)
class Chosen:
    """The images to align.

    Attributes:
      dataset: that they are of; it has no class names if they have no classes.
      split: the images themselves.
      part: name of their split; "" for files.
      index: number of each in that split, or among the files.
      sources: file of each; None where it is not known.
      skipped: files that could not be read.
    """

    dataset: Dataset
    split: Split
    part: str
    index: Int[np.ndarray, " n"]
    sources: list[str | None]
    skipped: tuple[Skip, ...]


def read_images(run: FinishedRun, options: argparse.Namespace, show: Show) -> Chosen:
    """The images to align: the run's own, or others at its size and channels.

    Raises:
      FileNotFoundError: for a path that is not there.
      ValueError: for a path without images, a set that its reader refuses, or a run for images that are not square.
    """
    if options.path and options.reader in ("", "folder") and not options.split:
        return read_files(run, Path(options.path), options.images or 0, show)
    part = options.split or "test"
    if options.reader or options.path:
        read = run.read_options()
        dataset = data.load(
            options.reader or "folder",
            path=options.path or None,
            image_size=read.image_size,
            resize=read.resize,
            channels=read.channels,
            alpha=read.alpha,
            on_bad_image="skip",
        )
        skipped = dataset.skipped
        for line in data.describe(dataset):
            logging.info("%s", line)
    else:
        dataset, skipped = experiment.load_data(run.config), ()  # described by it
    images = IMAGES if options.images is None else options.images
    whole: Split = getattr(dataset, part)
    index = evenly_spaced(len(whole), images)
    sources = [_source(whole, i) for i in index.tolist()]
    return Chosen(dataset, choose(dataset, part, images), part, index, sources, skipped)


def _source(split: Split, number: int) -> str | None:
    """The file of an image, which a split knows that decodes its images on demand."""
    decode = split.images.decode if isinstance(split.images, LazyImages) else None
    if isinstance(decode, TakenDecode):
        number, decode = int(decode.positions[number]), decode.decode
    return decode.source.where(decode.keys[number]) if isinstance(decode, LazyDecode) else None


def read_files(run: FinishedRun, path: Path, images: int, show: Show) -> Chosen:
    """Images in a folder or zip, all the way down, in the order of their names; evenly spaced ones, all for 0.

    Raises:
      ValueError: if none of them can be read; see `read_images` for the rest.
    """
    read, found = run.read_options(), find_images([path])
    index = evenly_spaced(len(found), images)
    numbers = iter(index.tolist())
    good: list[tuple[int, str, np.ndarray]] = []
    skipped: list[Skip] = []
    kinds: Counter[str] = Counter()
    for batch in decode_batches([found[i] for i in index], read, size=BATCH):
        for number, (one, result) in zip(numbers, batch, strict=False):
            if isinstance(result, str):
                skipped.append(Skip(one.name, result))
                logging.warning("skipped %s: %s", one.name, result)
            else:
                good.append((number, one.name, result[0]))
                kinds.update(result[1])
        show("reading", len(good) + len(skipped), len(index))
    if not good:
        raise ValueError(f"None of {len(index)} images in {path} could be read, {skipped[0].where} first.")
    for note in count_kinds(kinds):
        logging.info("note: %s", note)
    kept, names, pixels = zip(*good, strict=True)
    parents = [Path(name).absolute().parent.name for name in names]
    classes = tuple(sorted(set(parents))) if len(set(parents)) > 1 else ()
    labels = np.array([classes.index(parent) if classes else 0 for parent in parents], np.int32)
    stacked = np.stack(pixels)
    split, none = Split(stacked, labels), Split(stacked[:0], labels[:0])
    logging.info("%s: %s images, %s", path, f"{len(split):,}", f"{len(classes)} classes" if classes else "no classes")
    dataset = Dataset(path.name, none, none, split, classes, tuple(skipped))
    return Chosen(dataset, split, "", np.array(kept), list(names), tuple(skipped))


def align_set(
    run: FinishedRun, chosen: Chosen, options: argparse.Namespace, show: Show
) -> tuple[Float[np.ndarray, "n h w c"], Float[np.ndarray, "n h w c"], Float[np.ndarray, "n 2 3"]]:
    """Images before and after, and their matrices.

    Raises:
      ValueError: for an empty set, images of another shape than the run's, or transforms that are not finite.
    """
    shape = tuple(run.results["data"]["image_shape"])
    if chosen.dataset.image_shape != shape:
        raise ValueError(f"The run is for images of {shape}; these have {chosen.dataset.image_shape}.")
    assert isinstance(run.model, invariance.TransformedClassifier)  # as it has an augmenter
    evaluator = evaluators.TransformEvaluator(
        run.model,
        chosen.dataset,
        mean=run.mean,
        std=run.std,
        name=run.config.invariance.augmenter,
        steps=options.steps,
        step_size=options.step_size,
        align_draws=options.draws,
    )
    before = evaluators.stack(chosen.split, range(len(chosen.split))).astype(np.float32) / 255
    after, matrices = evaluator.align_images(run.variables, before, progress=show)
    return before, after, matrices


def write_set(
    folder: Path,
    chosen: Chosen,
    before: Float[np.ndarray, "n h w c"],
    after: Float[np.ndarray, "n h w c"],
    matrices: Float[np.ndarray, "n 2 3"],
) -> dict[str, Any]:
    """Writes images, transforms and prototypes; returns the block that the report's figure takes."""
    names, labels = chosen.dataset.class_names, np.asarray(chosen.split.labels)
    folders = class_folders(chosen.dataset) or ("",)
    rows = []
    for number, (image, matrix, label) in enumerate(zip(after, matrices, labels, strict=True)):
        place = folder / folders[label] / f"{number:05}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.rint(image * 255).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(place)
        rows.append(
            {
                "file": place.relative_to(folder).as_posix(),
                "index": int(chosen.index[number]),
                "source": chosen.sources[number],
                "class": names[label] if names else None,
                "angle": round(float(np.rad2deg(invariance.turn_angle(matrix))), 3),
                "matrix": np.asarray(matrix, np.float64).round(6).tolist(),
            }
        )
    skipped = [{"where": skip.where, "reason": skip.reason} for skip in chosen.skipped]
    write_json(folder / "transforms.json", {"split": chosen.part or None, "images": rows, "skipped": skipped})
    block = evaluators.alignment_block(before, after, labels, names or ("all images",))
    figure = aligned_means(block.pop("mean_before"), block.pop("mean_after"), block)
    figure.savefig(folder / "prototypes.png", dpi=150)
    return block


def summary(block: dict[str, Any], *, skipped: int) -> str:
    """What was done, in a line: how much the class means miss, over the classes that have a spread."""
    words = f"{block['images']:,} images aligned"
    words += f", {skipped:,} unreadable ones skipped." if skipped else "."
    pairs = zip(block["before"], block["after"], strict=True)
    known = np.array([pair for pair in pairs if None not in pair], np.float64)
    if len(known):
        before, after = 100 * known.mean(axis=0)
        words += f" Of the images' energy, their class means miss {before:.1f} % before and {after:.1f} % after."
    if left := len(block["names"]) - len(known):
        words += f" Classes of a single image, or of black ones, have no spread: {left} left out."
    return words


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mollax.align", description="Aligns images by mean shift.")
    add = parser.add_argument
    add("--workdir", type=Path, required=True, help="folder of a finished run with an augmenter")
    add("--out", type=Path, required=True, help="folder for what is written; must be new or empty")
    add("--path", default="", help="other images: a folder or zip of them, or what --reader reads")
    add("--reader", default="", help="of a set with classes: idx, npz, cifar, ...; default with --path: folder")
    add("--split", default="", choices=("train", "validation", "test"), help="default: test; all files of a folder")
    add("--images", type=int, help=f"how many, evenly spaced; 0 takes all; default: {IMAGES}, all files of a folder")
    add("--steps", type=int, default=20)
    add("--step-size", type=float, default=0.1)
    add("--draws", type=int, default=100, help="transforms that a step's mean is over")
    return parser


def _check(options: argparse.Namespace) -> None:
    """Raises ValueError, naming the flag, for what can be told to be wrong before anything is read."""
    checks.positive_int("--steps", options.steps)
    checks.positive_int("--draws", options.draws)
    checks.in_range("--step-size", options.step_size, 0.0, 2.0, open_low=True, open_high=True)
    checks.positive_int("--images", options.images or 0, minimum=0)
    if options.reader == "folder" and not options.path:
        raise ValueError("--reader=folder needs --path, the folder or zip to read.")
    if options.out.exists() and not options.out.is_dir():
        raise ValueError(f"{options.out} is a file. Give --out a folder.")
    if options.out.is_dir() and any(options.out.iterdir()):
        raise ValueError(f"{options.out} is not empty. Give --out another folder.")


def _run(options: argparse.Namespace) -> str:
    _check(options)
    run = read_run(options.workdir)
    host.keep_freed_memory()
    with Terminal() as terminal:
        chosen = read_images(run, options, terminal.show)
        found = align_set(run, chosen, options, terminal.show)
    options.out.mkdir(parents=True, exist_ok=True)
    block = write_set(options.out, chosen, *found)
    return f"{options.out}: {summary(block, skipped=len(chosen.skipped))}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; errors that a user can mend end in one message and exit code 2."""
    options = _parser().parse_args(arguments)
    quiet_libraries()
    try:
        print(_run(options))
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        print(f"mollax.align: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
