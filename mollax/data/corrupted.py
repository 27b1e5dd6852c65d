"""Corrupted sets on disk, in the two layouts in which they are published and `mollax.corrupt_set` writes them.

Arrays (CIFAR-10-C, CIFAR-100-C): NAME.npy, uint8 (severities n, h, w, c), severity 1 first, and labels.npy, the labels
of NAME.npy, which repeat for each severity. Images (ImageNet-C, Tiny-ImageNet-C): [group/]NAME/SEVERITY/CLASS/file.
A cell is one corruption at one severity.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from mollax.data.dataset import ReadOptions, Split
from mollax.data.decode import decode_splits
from mollax.data.folder import Files, is_image
from mollax.data.manifest import Manifest, read_manifest
from mollax.data.options import check_labels

SEVERITIES = (1, 2, 3, 4, 5)
LAYOUT = "Expected NAME.npy and labels.npy (CIFAR-10-C), or folders NAME/SEVERITY/CLASS of images (ImageNet-C)."


@dataclass(frozen=True)
class CorruptedArrays:
    """A folder of arrays, which stay on disk until images are asked for.

    Attributes:
      path: the folder.
      block_labels: of the images of one severity.
      severities: in the order in which the arrays hold them.
      image_shape: that the arrays must have.
      manifest: None for a published set.
    """

    path: Path
    block_labels: Int32[np.ndarray, " n"]
    severities: tuple[int, ...]
    image_shape: tuple[int, int, int]
    manifest: Manifest | None

    @property
    def in_order(self) -> bool:
        """Whether images are in the order of the split that they were made from."""
        return True

    def check(self, name: str, severity: int) -> None:
        """Raises as `cell`; reads headers only."""
        self._images(name, severity)

    def labels(self, name: str, severity: int) -> Int32[np.ndarray, " n"]:
        """The labels of a cell, the same in each."""
        return self.block_labels

    def cell(self, name: str, severity: int) -> tuple[Split, tuple[str, ...]]:
        """The images, mapped from disk, with their labels, and no notes.

        Raises:
          FileNotFoundError: if there is no such corruption.
          ValueError: for a severity that is not there, or an array that cannot be read or does not fit the labels or
            the image shape.
        """
        return Split(self._images(name, severity), self.block_labels), ()

    def _images(self, name: str, severity: int) -> np.ndarray:
        array, count = self._array(name), len(self.block_labels)
        if severity not in self.severities:
            raise ValueError(f"{self.path} has severities {_listed(self.severities)}; {severity} is not among them.")
        block = self.severities.index(severity)
        return array[block * count : (block + 1) * count]

    def _array(self, name: str) -> np.ndarray:
        file = self.path / f"{name}.npy"
        if not file.is_file():
            found = sorted(other.stem for other in self.path.glob("[!.]*.npy") if other.stem != "labels")
            raise FileNotFoundError(f"{self.path} holds no {name}.npy. {_found(name, found)}")
        array = _open_array(file)
        if array.dtype != np.uint8 or array.ndim != 4:
            raise ValueError(f"{file} must hold 8-bit images (n, h, w, c); got {array.dtype} of shape {array.shape}.")
        rows = len(self.severities) * len(self.block_labels)
        if len(array) != rows:
            raise ValueError(f"{file} holds {len(array):,} images, but labels.npy {rows:,} labels.")
        if array.shape[1:] != self.image_shape:
            got, wanted = ("x".join(map(str, shape)) for shape in (array.shape[1:], self.image_shape))
            raise ValueError(f"{file} holds images of {got}; those of the data set are {wanted}.")
        return array


@dataclass(frozen=True)
class CorruptedFolders:
    """Folders of images, which are decoded when a cell is asked for.

    Attributes:
      path: the folder.
      names: {corruption: its folder}.
      classes: class folders, in the order of the labels.
      options: how images are brought to the data set's shape.
      manifest: None for a published set.
    """

    path: Path
    names: Mapping[str, Path]
    classes: tuple[str, ...]
    options: ReadOptions
    manifest: Manifest | None

    @property
    def in_order(self) -> bool:
        """Whether images are in the order of the split that they were made from: file names tell, if we wrote them."""
        return self.manifest is not None

    def check(self, name: str, severity: int) -> None:
        """Raises as `cell` does before it decodes images."""
        self._folder(name, severity)

    def labels(self, name: str, severity: int) -> Int32[np.ndarray, " n"]:
        """The labels of a cell; raises as `cell`."""
        return np.array([label for _, label in self._records(name, severity)], np.int32)

    def cell(self, name: str, severity: int) -> tuple[Split, tuple[str, ...]]:
        """The images of one cell with their labels, and notes on conversions.

        They are in the order of the original split where `in_order`, else class by class. Images that would take more
        than `mollax.data.decode.MEMORY_LIMIT` together are decoded one by one when asked for.

        Raises:
          FileNotFoundError: if the corruption or severity is not there.
          ValueError: for class folders that are not those of the data set, or no images.
          BadImageError: at the first bad image.
        """
        files = Files(str(self._folder(name, severity)))
        splits, _, notes = decode_splits(files, {"test": self._records(name, severity)}, self.options, self.classes)
        return splits["test"], notes

    def _records(self, name: str, severity: int) -> list[tuple[str, int]]:
        """(file, label) of every image of a cell."""
        folder = self._folder(name, severity)
        records = [
            (f"{entry}/{file.name}", label)
            for label, entry in enumerate(self.classes)
            if (folder / entry).is_dir()
            for file in sorted((folder / entry).iterdir())
            if is_image(file.name) and not file.name.startswith(".")
        ]
        if not records:
            raise ValueError(f"{folder} holds no images. {LAYOUT}")
        if self.manifest is not None:
            records.sort(key=lambda record: Path(record[0]).stem)
            if len(records) != self.manifest.images:
                raise ValueError(f"{folder} holds {len(records):,} images of {self.manifest.images:,}; write it again.")
        return records

    def _folder(self, name: str, severity: int) -> Path:
        """The folder of a cell, after a check of its class folders."""
        if name not in self.names:
            raise FileNotFoundError(f"{self.path} holds no folder {name}. {_found(name, self.names)}")
        folder = self.names[name] / str(severity)
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} does not exist. {LAYOUT}")
        found, expected = _folders(folder), set(self.classes)
        # A class without an image has no folder in a set that we wrote.
        differing = sorted(found ^ expected if self.manifest is None else found - expected)
        if differing:
            where = {entry: "the folder" if entry in found else "the data set" for entry in differing}
            shown = ", ".join(f"{entry!r} only in {where[entry]}" for entry in differing[:6])
            more = ", ..." if len(differing) > 6 else ""
            known = any(re.fullmatch(r"n\d{8}", entry) for entry in found - expected)
            hint = " The tiny_imagenet reader knows the classes of WordNet ids." if known else ""
            raise ValueError(f"{folder}: class folders are not the classes of the data set: {shown}{more}.{hint}")
        return folder


def read_corrupted(
    path: str | Path,
    *,
    class_names: Sequence[str],
    image_shape: tuple[int, int, int],
    class_ids: Sequence[str] = (),
    resize: str = "stretch",
) -> CorruptedArrays | CorruptedFolders:
    """Opens a published or written set for a data set with these classes and this shape; no image is read.

    Args:
      path: a folder in one of the two layouts.
      class_names: of the data set, in the order of its labels; class folders carry them, or `class_ids`.
      image_shape: (height, width, channels) of the data set; folders of images are brought to it, arrays must have it.
      class_ids: WordNet ids of the classes where the data set has them.
      resize: see `ReadOptions`.

    Raises:
      FileNotFoundError: if there is no folder at `path`, or no labels beside arrays.
      ValueError: for another layout, labels that are out of range or differ between severities, or other classes.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        hint = "is a file; unpack it and give the folder" if path.exists() else "does not exist"
        raise FileNotFoundError(f"{path} {hint}. {LAYOUT}")
    manifest = read_manifest(path)
    if manifest is not None and manifest.class_names != tuple(class_names):
        raise ValueError(
            f"{path} was made for other classes ({_listed(manifest.class_names)}) than those of the data set "
            f"({_listed(class_names)})."
        )
    names = _corruption_folders(path)
    if not names:
        severities = SEVERITIES if manifest is None else manifest.severities
        labels = _read_labels(path, len(severities), len(class_names))
        return CorruptedArrays(path, labels, severities, image_shape, manifest)
    options = ReadOptions(image_size=image_shape[0], resize=resize, channels=image_shape[2])
    classes = _class_order(names, class_names, class_ids) if manifest is None else manifest.class_folders
    return CorruptedFolders(path, names, tuple(classes), options, manifest)


