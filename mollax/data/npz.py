"""A set in one NumPy `.npz` file: `{train,validation,test}_{images,labels}`, or `images` and `labels` without
splits.

Optional key `class_names`, one string per label. Nothing in the file is executed (`allow_pickle=False`).
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Int32, Shaped, UInt8

from mollax.data.dataset import RawData, ReadOptions, Skip, Split
from mollax.data.pixels import conform

SPLITS = ("train", "validation", "test")


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of the file; raises ValueError for anything but an archive of plain arrays."""
    with path.open("rb") as file:
        try:
            archive = np.load(file, allow_pickle=False)
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is not a readable .npz file ({error}). Write it with np.savez.") from error
        if isinstance(archive, np.ndarray):
            raise ValueError(f"{path} holds a single array (.npy); expected an .npz file with images and labels.")
        return {key: load_array(archive, key, path) for key in archive.files}


def load_array(archive: np.lib.npyio.NpzFile, key: str, path: Path) -> np.ndarray:
    """One array of the open archive; damaged data and object arrays raise ValueError with its key."""
    try:
        return archive[key]
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        pickled = "pickle" in str(error)
        reason = "an object array, which only a pickle can hold" if pickled else str(error)
        raise ValueError(f"{key} in {path} cannot be read: {reason}. Store plain numeric arrays.") from error


def split_keys(keys: set[str], path: Path) -> dict[str, tuple[str, str]]:
    """Split name -> (images key, labels key); a set without splits counts as "train". Unknown keys raise."""
    plain = {"images", "labels"}
    pairs = {"train": ("images", "labels")} if keys & plain else {}
    if not pairs:
        pairs = {s: (f"{s}_images", f"{s}_labels") for s in SPLITS if {f"{s}_images", f"{s}_labels"} & keys}
    wanted = {key for pair in pairs.values() for key in pair}
    unknown, missing = sorted(keys - wanted - {"class_names"}), sorted(wanted - keys)
    if not pairs or unknown or missing:
        found = ", ".join(sorted(keys)) or "nothing"
        problem = f"lacks {', '.join(missing)}" if missing else f"has unexpected {', '.join(unknown) or 'keys'}"
        raise ValueError(
            f"{path} {problem} (found: {found}). Expected images and labels, or "
            "{train,validation,test}_{images,labels}, and optionally class_names."
        )
    return pairs


def to_labels(labels: Shaped[np.ndarray, ...], *, key: str) -> Int32[np.ndarray, " n"]:
    """Labels as int32 (n,), after a check of type, rank and sign."""
    if labels.ndim == 2:
        raise ValueError(f"{key} has shape {labels.shape}: one-hot labels? Expected one integer per image (argmax).")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(f"{key} must be integers of shape (n,); got {labels.dtype} of shape {labels.shape}.")
    if len(labels) and labels.min() < 0:
        raise ValueError(f"{key} holds a negative label, {labels.min()} at position {int(labels.argmin())}.")
    if len(labels) and labels.max() > np.iinfo(np.int32).max:
        raise ValueError(f"{key} holds label {labels.max()}, which is no class index.")
    return labels.astype(np.int32)


def check_images(images: Shaped[np.ndarray, ...], *, key: str) -> Shaped[np.ndarray, "n h w c"]:
    """Images with four axes, after a check of type and layout; (n, h, w) counts as gray."""
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise ValueError(f"{key} must be uint8 in [0, 255] or float in [0, 1]; got {images.dtype}.")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4:
        raise ValueError(f"{key} must have 4 axes (n, height, width, channels); got shape {images.shape}.")
    if images.shape[-1] not in (1, 2, 3, 4):
        hint = " Channels seem to come first: transpose to (n, height, width, channels)."
        first = hint if images.shape[1] in (1, 3) else ""
        raise ValueError(f"{key} has {images.shape[-1]} channels (shape {images.shape}); expected 1 or 3.{first}")
    if 0 in images.shape[1:]:
        raise ValueError(f"{key} holds images without pixels: shape {images.shape}.")
    return images


