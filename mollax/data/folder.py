"""A folder of images, or a .zip of one: split/class/file, or class/file without splits.

Class names are folder names in sorted order. A zip is read in place: nothing is ever unpacked to disk.
"""

from __future__ import annotations

import functools
import io
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mollax.data.dataset import RawData, ReadOptions
from mollax.data.decode import ByteFile, decode_splits

EXTENSIONS = (
    ".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm",
)  # fmt: skip
SPLITS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
LAYOUT = "Expected <class>/<image>, or <split>/<class>/<image> with splits train, val (valid, validation), test."
# More than any image of a sane number of pixels takes: a larger member of a zip is not read into memory.
MAX_FILE_BYTES = 2**29


@functools.lru_cache(maxsize=16)
def _archive(path: str, stamp: tuple[int, int], process: int) -> zipfile.ZipFile:
    """The open zip. One handle per process, because forked processes would share its position in the file."""
    return zipfile.ZipFile(path)


@dataclass(frozen=True)
class Files:
    """The files of a folder or, if `stamp` (time of change and size) is given, of a zip, by path in it."""

    path: str
    stamp: tuple[int, int] | None = None

    def open(self, key: str) -> ByteFile:
        """A seekable binary file; of a zip member, its unpacked bytes. Raises OSError if that fails."""
        if self.stamp is None:
            return open(os.path.join(self.path, key), "rb")
        try:
            archive = _archive(self.path, self.stamp, os.getpid())
            info = archive.getinfo(key)
            if info.file_size > MAX_FILE_BYTES:
                raise OSError(f"{info.file_size:,} bytes once unpacked, over {MAX_FILE_BYTES:,}")
            return io.BytesIO(archive.read(info))
        except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, RuntimeError) as error:
            raise OSError(str(error)) from error  # damaged, encrypted (RuntimeError) or an unknown compression

    def where(self, key: str) -> str:
        """The file's path; inside a zip, after the zip's own."""
        return f"{self.path}/{key}"

    def text(self, key: str) -> str:
        """A text file's content; raises ValueError if it cannot be read."""
        try:
            with self.open(key) as file:
                return file.read().decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{self.where(key)} cannot be read as text: {error}") from error


@dataclass(frozen=True)
class Tree:
    """What a folder or zip contains, hidden files left out.

    Attributes:
      files: opens them.
      keys: for each file its name relative to the top, parts separated by "/", and the key that opens it.
      folders: names of all folders, also empty ones, as in `keys`.
      notes: what was left out.
    """

    files: Files
    keys: Mapping[str, str]
    folders: frozenset[str]
    notes: tuple[str, ...] = ()

    def below(self, top: str) -> Tree:
        """The same tree seen from its folder `top`."""
        start = top + "/"
        keys = {name.removeprefix(start): key for name, key in self.keys.items() if name.startswith(start)}
        folders = frozenset(name.removeprefix(start) for name in self.folders if name.startswith(start))
        return Tree(self.files, keys, folders, self.notes)


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _walk(root: str, name: str = "", above: tuple[str, ...] = ()) -> Iterator[tuple[str, bool]]:
    """(name, whether it is a folder) of everything below `root`, links followed."""
    place = os.path.join(root, name)
    real = os.path.realpath(place)
    if real in above:
        raise ValueError(f"{place} links to a folder that contains it. Remove the link.")
    with os.scandir(place) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            inner = f"{name}/{entry.name}" if name else entry.name
            if _hidden(entry.name):
                continue
            yield inner, entry.is_dir()
            if entry.is_dir():
                yield from _walk(root, inner, (*above, real))


def _folder_tree(path: Path) -> Tree:
    entries = list(_walk(str(path)))
    keys = {name: name for name, is_folder in entries if not is_folder}
    return Tree(Files(str(path)), keys, frozenset(name for name, is_folder in entries if is_folder))


def _zip_tree(path: Path) -> Tree:
    stat = path.stat()
    files = Files(str(path), (stat.st_mtime_ns, stat.st_size))
    try:
        members = _archive(files.path, files.stamp or (0, 0), os.getpid()).namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ValueError(
            f"{path} is not a readable zip ({error}). Give a folder or a complete .zip; unpack other kinds."
        ) from error
    keys: dict[str, str] = {}
    folders: set[str] = set()
    unsafe = 0
    for member in members:
        name = member.replace("\\", "/")  # written by some Windows programs
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or (parts and parts[0].endswith(":")):
            unsafe += 1
            continue
        if not parts or _hidden("/".join(parts)):
            continue
        folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
        if name.endswith("/"):
            folders.add("/".join(parts))
        else:
            keys["/".join(parts)] = member
    notes = (f"{unsafe} zip members with a path outside the archive ignored",) if unsafe else ()
    return Tree(files, keys, frozenset(folders), notes)


