"""One function from a reader's name to three disjoint splits; everything done on the way is in the notes.

The order is: read, keep `classes`, cut a test part if there is none, long tail, limits, cut a validation part
if there is none, compare for duplicates, check. Every draw uses `split_seed` alone, so runs that differ in
the training seed train, tune and test on the same images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mollax.checks import in_range, one_of, positive_int
from mollax.data.dataset import Dataset, LazyImages, RawData, ReadOptions, Split
from mollax.data.duplicates import DUPLICATES, check_disjoint
from mollax.data.options import (
    check_labels,
    class_counts,
    keep_classes,
    limit_total,
    long_tail_sizes,
    stratified_split,
)
from mollax.data.options import long_tail as cut_long_tail
from mollax.data.readers import READERS, check_options, check_path, check_specific
from mollax.data.rotated import rotate_split


def check_raw(raw: RawData, reader: str) -> RawData:
    """What a reader returned, after a check that it can be used: a train split, images, labels in range, one
    shape.
    """
    if "train" not in raw.splits:
        found = ", ".join(raw.splits) or "nothing"
        raise ValueError(f"The {reader} reader found no training images (found: {found}).")
    for name, split in raw.splits.items():
        one_of("split", name, ("train", "validation", "test"))
        if len(split) == 0:
            raise ValueError(f"{name} has no images.")
        check_labels(split.labels, len(raw.class_names), name=name)
    shapes = {name: tuple(split.images.shape[1:]) for name, split in raw.splits.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())
        raise ValueError(
            f"Splits differ in image shape: {listed}. Pass image_size=... and channels=... to make them one."
        )
    return raw


def cut_splits(
    raw: RawData, *, test: float, tail: float, limit: int, test_limit: int, validation: float, seed: int
) -> tuple[dict[str, Split], list[str]]:
    """Three splits and notes: a missing test part from train, long tail and limits, a missing validation
    part.
    """
    splits, notes, classes = dict(raw.splits), [], len(raw.class_names)
    if "test" not in splits:
        splits["train"], splits["test"] = stratified_split(
            splits["train"], test, classes=classes, seed=seed, purpose="test"
        )
        notes.append(f"no test split found: {len(splits['test'])} of the training images set apart (split_seed={seed})")
    if tail != 1:
        sizes = long_tail_sizes(class_counts(splits["train"], classes), tail)
        splits["train"] = cut_long_tail(splits["train"], tail, classes=classes, seed=seed)
        notes.append(f"long tail rho={tail:g}: {sizes[0]} to {sizes[-1]} training images a class, validation included")
    for name, most in (("train", limit), ("validation", test_limit), ("test", test_limit)):
        if most and name in splits and most < len(splits[name]):
            notes.append(f"{name}: {most} of {len(splits[name])} images kept (limit)")
            splits[name] = limit_total(splits[name], most, classes=classes, seed=seed)
    if "validation" not in splits:
        splits["train"], splits["validation"] = stratified_split(
            splits["train"], validation, classes=classes, seed=seed, purpose="validation"
        )
        notes.append(f"validation: {len(splits['validation'])} of the training images (split_seed={seed})")
    return splits, notes


def separate(splits: dict[str, Split], *, duplicates: str) -> tuple[dict[str, Split], list[str]]:
    """The splits after a search for shared images; test keeps its images, then validation, then train."""
    out, notes = dict(splits), []
    for a, b in (("validation", "test"), ("train", "test"), ("train", "validation")):
        out[a], note = check_disjoint(out[a], out[b], names=(a, b), duplicates=duplicates)
        notes += [note] if note else []
    return out, list(dict.fromkeys(notes))


def check_classes(splits: dict[str, Split], class_names: tuple[str, ...]) -> list[str]:
    """Raises ValueError for an empty split or a class without training images; notes classes missing
    elsewhere.
    """
    notes = []
    for name, split in splits.items():
        if len(split) == 0:
            raise ValueError(f"{name} has no images left after classes, limits and duplicates were applied.")
        empty = np.flatnonzero(class_counts(split, len(class_names)) == 0)
        if len(empty) == 0:
            continue
        shown = ", ".join(class_names[k] for k in empty[:5]) + (", ..." if len(empty) > 5 else "")
        if name == "train":
            raise ValueError(
                f"train has no images of {len(empty)} of {len(class_names)} classes ({shown}). "
                "Name the classes to keep with classes=..., or raise limit."
            )
        notes.append(f"{name} has no images of {len(empty)} of {len(class_names)} classes ({shown})")
    return notes


def title(reader: str, path: Path | None, specific: dict[str, Any]) -> str:
    """What tables call the set: its catalogue name, the sprites' angles, or the file's or folder's name."""
    if reader == "sprites":
        return f"sprites_{specific['angles']}"
    if reader == "tfds":
        return str(specific["name"])
    if path is None or reader == "tiny_imagenet":
        return reader
    return path.resolve().name.split(".")[0] or reader


