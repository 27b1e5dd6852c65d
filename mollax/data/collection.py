"""Images of any source as one list, whatever its layout: labels and sub-folders where there are any.

Unlike `load`, nothing is demanded of the layout: a folder of photographs without classes is a collection, too. It is
opened first (names, labels, how images are stored), then read at the size and channels that are wanted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int, Int32, UInt8

from mollax.checks import one_of
from mollax.data.dataset import Images, RawData, ReadOptions, Skip
from mollax.data.decode import decode_splits
from mollax.data.folder import EXTENSIONS, SPLITS, Files, is_image, list_tree, strip_top
from mollax.data.foreign import join
from mollax.data.idx import FILES, find_file
from mollax.data.inspect import Storage, inspect_array, inspect_files
from mollax.data.npz import load_arrays, read_split, split_keys, to_class_names
from mollax.data.options import take
from mollax.data.pixels import conform_split
from mollax.data.readers import READERS, SPECIFIC, check_path, check_specific
from mollax.data.tiny_imagenet import list_tiny_imagenet

KNOWN = ("folder", "tiny_imagenet", "idx", "npz", "cifar", "tfds", "digits")
NAMES = ("train", "validation", "test", "all")
ANY = ReadOptions(alpha="white", on_bad_image="skip")


@dataclass(frozen=True)
class Loaded:
    """Images of a collection at one size.

    Attributes:
      images: uint8, (n, h, w, c).
      labels: (n,), or None without.
      files: what messages call each image.
      folders: the folder of each image below its split; "" at the top, and for arrays.
      skipped: what could not be read.
      notes: what was done to the images.
    """

    images: UInt8[np.ndarray, "n h w c"]
    labels: Int32[np.ndarray, " n"] | None
    files: tuple[str, ...]
    folders: tuple[str, ...]
    skipped: tuple[Skip, ...]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def take(self, positions: Int[np.ndarray, " m"]) -> Loaded:
        """The images at `positions`, with the same notes."""
        labels = None if self.labels is None else self.labels[positions]
        files, folders = (tuple(words[i] for i in positions) for words in (self.files, self.folders))
        return replace(self, images=self.images[positions], labels=labels, files=files, folders=folders)


@dataclass(frozen=True)
class Collection:
    """What a source holds, before any pixel is brought to size.

    Attributes:
      name, path, reader, split: for people.
      files, folders, labels: as of `Loaded`, for all images.
      class_names: of the labels; empty without.
      storage: how the images are stored.
      notes: what was passed over.
      read: (positions, options) -> `Loaded`, of the images at increasing positions.
    """

    name: str
    path: str
    reader: str
    split: str
    files: tuple[str, ...]
    labels: Int32[np.ndarray, " n"] | None
    class_names: tuple[str, ...]
    storage: Storage
    notes: tuple[str, ...]
    read: Callable[[Int[np.ndarray, " m"], ReadOptions], Loaded]

    def __len__(self) -> int:
        return len(self.files)


def guess_reader(path: str | Path) -> str:
    """Which reader reads a path, by its names alone; "folder" for any folder or zip of images.

    Raises:
      FileNotFoundError: if there is nothing at `path`.
      ValueError: for a file of an unknown kind.
    """
    if str(path) == "digits":
        return "digits"
    place = Path(path).expanduser()
    if not place.exists():
        raise FileNotFoundError(
            f"{path} does not exist. Give a folder or .zip of images, a folder of IDX files, an .npz file, a CIFAR "
            "archive, TinyImageNet's zip, or the data_dir of tfds with its reader and name."
        )
    lower = place.name.lower()
    if lower.endswith(".npz"):
        return "npz"
    if lower.endswith((".tar.gz", ".tgz")):
        return "cifar"
    if place.is_file() and not lower.endswith(".zip"):
        known = ".zip, .npz, .tar.gz"
        single = " Give the folder that it is in." if lower.endswith(EXTENSIONS) else ""
        raise ValueError(f"{path} is a file of an unknown kind; known are {known}.{single}")
    if place.is_dir():
        if find_file(place, FILES["train"][0]):
            return "idx"
        inner = [place, *(one for one in place.iterdir() if one.is_dir())]
        if any((one / name).is_file() for one in inner for name in ("data_batch_1", "data_batch_1.bin", "train.bin")):
            return "cifar"
    return "tiny_imagenet" if "wnids.txt" in strip_top(list_tree(place)).keys else "folder"


def open_collection(
    path: str | Path,
    *,
    reader: str = "",
    split: str = "",
    preferred: str = "train",
    name: str = "",
    label_kind: str = "fine",
) -> Collection:
    """Lists a source and looks at how its images are stored.

    Args:
      path: a folder, archive or file; "digits" for the embedded set; the data_dir for "tfds".
      reader: one of `KNOWN`; empty guesses (`guess_reader`).
      split: "train", "validation", "test", or "all" joined; empty takes `preferred` where it exists, else all.
      preferred: see `split`.
      name: the catalogue name for "tfds".
      label_kind: for CIFAR-100.

    Raises:
      FileNotFoundError: if `path` is missing.
      ValueError: for an unknown kind, a split that is not there, damaged data, or no images.
    """
    reader = one_of("reader", reader or guess_reader(path), KNOWN)
    one_of("split", split or "all", NAMES)
    if reader in ("folder", "tiny_imagenet"):
        place = check_path(reader, path) or Path()
        return (_open_folder if reader == "folder" else _open_tiny)(place, split, preferred)
    specific = check_specific(reader, {**SPECIFIC, "name": name, "label_kind": label_kind})
    file = None if reader == "digits" else check_path(reader, path)
    raw = _read_npz(file) if reader == "npz" and file else READERS[reader].read(file, ANY, **specific)
    return _open_array(raw, reader, str(path), name, split, preferred)


def _choose(found: Sequence[str], split: str, preferred: str, path: str) -> str:
    """The split to take of those found."""
    if split in (*found, "all"):
        return split
    if split:
        raise ValueError(f"{path} has no {split} split; it has {', '.join(found)}. Give one of these, or 'all'.")
    return preferred if preferred in found else "all" if len(found) > 1 else found[0]


def _open_folder(path: Path, split: str, preferred: str) -> Collection:
    """Images anywhere below a folder or in a zip; the first folder below the split is the class."""
    tree = strip_top(list_tree(path))
    names = sorted(name for name in tree.keys if is_image(name))
    if not names:
        raise ValueError(f"{path} holds no images. Images end in {', '.join(EXTENSIONS)}.")
    by_split = all(name.split("/")[0].lower() in SPLITS and "/" in name for name in names)
    parts = {name: SPLITS[name.split("/")[0].lower()] if by_split else "all" for name in names}
    taken = _choose(sorted(set(parts.values())), split, preferred, str(path))
    names = [name for name in names if taken in ("all", parts[name])]
    inside = [name.split("/")[by_split:] for name in names]
    folders = tuple("/".join(parts[:-1]) for parts in inside)
    classes = tuple(sorted({folder.split("/")[0] for folder in folders}))
    labels = None
    if "" not in classes:
        index = {name: i for i, name in enumerate(classes)}
        labels = np.array([index[folder.split("/")[0]] for folder in folders], np.int32)
    unused = sum(not is_image(name) for name in tree.keys)
    notes = [*tree.notes, *([f"{unused:,} files that are not images ignored"] if unused else [])]
    about = path.resolve().name.split(".")[0], str(path), "folder", taken
    return _of_files(about, tree.files, names, [tree.keys[n] for n in names], folders, labels, classes, notes)


def _open_tiny(path: Path, split: str, preferred: str) -> Collection:
    """TinyImageNet's own layout; its classes stand for folders."""
    tiny = list_tiny_imagenet(path)
    taken = _choose(list(tiny.records), split, preferred, str(path))
    pairs = [pair for part, records in tiny.records.items() if taken in ("all", part) for pair in records]
    keys, labels = [key for key, _ in pairs], np.array([label for _, label in pairs], np.int32)
    folders = tuple(tiny.class_names[label] for label in labels)
    about = "tiny_imagenet", str(path), "tiny_imagenet", taken
    return _of_files(about, tiny.files, keys, keys, folders, labels, tiny.class_names, tiny.notes)


