"""The command that writes a corrupted copy of an image set: the arrays of CIFAR-10-C, or the folders of ImageNet-C.

python -m mollax.corrupt_set --out=FOLDER --reader=folder --path=IMAGES [--corruptions test extra] [--format=png]

With --format=npy the folder holds NAME.npy for each corruption, uint8 (severities n, h, w, c) with severity 1 first,
and labels.npy, int64, the labels of NAME.npy; with png, NAME/SEVERITY/CLASS/INDEX.png, where INDEX counts the images
that were taken. corrupted.json says from what and how they were made. Images equal those that `eval.corruptions` makes
of the same ones, and `eval.corruption_path` reads them. A command that was stopped goes on when it is given again.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from mollax import __version__, checks, corrupt, data, evaluators, host
from mollax.data import Dataset, Split
from mollax.data.export import choose, class_folders
from mollax.data.manifest import FILE, Manifest, read_manifest
from mollax.logbook import write_json
from mollax.progress import Terminal

FROST = "Frost textures are drawn by mollax: numbers with frost differ from those on published sets."
Batches = Iterable[UInt8[np.ndarray, "b h w c"]]
Show = Callable[[str, int, int], None]


def describe(
    dataset: Dataset,
    split: Split,
    *,
    name: str = "test",
    layout: str = "npy",
    severities: Sequence[int] = corrupt.SEVERITIES,
    seed: int = 0,
    rounding: str = "truncate",
) -> Manifest:
    """What a corrupted copy of `split`, which was taken from the split `name`, will say of itself."""
    content = hashlib.sha256(evaluators.content_hash(split).encode() + split.labels.tobytes())
    height, width, _ = dataset.image_shape
    return Manifest(
        mollax=__version__,
        format=layout,
        source=dataset.name,
        split=name,
        images=len(split),
        image_shape=dataset.image_shape,
        content=content.hexdigest(),
        class_names=dataset.class_names,
        class_folders=class_folders(dataset) if layout == "png" else (),
        table=corrupt.nearest_table(height, width),
        seed=seed,
        rounding=rounding,
        severities=tuple(severities),
        notes=(FROST,),
    )


def write_set(
    split: Split,
    folder: Path,
    manifest: Manifest,
    names: Sequence[str],
    *,
    batch_size: int = 500,
    show: Show | None = None,
) -> int:
    """Writes what is missing of a set, and returns how many images that was.

    A file or folder without a dot in front is whole, whenever the program is stopped.

    Args:
      split: the originals.
      folder: of the set, created where missing.
      manifest: `describe` of the split.
      names: corruptions.
      batch_size: images that are corrupted at once; no influence on the result.
      show: called with the cell, the images done and their final number.

    Raises:
      ValueError: if the folder holds something else, or a set that was made otherwise.
    """
    _claim(folder, manifest)
    if manifest.format == "npy":
        _write_labels(folder, split, manifest)
    write, exists = (_write_array, _has_array) if manifest.format == "npy" else (_write_images, _has_images)
    cells = [(name, s) for name in names for s in manifest.severities if not exists(folder, name, s)]
    corrupter = evaluators.Corrupter(batch_size=batch_size, seed=manifest.seed, rounding=manifest.rounding)
    done, total = 0, len(cells) * len(split)

    def counted(batches: Batches, cell: str) -> Iterator[UInt8[np.ndarray, "b h w c"]]:
        nonlocal done
        for batch in batches:
            yield batch
            done += len(batch)
            if show is not None:
                show(cell, done, total)

    for name, severity in evaluators.compiled_ahead(corrupter, split, cells):
        batches = counted(corrupter.batches(split, name, severity), f"{name} {severity}")
        write(folder, split, manifest, name, severity, batches)
    return total


def _claim(folder: Path, manifest: Manifest) -> None:
    """Makes the folder ours, or checks that it already is."""
    folder.mkdir(parents=True, exist_ok=True)
    there = read_manifest(folder)
    if there is None:
        if any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise ValueError(f"{folder} is not empty and has no {FILE}. Give --out another folder.")
        write_json(folder / FILE, asdict(manifest))
        return
    differences = there.differences(manifest)
    if differences:
        raise ValueError(
            f"{folder} holds a set that was made otherwise (there and here: {'; '.join(differences)}). Give --out "
            "another folder, or the settings of the first time."
        )


def _write_labels(folder: Path, split: Split, manifest: Manifest) -> None:
    partial = folder / ".labels.partial.npy"
    np.save(partial, np.tile(split.labels.astype(np.int64), len(manifest.severities)))
    partial.replace(folder / "labels.npy")


def _has_array(folder: Path, name: str, severity: int) -> bool:
    return (folder / f"{name}.npy").exists()


def _write_array(folder: Path, split: Split, manifest: Manifest, name: str, severity: int, batches: Batches) -> None:
    """Appends one severity to an array, which gets its name with the last one."""
    partial, first = folder / f".{name}.partial.npy", severity == manifest.severities[0]
    with partial.open("wb" if first else "ab") as file:
        if first:
            shape = (len(manifest.severities) * manifest.images, *manifest.image_shape)
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for batch in batches:
            file.write(batch.tobytes())
    if severity == manifest.severities[-1]:
        partial.replace(folder / f"{name}.npy")


def _has_images(folder: Path, name: str, severity: int) -> bool:
    return (folder / name / str(severity)).exists()


def _write_images(folder: Path, split: Split, manifest: Manifest, name: str, severity: int, batches: Batches) -> None:
    """Writes the images of one severity into a hidden folder, which gets its name when they are all there."""
    partial, digits = folder / name / f".{severity}.partial", max(5, len(str(manifest.images - 1)))
    shutil.rmtree(partial, ignore_errors=True)
    for label in np.unique(split.labels):
        (partial / manifest.class_folders[label]).mkdir(parents=True)

    def save(index: int, image: UInt8[np.ndarray, "h w c"]) -> None:
        place = partial / manifest.class_folders[split.labels[index]] / f"{index:0{digits}}.png"
        Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(place)

    start = 0
    with ThreadPoolExecutor(host.available_cores()) as threads:
        for batch in batches:
            list(threads.map(save, range(start, start + len(batch)), batch))
            start += len(batch)
    partial.replace(folder / name / str(severity))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mollax.corrupt_set", description="Writes a corrupted copy of an image set."
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder of the set; a stopped command goes on in it")
    add("--reader", default="folder", help="folder, tiny_imagenet, cifar, idx, npz, tfds, digits or sprites")
    add("--path", default="", help="what the reader reads")
    add("--name", default="", help="tfds: name in its catalogue")
    add("--label-kind", default="fine", help="CIFAR-100: fine or coarse")
    add("--image-size", type=int, default=0, help="side in pixels of the originals; 0 keeps the stored size")
    add("--resize", default="stretch", help="to --image-size: stretch or crop")
    add("--channels", type=int, default=0, help="1, 3, or 0 as stored")
    add("--split", default="test", choices=("train", "validation", "test"), help="which images to corrupt")
    add("--images", type=int, default=0, help="how many of them, evenly spaced; 0 takes all")
    add("--corruptions", nargs="+", default=["test"], help='names, "test" (the 15 of the benchmark), "extra" (4 more)')
    add("--severities", nargs="+", type=int, default=corrupt.SEVERITIES, choices=corrupt.SEVERITIES)
    add("--format", default="npy", choices=("npy", "png"), help="arrays as CIFAR-10-C, or folders as ImageNet-C")
    add("--seed", type=int, default=0, help="of what is random in a corruption")
    add("--rounding", default="truncate", choices=("truncate", "round"), help="to 8 bits; published sets truncate")
    add("--batch-size", type=int, default=500, help="images corrupted at once; no influence on the result")
    return parser


def _run(options: argparse.Namespace) -> str:
    names = evaluators.expand(options.corruptions, option="--corruptions")
    batch_size = checks.positive_int("--batch-size", options.batch_size)
    host.keep_freed_memory()
    host.spread_over_cores(batch_size=batch_size)
    dataset = data.load(
        options.reader,
        path=options.path or None,
        name=options.name,
        label_kind=options.label_kind,
        image_size=options.image_size or None,
        resize=options.resize,
        channels=options.channels or None,
    )
    for line in data.describe(dataset):
        logging.info("%s", line)
    split = choose(dataset, options.split, options.images)
    manifest = describe(
        dataset,
        split,
        name=options.split,
        layout=options.format,
        severities=sorted(set(options.severities)),
        seed=checks.positive_int("--seed", options.seed, minimum=0),
        rounding=options.rounding,
    )
    began = time.perf_counter()
    with Terminal() as terminal:

        def show(cell: str, done: int, total: int) -> None:
            terminal.show("corrupting", done, total, f"{cell}, {done / (time.perf_counter() - began):,.0f} images/s")

        written = write_set(split, options.out, manifest, names, batch_size=batch_size, show=show)
    seconds = time.perf_counter() - began
    return (
        f"{options.out}: {len(names)} corruptions x {len(manifest.severities)} severities of {len(split):,} images; "
        f"{written:,} images written in {seconds:.0f} s. --config.eval.corruption_path={options.out} evaluates on them."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; errors that a user can mend end in one message and exit code 2."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("jax").setLevel(logging.WARNING)
    try:
        print(_run(options))
    except KeyboardInterrupt:
        print("mollax.corrupt_set: stopped; the same command goes on from here.", file=sys.stderr)
        sys.exit(130)
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        print(f"mollax.corrupt_set: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
