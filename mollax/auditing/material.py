"""The images of an audit: reference and new ones at one size, stored alike; the reference cut into bank and "
"held-out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from mollax import checks
from mollax.auditing.settings import Settings
from mollax.data.codec import recode_jpeg
from mollax.data.collection import NAMES, Collection, Loaded, open_collection
from mollax.data.dataset import ReadOptions
from mollax.data.duplicates import content_hashes
from mollax.data.inspect import Storage
from mollax.data.options import evenly_spaced, generator

Show = Callable[[str, int, int], None]
LARGEST_SIDE = 64
HELD_MOST = 5000
COPIES = 0.01  # of a given held-out part that may lie in the bank; these are taken out of the bank


@dataclass(frozen=True)
class Form:
    """What all images of an audit are brought to.

    Attributes:
      size: side in pixels.
      channels: 1 or 3.
      jpeg_quality: of the JPEG that all go through; 0 for none.
    """

    size: int
    channels: int
    jpeg_quality: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return (self.size, self.size, self.channels)


@dataclass(frozen=True)
class Side:
    """Images of one side and where they are from.

    Attributes:
      loaded: the images.
      class_names: of their labels; empty without.
      about: "name", "path", "reader", "split" and "images".
      storage: how they are stored; None if it is not known.
    """

    loaded: Loaded
    class_names: tuple[str, ...]
    about: dict[str, Any]
    storage: Storage | None

    def __len__(self) -> int:
        return len(self.loaded)


def describe(collection: Collection) -> dict[str, Any]:
    """What the page and audit.json say of a collection."""
    return {
        "name": collection.name,
        "path": collection.path,
        "reader": collection.reader,
        "split": collection.split,
        "images": len(collection),
    }


def choose_form(
    settings: Settings, reference: Storage, new: Storage, *, shape: tuple[int, int, int] | None = None
) -> Form:
    """Size, channels and JPEG quality for both sides.

    The size is the run's (`shape`), or the most common one of the reference up to `LARGEST_SIDE`; the channels are the
    run's or the reference's, color where it mixes. If half of the files of a side are JPEG, both sides go through JPEG
    of the lower of the two typical qualities, so that its traces are in both.

    Raises:
      ValueError: for a size other than the run's, or a run whose images are not square.
    """
    size, jpeg = settings.size, settings.jpeg_quality
    checks.positive_int("--size", size, minimum=0)
    if shape is not None:
        if shape[0] != shape[1]:
            raise ValueError(f"The run is for images of {shape[0]} x {shape[1]}; only square ones can be audited.")
        if size not in (0, shape[0]):
            raise ValueError(
                f"--size={size}, but the run in {settings.workdir} is for images of {shape[0]} x {shape[1]}. Leave "
                "--size out."
            )
        size, channels = shape[0], shape[2]
    else:
        size = size or min(LARGEST_SIDE, *reference.common_size())
        channels = 1 if all(mode in ("gray", "gray + alpha", "1 bit") for mode in reference.mode) else 3
    if jpeg < 0:
        jpeg = min(filter(None, (reference.typical_quality(), new.typical_quality())), default=0)
    elif jpeg:
        checks.in_range("--jpeg-quality", jpeg, 1, 100)
    return Form(size, channels, jpeg)


def load(collection: Collection, form: Form, *, limit: int, show: Show | None = None, what: str = "reading") -> Side:
    """Evenly spaced images of a collection, at most `limit` of them (all if 0), brought to a form.

    Raises:
      ValueError: if none can be read.
    """
    positions = evenly_spaced(len(collection), limit)
    options = ReadOptions(form.size, "stretch", form.channels, "white", "skip")
    if show:
        show(what, 0, len(positions))
    loaded = collection.read(positions, options)
    if len(loaded) == 0:
        raise ValueError(f"None of the images in {collection.path} can be read.")
    loaded = replace(loaded, images=through_jpeg(loaded.images, form))
    notes = [f"{len(positions):,} of {len(collection):,} images taken, evenly spaced"] * (
        len(positions) < len(collection)
    )
    loaded = replace(loaded, notes=(*collection.notes, *notes, *loaded.notes))
    if show:
        show(what, len(positions), len(positions))
    about = describe(collection) | {"images": len(loaded)}
    return Side(loaded, collection.class_names, about, collection.storage)


def through_jpeg(images: np.ndarray, form: Form) -> np.ndarray:
    """The images as the form's JPEG leaves them."""
    return np.asarray(recode_jpeg(images, form.jpeg_quality)) if form.jpeg_quality else images