def _of_files(
    about: tuple[str, str, str, str],
    files: Files,
    names: Sequence[str],
    keys: Sequence[str],
    folders: tuple[str, ...],
    labels: Int32[np.ndarray, " n"] | None,
    classes: tuple[str, ...],
    notes: Sequence[str],
) -> Collection:
    def read(positions: Int[np.ndarray, " m"], options: ReadOptions) -> Loaded:
        # One label for all: a class of which every image is bad is no reason to stop.
        records = {"all": [(keys[i], 0) for i in positions]}
        splits, skipped, kinds = decode_splits(files, records, options, ("images",))
        bad = {skip.where for skip in skipped}
        kept = np.array([i for i in positions if files.where(keys[i]) not in bad], np.int64)
        words = tuple(names[i] for i in kept), tuple(folders[i] for i in kept)
        return Loaded(_array(splits["all"].images), None if labels is None else labels[kept], *words, skipped, kinds)

    storage = inspect_files(files, keys)
    return Collection(*about, tuple(names), labels, classes if labels is not None else (), storage, tuple(notes), read)


def _array(images: Images) -> UInt8[np.ndarray, "n h w c"]:
    return images if isinstance(images, np.ndarray) else np.stack([images[i] for i in range(len(images))])


def _read_npz(path: Path) -> RawData:
    """As the npz reader, but images of any shape as they are, and labels are not needed."""
    arrays = load_arrays(path)
    if "images" in arrays and not {"labels"} & set(arrays):
        arrays.pop("class_names", None)
        zeros = np.zeros(len(arrays["images"]), np.int32)
        split, skipped, notes = read_split(arrays["images"], zeros, keys=("images", "labels"), on_bad_image="skip")
        return RawData({"all": split}, (), tuple(skipped), tuple(notes))
    splits, skips, words = {}, [], []
    for part, keys in split_keys(set(arrays), path).items():
        splits[part], left_out, said = read_split(*(arrays[key] for key in keys), keys=keys, on_bad_image="skip")
        skips += left_out
        words += said
    classes = 1 + max(int(split.labels.max(initial=-1)) for split in splits.values())
    names = tuple(map(str, range(classes)))
    if "class_names" in arrays:
        names = to_class_names(arrays["class_names"], classes=classes)
    return RawData(splits, names, tuple(skips), tuple(words))