def list_tree(path: Path) -> Tree:
    """The files of a folder or zip. Nothing but names is read.

    Raises:
      FileNotFoundError: if there is nothing at `path`.
      ValueError: if it is a file but not a readable zip, or a folder that contains itself through a link.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist. Give a folder of images, or a .zip of one.")
    return _folder_tree(path) if path.is_dir() else _zip_tree(path)


def is_image(name: str) -> bool:
    """Whether a name ends like that of an image file."""
    return name.lower().endswith(EXTENSIONS)


def strip_top(tree: Tree) -> Tree:
    """`tree` seen from its one top folder, as often as there is just one, neither a split nor a class."""
    while True:
        tops = [name for name in tree.folders if "/" not in name]
        holds_images = any(is_image(name) and name.count("/") <= 1 for name in tree.keys)
        if len(tops) != 1 or holds_images or tops[0].lower() in SPLITS:
            return tree
        inner = tree.below(tops[0])
        if not inner.folders and not inner.keys:
            return tree
        tree = inner


def _class_folders(tree: Tree, path: Path) -> dict[str, dict[str, list[str]]]:
    """Images by split and class; a split "train" alone where there are no split folders."""
    images = [name for name in tree.keys if is_image(name)]
    if not images:
        raise ValueError(f"{path} holds no images. {LAYOUT} Images end in {', '.join(EXTENSIONS)}.")
    tops = {name for name in tree.folders if "/" not in name}
    found = {top: SPLITS[top.lower()] for top in sorted(tops) if top.lower() in SPLITS}
    # A folder called "test" that holds images itself is a class of that name.
    split_layout = any(name.count("/") == 2 and name.split("/")[0] in found for name in images)
    if not split_layout:
        found = {"": "train"}
    elif len(set(found.values())) < len(found):
        raise ValueError(f"{path} has two folders for one split: {', '.join(found)}. Keep one, or merge them.")
    out: dict[str, dict[str, list[str]]] = {}
    for top, split in found.items():
        inside = tree.below(top) if top else tree
        classes = sorted(name for name in inside.folders if "/" not in name)
        out[split] = {name: [] for name in classes}
    for name in images:
        top, _, rest = name.partition("/") if split_layout else ("", "", name)
        if top not in found and rest:
            raise ValueError(f"{path} has split folders, but {name} lies outside of them. {LAYOUT}")
        if rest.count("/") > 1:
            raise ValueError(f"{path} holds {name}, which is too deep. {LAYOUT}")
        if rest.count("/") == 1:
            out[found[top]][rest.split("/")[0]].append(name)
    if not any(any(folders.values()) for folders in out.values()):
        raise ValueError(f"{path} holds images, but none in a class folder (such as {images[0]}). {LAYOUT}")
    return out


def _check_classes(classes: Mapping[str, Mapping[str, list[str]]], path: Path) -> tuple[str, ...]:
    """The class names, the same in every split; raises ValueError for a difference or an empty class."""
    first, *others = classes
    names = tuple(sorted(classes[first]))
    for other in others:
        differing = sorted(set(names) ^ set(classes[other]))
        if differing:
            where = {name: first if name in classes[first] else other for name in differing}
            listed = ", ".join(f"{name!r} only in {where[name]}" for name in differing[:10])
            raise ValueError(f"{path}: classes of {first} and {other} differ: {listed}. Make the folders agree.")
    for split, folders in classes.items():
        for name, images in folders.items():
            if not images:
                raise ValueError(f"{path}: class folder {name!r} of {split} holds no images. Fill it or remove it.")
    return names


def _left_out(tree: Tree, *, used: set[str]) -> Iterator[str]:
    """Notes on files that no record uses."""
    unused = [name for name, key in tree.keys.items() if key not in used]
    for what, names in (
        ("files that are not images", [name for name in unused if not is_image(name)]),
        ("images outside of class folders", [name for name in unused if is_image(name)]),
    ):
        if names:
            yield f"{len(names):,} {what} ignored (such as {min(names)})"


def read_folder(path: Path, options: ReadOptions) -> RawData:
    """Reads split/class/image or class/image from a folder or .zip, also one folder further down.

    Split folders are train, val (or valid, validation) and test, in upper or lower case; without them all is
    "train". Classes are the sorted names of the class folders. Hidden files and __MACOSX are passed over;
    files that do not end like an image, and images beside the class folders, are counted in a note. See
    `decode_splits` for when images are decoded.

    Raises:
      FileNotFoundError: if `path` does not exist.
      BadImageError: at the first bad image, unless `options.on_bad_image` is "skip".
      ValueError: for another layout, classes that differ between splits, an empty class, no images, a damaged
        zip, images of different shape, or an alpha channel (see `ReadOptions.alpha`).
    """
    path = Path(path)
    tree = strip_top(list_tree(path))
    classes = _class_folders(tree, path)
    names = _check_classes(classes, path)
    records: dict[str, list[tuple[str, int]]] = {
        split: [
            (tree.keys[name], label) for label, folder in enumerate(names) for name in sorted(classes[split][folder])
        ]
        for split in ("train", "validation", "test")
        if split in classes
    }
    notes = [*tree.notes, *_left_out(tree, used={key for split in records.values() for key, _ in split})]
    splits, skipped, converted = decode_splits(tree.files, records, options, names)
    return RawData(splits, names, skipped, (*notes, *converted))


def read_images(path: Path, options: ReadOptions) -> RawData:
    """Reads all images anywhere below a folder or in a .zip, whatever their folders: one split "test", one class.

    For images that have no labels. Hidden files are passed over, other files counted in a note.

    Raises:
      FileNotFoundError, BadImageError, ValueError: as `read_folder`, but for layouts.
    """
    path = Path(path)
    tree = list_tree(path)
    names = sorted(name for name in tree.keys if is_image(name))
    if not names:
        raise ValueError(f"{path} holds no images. Images end in {', '.join(EXTENSIONS)}.")
    records = {"test": [(tree.keys[name], 0) for name in names]}
    notes = [*tree.notes, *_left_out(tree, used={tree.keys[name] for name in names})]
    splits, skipped, converted = decode_splits(tree.files, records, options, ("images",))
    return RawData(splits, ("images",), skipped, (*notes, *converted))