def bad_pixels(images: Shaped[np.ndarray, "n h w c"]) -> dict[int, str]:
    """Position -> reason, for float images with a value that is not finite or not in [0, 1]."""
    bad = {}
    for index, image in enumerate(images):
        if not np.isfinite(image).all():
            bad[index] = "has NaN or infinite pixels"
        elif image.min() < 0 or image.max() > 1:
            bad[index] = f"has values from {image.min():g} to {image.max():g}, outside [0, 1]"
    return bad


def to_uint8(images: Shaped[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "n h w c"]:
    """Float images in [0, 1] to round(255 x), image by image to save memory."""
    out = np.empty(images.shape, np.uint8)
    for row, image in zip(out, images, strict=True):
        row[...] = np.rint(image.astype(np.float64) * 255)
    return out


def read_split(
    images: np.ndarray, labels: np.ndarray, *, keys: tuple[str, str], on_bad_image: str
) -> tuple[Split, list[Skip], list[str]]:
    """One split, what was skipped, and notes."""
    images, labels = check_images(images, key=keys[0]), to_labels(labels, key=keys[1])
    if len(images) != len(labels):
        raise ValueError(f"{keys[0]} has {len(images)} images, {keys[1]} has {len(labels)} labels.")
    if images.dtype == np.uint8:
        return Split(images, labels), [], []
    bad = bad_pixels(images)
    if bad and on_bad_image == "raise":
        index, reason = next(iter(bad.items()))
        raise ValueError(
            f"Image {index} of {keys[0]} {reason} ({len(bad)} such images of {len(images)}). "
            "Float images must be in [0, 1]: rescale them or store uint8; "
            "on_bad_image='skip' leaves bad ones out."
        )
    good = np.setdiff1d(np.arange(len(images)), np.array(list(bad), np.int64))
    skipped = [Skip(f"{keys[0]}[{index}]", reason) for index, reason in bad.items()]
    note = f"{keys[0]}: {len(good)} {images.dtype} images in [0, 1] rounded to 8 bit"
    return Split(to_uint8(images[good]), labels[good]), skipped, [note]


def to_class_names(names: np.ndarray, *, classes: int) -> tuple[str, ...]:
    """One distinct name per class, from an array of strings; raises ValueError otherwise."""
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise ValueError(f"class_names must be a one-dimensional array of strings; got {names.dtype}, {names.shape}.")
    words = tuple(w.decode("utf-8", "replace") if isinstance(w, bytes) else str(w) for w in names.tolist())
    if len(words) < classes:
        raise ValueError(f"class_names has {len(words)} names, but there is a label {classes - 1}.")
    if len(set(words)) < len(words):
        twice = next(word for word in words if words.count(word) > 1)
        raise ValueError(f"class_names holds {twice!r} twice.")
    return words


def read_npz(path: str | Path, options: ReadOptions) -> RawData:
    """The splits found in the file; see the module's first lines for the keys.

    Images are uint8 or float in [0, 1] (rounded to 8 bit, noted), (n, h, w) or (n, h, w, channels).

    Raises:
      ValueError: for unknown or missing keys, object arrays, wrong types or ranks, NaN or out-of-range
        pixels, and labels that are negative or have no name.
    """
    file = Path(path)
    arrays = load_arrays(file)
    splits: dict[str, Split] = {}
    skipped: list[Skip] = []
    notes: list[str] = []
    for name, keys in split_keys(set(arrays), file).items():
        splits[name], left_out, said = read_split(
            arrays[keys[0]], arrays[keys[1]], keys=keys, on_bad_image=options.on_bad_image
        )
        skipped += left_out
        notes += said
    classes = 1 + max(int(split.labels.max(initial=-1)) for split in splits.values())
    if "class_names" in arrays:
        names = to_class_names(arrays["class_names"], classes=classes)
    else:
        names = tuple(map(str, range(classes)))
    return conform(RawData(splits, names, tuple(skipped), tuple(notes)), options)