def _split_of(skip: Skip, splits: Container[str]) -> str | None:
    """The split that an image was to be in, by what npz ("test_images[3]") and tfds ("beans/test[3]") call it; None if
    that does not name one of the splits."""
    found = re.search(r"(?:^|/)(\w+?)(?:_images)?\[\d+\]$", skip.where)
    named = SPLITS.get(found[1].lower()) if found else None
    return named if named is not None and named in splits else None


def _open_array(raw: RawData, reader: str, path: str, name: str, split: str, preferred: str) -> Collection:
    """A set that its reader gives as arrays."""
    taken = _choose(list(raw.splits), split, preferred, path)
    shapes = {part: tuple(one.images.shape[1:]) for part, one in raw.splits.items()}
    if taken == "all" and len(set(shapes.values())) > 1:
        listed = ", ".join(f"{part} {'x'.join(map(str, shape))}" for part, shape in shapes.items())
        raise ValueError(f"Splits of {path} differ in image shape: {listed}. Take one of them, not 'all'.")
    chosen = join(list(raw.splits.values())) if taken == "all" and "all" not in raw.splits else raw.splits[taken]
    skipped = tuple(skip for skip in raw.skipped if taken == "all" or _split_of(skip, raw.splits) in (None, taken))
    if len(chosen) == 0:
        reason = f": {skipped[0].where} {skipped[0].reason}" if skipped else ""
        raise ValueError(f"{path} has no image that can be used{reason}.")

    def read(positions: Int[np.ndarray, " m"], options: ReadOptions) -> Loaded:
        split, done = conform_split(take(chosen, positions), options)
        words = tuple(f"{taken}[{i}]" for i in positions), ("",) * len(positions)
        notes = tuple(f"{len(positions):,} images {what}" for what in done)
        return Loaded(_array(split.images), split.labels if raw.class_names else None, *words, skipped, notes)

    labels = chosen.labels if raw.class_names else None
    title = name or (reader if reader == "digits" else Path(path).resolve().name.split(".")[0])
    storage = inspect_array(tuple(chosen.images.shape), kind=f"array ({reader})")
    files = tuple(f"{taken}[{i}]" for i in range(len(chosen)))
    return Collection(title, path, reader, taken, files, labels, raw.class_names, storage, raw.notes, read)