def groups_of(loaded: Loaded, depth: int) -> tuple[str, ...] | None:
    """The group (writer, patient, video) of each image: its `depth`-th folder below that of the class; None for 0.

    Raises:
      ValueError: if an image does not lie so deep.
    """
    if checks.positive_int("--groups", depth, minimum=0) == 0:
        return None
    for file, folder in zip(loaded.files, loaded.folders, strict=True):
        if folder.count("/") < depth:
            wanted = "/".join(["CLASS", *["FOLDER"] * (depth - 1), "GROUP", "IMAGE"])
            raise ValueError(f"--groups={depth} takes groups from {wanted}; {file} does not lie so deep.")
    return tuple(folder.split("/")[depth] for folder in loaded.folders)


def cut_held_out(
    count: int, share: float, *, groups: Sequence[str] | None, seed: int
) -> tuple[Int[np.ndarray, " b"], Int[np.ndarray, " h"]]:
    """Positions of bank and held-out part, drawn by (seed, "held out"); at most `HELD_MOST` are held out.

    With groups whole groups are drawn, until the next would exceed the number wanted (but at least one).

    Raises:
      ValueError: for a share not in (0, 1), fewer than ten images, or a single group.
    """
    checks.in_range("--held-out-share", share, 0.0, 1.0, open_low=True, open_high=True)
    if count < 10:
        raise ValueError(f"The reference has {count} images; a held-out part can be cut from ten or more.")
    wanted = min(HELD_MOST, max(2, round(share * count)))
    rng = generator(seed, "held out")
    if groups is None:
        held = np.sort(rng.permutation(count)[:wanted])
        return np.setdiff1d(np.arange(count), held), held
    names, numbers = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"All {count} images are of one group, {str(names[0])!r}; a held-out part needs another.")
    sizes, chosen = np.bincount(numbers), list[int]()
    for group in rng.permutation(len(names)):
        if not chosen or sizes[chosen].sum() + sizes[group] <= wanted:
            chosen.append(int(group))
    inside = np.isin(numbers, chosen[: len(names) - 1])
    return np.flatnonzero(~inside), np.flatnonzero(inside)


def open_held_out(settings: Settings) -> Collection | None:
    """The collection that --held-out names: a split of the reference, or a path; None if it names nothing."""
    if not settings.held_out:
        return None
    if settings.held_out in NAMES:
        return open_collection(settings.reference, reader=settings.reader, split=settings.held_out, name=settings.name)
    return open_collection(settings.held_out, preferred="validation")


def without_held_out(
    bank: Side, held: Loaded, *, given: bool, hashes: Sequence[bytes] | None = None
) -> tuple[Side, Bool[np.ndarray, " n"]]:
    """The bank without copies of held-out images, and which of its images were kept.

    Raises:
      ValueError: if the held-out part was given and more than `COPIES` of it lie in the bank: then it is not held out;
        or if nothing is left of the bank.
    """
    inside = set(content_hashes(held.images))
    own = list(hashes) if hashes is not None else content_hashes(bank.loaded.images)
    kept = np.array([value not in inside for value in own])
    shared = len(inside & set(own))
    if given and shared > COPIES * len(inside):
        raise ValueError(
            f"{shared:,} of {len(inside):,} held-out images are also in the bank, pixel for pixel. The held-out part "
            "must not be among the reference images: give another --held-out, or leave it out to have one cut."
        )
    if kept.all():
        return bank, kept
    if not kept.any():
        raise ValueError(
            f"All {len(kept):,} images of the bank are identical to held-out ones: they say nothing of a distribution. "
            "Give other reference images."
        )
    notes = (*bank.loaded.notes, f"{int((~kept).sum()):,} copies of held-out images taken out of the bank")
    logging.info("note: %s", notes[-1])
    return replace(bank, loaded=replace(bank.loaded.take(np.flatnonzero(kept)), notes=notes)), kept