def _folders(path: Path) -> set[str]:
    return {entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")}


def _corruption_folders(path: Path) -> dict[str, Path]:
    """Folders that hold a severity, in `path` or in groups (noise, blur, ...) one further down."""
    found: dict[str, Path] = {}
    for top in sorted(_folders(path)):
        inner = [path / top / name for name in sorted(_folders(path / top))]
        # Inside of a corruption, classes called "1" look like severities.
        for folder in [path / top] if _severities(path / top) else filter(_severities, inner):
            if folder.name in found:
                raise ValueError(f"{path} has two folders for {folder.name}: {found[folder.name]} and {folder}.")
            found[folder.name] = folder
    return found


def _severities(corruption: Path) -> list[Path]:
    return [folder for severity in SEVERITIES if (folder := corruption / str(severity)).is_dir()]


def _class_order(names: Mapping[str, Path], class_names: Sequence[str], class_ids: Sequence[str]) -> Sequence[str]:
    """Class folders in the order of the labels: the names of the classes, or their ids if folders are called so."""
    found = _folders(_severities(next(iter(names.values())))[0])
    return class_ids if found & set(class_ids) and not found & set(class_names) else class_names


def _read_labels(path: Path, severities: int, classes: int) -> Int32[np.ndarray, " n"]:
    """The labels of one severity's images."""
    file = path / "labels.npy"
    if not file.is_file():
        inner = [entry.parent for entry in sorted(path.glob("*/labels.npy"))]
        hint = f" Did you mean {inner[0]}?" if inner else ""
        raise FileNotFoundError(f"{path} holds no labels.npy. {LAYOUT}{hint}")
    labels = _open_array(file)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(f"{file} must hold one integer an image; got {labels.dtype} of shape {labels.shape}.")
    if len(labels) == 0 or len(labels) % severities:
        raise ValueError(f"{file} must hold {severities} blocks of labels, one a severity; got {len(labels):,} labels.")
    blocks = labels.astype(np.int32).reshape(severities, -1)
    if (blocks != blocks[0]).any():
        raise ValueError(f"{file}: labels differ between {severities} blocks, one a severity; they must repeat.")
    check_labels(blocks[0], classes, name=str(file))
    return blocks[0]


def _open_array(file: Path) -> np.ndarray:
    """The array, mapped from disk."""
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"{file} cannot be read as a NumPy array ({error}).") from error


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values[:5])) + (f", ... {len(values)} in all" if len(values) > 5 else "")


def _found(name: str, names: Iterable[str]) -> str:
    names = tuple(names)
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"It has {', '.join(names) or 'none'}." + (f" Did you mean {nearest[0]!r}?" if nearest else "")
