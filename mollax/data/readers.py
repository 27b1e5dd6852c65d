"""The readers by name: what each is, which arguments only it takes, and what its path must be.

Each is imported when it is used, so that the digits do not wait for tensorflow_datasets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mollax.checks import one_of, positive_int
from mollax.data.dataset import RawData, ReadOptions
from mollax.data.pixels import ALPHA, RESIZE


def _digits(path: Path | None, options: ReadOptions) -> RawData:
    from mollax.data.digits import read_digits

    return read_digits(path, options)


def _sprites(path: Path | None, options: ReadOptions, *, angles: str, per_class: int, test_per_class: int) -> RawData:
    from mollax.data.sprites import read_sprites

    return read_sprites(path, options, angles=angles, per_class=per_class, test_per_class=test_per_class)


def _idx(path: Path, options: ReadOptions) -> RawData:
    from mollax.data.idx import read_idx

    return read_idx(path, options)


def _folder(path: Path, options: ReadOptions) -> RawData:
    from mollax.data.folder import read_folder

    return read_folder(path, options)


def _npz(path: Path, options: ReadOptions) -> RawData:
    from mollax.data.npz import read_npz

    return read_npz(path, options)


def _cifar(path: Path, options: ReadOptions, *, label_kind: str) -> RawData:
    from mollax.data.cifar import read_cifar

    return read_cifar(path, options, label_kind=label_kind)


def _tiny_imagenet(path: Path, options: ReadOptions) -> RawData:
    from mollax.data.tiny_imagenet import read_tiny_imagenet

    return read_tiny_imagenet(path, options)


def _tfds(path: Path, options: ReadOptions, *, name: str) -> RawData:
    if not name:
        raise ValueError("The tfds reader needs data.name=..., the catalogue's name of the set, such as 'cifar10'.")
    from mollax.data.tfds import read_tfds

    return read_tfds(path, options, name=name)


@dataclass(frozen=True)
class Reader:
    """A reading function, the arguments that only it takes, and what `path` must be ("" if it takes none)."""

    read: Callable[..., RawData]
    source: str = ""
    takes: tuple[str, ...] = ()


READERS = {
    "digits": Reader(_digits),
    "sprites": Reader(_sprites, takes=("angles", "per_class", "test_per_class")),
    "idx": Reader(
        _idx,
        "the folder with the four files of MNIST, Fashion-MNIST or KMNIST, as their authors publish them",
    ),
    "folder": Reader(_folder, "a folder or archive with one subfolder of images per class"),
    "npz": Reader(_npz, "an .npz file with images and labels, written with numpy.savez"),
    "cifar": Reader(
        _cifar,
        "cifar-10-python.tar.gz or its binary or CIFAR-100 form, from the University of Toronto",
        ("label_kind",),
    ),
    "tiny_imagenet": Reader(_tiny_imagenet, "tiny-imagenet-200.zip as Stanford's CS231n published it, or its folder"),
    "tfds": Reader(_tfds, "the data_dir in which tensorflow_datasets has prepared the set", ("name",)),
}
# Arguments that only some readers take, with the values that mean "not given".
SPECIFIC = {"angles": "45", "per_class": 1000, "test_per_class": 250, "label_kind": "fine", "name": ""}


def check_path(reader: str, path: str | Path | None) -> Path | None:
    """The path, which must exist if `reader` needs one and be empty otherwise."""
    source = READERS[reader].source
    if not path:
        if source:
            raise ValueError(f"The {reader} reader needs data.path=...: {source}. mollax downloads nothing.")
        return None
    place = Path(path).expanduser()
    if source and not place.exists():
        raise FileNotFoundError(
            f"data.path={str(path)!r} does not exist. The {reader} reader needs {source}. mollax downloads nothing."
        )
    return place


def check_specific(reader: str, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments that `reader` takes; raises ValueError if one that it does not take was set."""
    takes = READERS[reader].takes
    for key, value in given.items():
        if key not in takes and value != SPECIFIC[key]:
            owner = next(name for name, entry in READERS.items() if key in entry.takes)
            raise ValueError(f"{key}={value!r} belongs to the {owner} reader; the {reader} reader does not take it.")
    return {key: given[key] for key in takes}


def check_options(options: ReadOptions) -> ReadOptions:
    """The options, after a check of every field."""
    if options.image_size is not None:
        positive_int("image_size", options.image_size)
    if options.channels not in (None, 1, 3):
        raise ValueError(f"channels must be 1 (gray), 3 (RGB) or None (as stored); got {options.channels}.")
    one_of("resize", options.resize, RESIZE)
    one_of("alpha", options.alpha, ALPHA)
    one_of("on_bad_image", options.on_bad_image, ("raise", "skip"))
    positive_int("split_seed", options.seed, minimum=0)
    return options