def load(
    reader: str,
    *,
    path: str | Path | None = None,
    name: str = "",
    image_size: int | None = None,
    resize: str = "stretch",
    channels: int | None = None,
    alpha: str = "raise",
    on_bad_image: str = "raise",
    classes: Sequence[str | int] = (),
    long_tail: float = 1.0,
    rotated: float = 0.0,
    limit: int = 0,
    test_limit: int = 0,
    validation: float = 0.1,
    test: float = 0.2,
    duplicates: str = "note",
    split_seed: int = 0,
    angles: str = "45",
    per_class: int = 1000,
    test_per_class: int = 250,
    label_kind: str = "fine",
) -> Dataset:
    """Reads a set and returns its three splits, images uint8 NHWC, labels int32.

    Args:
      reader: a key of `READERS`.
      path: file or folder; empty for "digits" and "sprites"; the data_dir for "tfds".
      name: the catalogue name for "tfds", such as "cifar10".
      image_size, resize, channels, alpha, on_bad_image: see `ReadOptions`.
      classes: names, or indices as integers, of the classes to keep, relabelled in this order; empty keeps
        all.
      long_tail: rho >= 1, the ratio of the first to the last class's training size (`long_tail_sizes`); 1
        leaves all.
      rotated: degrees; every image is turned once, by an angle uniform in +- this (`rotate_split`), after the splits
        are cut and compared.
      limit: training images to keep, validation part included, classes in proportion; 0 keeps all.
      test_limit: the same for test, and for a validation split that came with the data; 0 keeps all.
      validation: share of the training images, stratified, where the data have no validation split.
      test: the same for a missing test split, cut before `long_tail` and `limit`.
      duplicates: "note", "drop" or "raise" for images that two splits share (`check_disjoint`).
      split_seed: the only seed of everything drawn here: splits, subsets and sprites. The training seed plays
        no part.
      angles, per_class, test_per_class: for "sprites".
      label_kind: for "cifar".

    Raises:
      FileNotFoundError: if `path` or a file in it is missing.
      ValueError: for a bad argument, damaged data, labels out of range, an empty split or a class without
        training images.
    """
    one_of("reader", reader, READERS)
    given = {
        "angles": angles,
        "per_class": per_class,
        "test_per_class": test_per_class,
        "label_kind": label_kind,
        "name": name,
    }
    specific = check_specific(reader, given)
    options = check_options(ReadOptions(image_size, resize, channels, alpha, on_bad_image, split_seed))
    one_of("duplicates", duplicates, DUPLICATES)
    in_range("long_tail", long_tail, 1.0)
    in_range("rotated", rotated, 0.0, 180.0)
    in_range("validation", validation, 0.0, 1.0, open_low=True, open_high=True)
    in_range("test", test, 0.0, 1.0, open_low=True, open_high=True)
    positive_int("limit", limit, minimum=0)
    positive_int("test_limit", test_limit, minimum=0)
    place = check_path(reader, path)

    raw = check_raw(READERS[reader].read(place, options, **specific), reader)
    if classes:
        raw = keep_classes(raw, classes)
    splits, cut = cut_splits(
        raw,
        test=test,
        tail=long_tail,
        limit=limit,
        test_limit=test_limit,
        validation=validation,
        seed=split_seed,
    )
    splits, shared = separate(splits, duplicates=duplicates)
    missing = check_classes(splits, raw.class_names)
    turned = []
    if rotated:
        splits = {part: rotate_split(split, rotated, seed=split_seed, purpose=part) for part, split in splits.items()}
        turned = [f"every image turned once, uniformly within +-{rotated:g} degrees (split_seed={split_seed})"]
    return Dataset(
        name=title(reader, place, specific),
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        class_names=raw.class_names,
        skipped=raw.skipped,
        notes=(*raw.notes, *cut, *shared, *missing, *turned),
        class_ids=raw.class_ids,
    )


def describe(dataset: Dataset) -> list[str]:
    """The set in a few lines of text: classes, shape, sizes, then every note and the first skipped inputs."""
    names, shape = dataset.class_names, "x".join(map(str, dataset.image_shape))
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    sizes = ", ".join(f"{name} {len(split):,}" for name, split in splits.items())
    size = sum(split.images.nbytes for split in splits.values()) / 2**20
    lazy = any(isinstance(split.images, LazyImages) for split in splits.values())
    where = f"decoded on demand, {size:.1f} MiB if decoded" if lazy else f"{size:.1f} MiB in memory"
    lines = [f"{dataset.name}: {len(names)} classes ({shown})", f"images {shape}, {where}: {sizes}"]
    lines += [f"note: {note}" for note in dataset.notes]
    if dataset.skipped:
        lines.append(f"skipped {len(dataset.skipped)} inputs:")
        lines += [f"  {skip.where}: {skip.reason}" for skip in dataset.skipped[:5]]
        lines += [f"  ... and {len(dataset.skipped) - 5} more"] if len(dataset.skipped) > 5 else []
    return lines
