"""Images of another set, made like those of a first one: outliers to train with and sets to detect.

They take the first set's size, channels and codec, so that a detector cannot tell the sets by how they were stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from mollax.checks import one_of, positive_int
from mollax.data.codec import recode_jpeg
from mollax.data.dataset import LazyImages, RawData, ReadOptions, Split
from mollax.data.duplicates import content_hashes, shared_positions
from mollax.data.folder import read_images
from mollax.data.options import class_index, generator, keep_classes, take, take_evenly
from mollax.data.pixels import conform
from mollax.data.readers import READERS, SPECIFIC, check_options, check_path, check_specific

SPLITS = ("train", "validation", "test", "all")
NOISES = ("uniform", "gaussian")
GENERATED = 2000  # images of noise where no limit is given


@dataclass(frozen=True)
class Foreign:
    """Images of another set, and a note on everything that was done to them. Labels are that set's own.

    Attributes:
      split: the images.
      notes: what was done to them.
      stored: the same before they went through JPEG once more; None where they did not.
    """

    split: Split
    notes: tuple[str, ...]
    stored: Split | None = None


def load_foreign(
    reader: str,
    *,
    shape: tuple[int, int, int],
    path: str | Path | None = None,
    name: str = "",
    split: str = "test",
    classes: Sequence[str | int] = (),
    excluded: Sequence[str | int] = (),
    limit: int = 0,
    resize: str = "stretch",
    jpeg_quality: int = 0,
    on_bad_image: str = "raise",
    seed: int = 0,
) -> Foreign:
    """Reads a set and brings its images to a shape.

    Args:
      reader: a key of `mollax.data.readers.READERS`; "images" for all images below a folder or in a zip, whatever
        their folders; or "noise".
      shape: (height, width, channels) of the first set; square.
      path: as of `load`.
      name: the catalogue name for "tfds"; "uniform" (each number by itself in 0 .. 255) or "gaussian" (mean 127.5,
        deviation 63.75, clipped) for "noise".
      split: which to take; "all" joins them. A set without the named split gives what it has, with a note.
      classes: names or indices of the classes to keep; () keeps all. Indices are those of the whole set.
      excluded: classes to leave out, by name, index or WordNet id, such as those that the first set has too; listed.
      limit: images at most, evenly spaced; 0 keeps all (of noise, `GENERATED`).
      resize: "stretch" or "crop".
      jpeg_quality: above 0, images go through JPEG once more, as the first set did. 0 leaves them.
      on_bad_image: "raise" or "skip".
      seed: of noise, and of sets that are drawn.

    Raises:
      FileNotFoundError: if `path` is missing.
      ValueError: for a bad argument, damaged data, or a set of which nothing is left.
    """
    height, width, channels = shape
    if height != width:
        raise ValueError(f"Images of another set are made square; this one is {height}x{width}.")
    one_of("split", split, SPLITS)
    positive_int("limit", limit, minimum=0)
    positive_int("jpeg_quality", jpeg_quality, minimum=0)
    if reader == "noise":
        images = _noise(one_of("name", name, NOISES), limit or GENERATED, shape, seed)
        chosen, notes = Split(images, np.zeros(len(images), np.int32)), [f"{len(images)} images of {name} noise"]
    else:
        one_of("reader", reader, (*READERS, "images", "noise"))
        options = check_options(ReadOptions(height, resize, channels, "white", on_bad_image, seed))
        given = {"name": name} if name else {}
        raw = _read(reader, path, options, given)
        raw, left_out = _choose_classes(raw, classes, excluded)
        chosen, which = _pick(raw, split)
        notes = [*raw.notes, *left_out, *which]
        notes += (
            [f"{len(raw.skipped)} unreadable images skipped (such as {raw.skipped[0].where})"] if raw.skipped else []
        )
        if len(chosen) == 0:
            raise ValueError(f"Nothing is left of the {reader} set {str(path)!r}; look at split, classes and excluded.")
        if limit and limit < len(chosen):
            notes.append(f"{limit} of {len(chosen)} images kept (limit)")
            chosen = take_evenly(chosen, limit)
    if not jpeg_quality:
        return Foreign(chosen, tuple(notes))
    recoded = replace(chosen, images=recode_jpeg(chosen.images, jpeg_quality))
    return Foreign(recoded, (*notes, f"through JPEG of quality {jpeg_quality}"), stored=chosen)


def without_shared(
    split: Split, others: dict[str, Split], *, stored: Split | None = None
) -> tuple[Split, tuple[str, ...]]:
    """The images of a split that none of the others has, pixel for pixel, and a note for each that shared some.

    The split is decoded for it; others whose images are decoded on demand are not compared, which a note says: that
    would decode all of a large training set.

    Args:
      split: the images.
      others: by the names that notes give them.
      stored: the same images before a codec changed their pixels, if one did: equal in either form counts as shared.
    """
    notes: list[str] = []
    left = np.arange(len(split))
    forms: list[list[bytes]] = []
    for name, other in others.items():
        if isinstance(other.images, LazyImages):
            notes.append(f"not compared with {name}, which is decoded on demand")
            continue
        forms = forms or [content_hashes(form.images) for form in (split, stored) if form is not None]
        known = content_hashes(other.images)
        shared = np.intersect1d(left, np.concatenate([shared_positions(form, known) for form in forms]))
        if len(shared):
            notes.append(f"{len(shared)} images that are also in {name} left out")
            left = np.setdiff1d(left, shared)
    return split if len(left) == len(split) else take(split, left), tuple(notes)


def _read(reader: str, path: str | Path | None, options: ReadOptions, given: dict[str, str]) -> RawData:
    if reader == "images":
        return read_images(check_path("folder", path) or Path(), options)
    specific = check_specific(reader, {**SPECIFIC, **given})
    if reader == "sprites":  # are drawn large and made smaller, as other images are
        large = replace(options, image_size=None)
        return conform(READERS[reader].read(None, large, **specific), options)
    return READERS[reader].read(check_path(reader, path), options, **specific)


def _noise(name: str, count: int, shape: tuple[int, int, int], seed: int) -> UInt8[np.ndarray, "n h w c"]:
    rng = generator(seed, f"{name} noise")
    if name == "uniform":
        return rng.integers(0, 256, (count, *shape), np.uint8)
    return np.rint(np.clip(rng.normal(127.5, 63.75, (count, *shape)), 0, 255)).astype(np.uint8)


def _choose_classes(
    raw: RawData, classes: Sequence[str | int], excluded: Sequence[str | int]
) -> tuple[RawData, list[str]]:
    """The classes wanted without those excluded; both count as in the whole set."""
    if not classes and not excluded:
        return raw, []
    known = [{name, number, *raw.class_ids[number : number + 1]} for number, name in enumerate(raw.class_names)]
    unknown = [one for one in excluded if not any(one in names for names in known)]
    if unknown:
        raise ValueError(f"excluded names {', '.join(map(repr, unknown))}, which is no class of the set.")
    wanted = [class_index(one, raw.class_names) for one in classes] or range(len(known))
    kept = [number for number in wanted if known[number].isdisjoint(excluded)]
    gone = [raw.class_names[number] for number in wanted if number not in kept]
    if not kept:
        raise ValueError(f"All classes of the set are excluded: {', '.join(gone)}.")
    return keep_classes(raw, kept), [f"classes left out: {', '.join(gone)}"] if gone else []


def _pick(raw: RawData, name: str) -> tuple[Split, list[str]]:
    """The named split, or all that there is."""
    if name in raw.splits:
        return raw.splits[name], [f"its {name} split"]
    note = [f"all of it ({', '.join(raw.splits)})"] + [f"it has no {name} split"] * (name != "all")
    return join(list(raw.splits.values())), note


def join(parts: list[Split]) -> Split:
    """Several splits as one, in turn; images decoded on demand stay so."""
    if len(parts) == 1:
        return parts[0]
    labels = np.concatenate([part.labels for part in parts])
    sizes = [len(part) for part in parts]
    if all(isinstance(part.images, np.ndarray) for part in parts):
        return Split(np.concatenate([np.asarray(part.images) for part in parts]), labels)
    decode = _Joined([part.images for part in parts], sizes)
    return Split(LazyImages(decode, (len(labels), *parts[0].images.shape[1:])), labels)


@dataclass(frozen=True)
class _Joined:
    """Images of several parts, one after the other; picklable."""

    parts: list
    sizes: list[int]

    def __call__(self, index: int) -> np.ndarray:
        for part, size in zip(self.parts, self.sizes, strict=True):
            if index < size:
                return part[index]
            index -= size
        raise IndexError(index)
