"""MNIST's IDX format (also Fashion-MNIST, KMNIST): two zero bytes, a type byte, a rank byte, big-endian
sizes, data.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from mollax.data.dataset import RawData, ReadOptions, Split
from mollax.data.pixels import conform

UNSIGNED_BYTE = 0x08
TYPES = {
    0x08: "unsigned byte",
    0x09: "signed byte",
    0x0B: "short",
    0x0C: "int",
    0x0D: "float",
    0x0E: "double",
}
# split -> (images, labels), as published; `.idx3-ubyte` for `-idx3-ubyte` is another common spelling.
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def parse_idx(data: bytes, *, name: str, ndim: int) -> UInt8[np.ndarray, ...]:
    """The array of an IDX file's bytes; `name` is for messages, `ndim` the rank it must have.

    Raises:
      ValueError: if it is not IDX, not unsigned bytes, not of that rank, or shorter or longer than its header
        says.
    """
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in TYPES:
        start = data[:4].hex(" ") or "nothing"
        raise ValueError(f"{name} is not an IDX file: it starts with {start}, expected 00 00 08 {ndim:02x}.")
    if data[2] != UNSIGNED_BYTE:
        raise ValueError(f"{name} holds values of type {TYPES[data[2]]}; expected unsigned byte (0x08).")
    if data[3] != ndim:
        meaning = "(images, height, width)" if ndim == 3 else "(labels)"
        raise ValueError(f"{name} has {data[3]} axes; expected {ndim} {meaning}. Are images and labels swapped?")
    header = 4 + 4 * ndim
    if len(data) < header:
        raise ValueError(f"{name} is truncated: its header needs {header} bytes, the file has {len(data)}.")
    shape = struct.unpack(f">{ndim}I", data[4:header])
    expected, found = math.prod(shape), len(data) - header
    if found < expected:
        raise ValueError(f"{name} is truncated: its header announces {shape}, {expected} bytes; {found} follow.")
    if found > expected:
        raise ValueError(f"{name} has {found - expected} bytes more than the {expected} its header {shape} announces.")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def find_file(folder: Path, stem: str) -> Path | None:
    """`stem` in `folder` in one of its spellings: with `.idx` for `-idx`, plain or `.gz`; None if none is
    there.
    """
    names = (stem, stem.replace("-idx", ".idx"))
    candidates = (folder / f"{name}{end}" for name in names for end in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)


def read_bytes(path: Path) -> bytes:
    """The file's bytes, unpacked if it ends in .gz; a damaged archive is a ValueError that names it."""
    data = path.read_bytes()
    if path.suffix != ".gz":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is a damaged gzip file ({error}). Fetch it again.") from error


def read_idx(path: str | Path, options: ReadOptions) -> RawData:
    """Train and test split from a folder with the four files of `FILES`, plain or `.gz`. Classes are "0",
    "1", ...

    Raises:
      FileNotFoundError: if one of the four is missing.
      ValueError: for a damaged file, or images and labels that differ in number.
    """
    folder = Path(path)
    found = {stem: find_file(folder, stem) for stems in FILES.values() for stem in stems}
    missing = [stem for stem, file in found.items() if file is None]
    if missing:
        raise FileNotFoundError(
            f"{folder} lacks {', '.join(missing)} (plain or .gz). path must be the folder with MNIST's four files."
        )
    files = {stem: file for stem, file in found.items() if file is not None}
    splits = {}
    for split, (image_stem, label_stem) in FILES.items():
        images = parse_idx(read_bytes(files[image_stem]), name=str(files[image_stem]), ndim=3)
        labels = parse_idx(read_bytes(files[label_stem]), name=str(files[label_stem]), ndim=1)
        if len(images) != len(labels):
            raise ValueError(
                f"{split}: {files[image_stem].name} has {len(images)} images, "
                f"{files[label_stem].name} has {len(labels)} labels. They belong to different sets."
            )
        splits[split] = Split(images[..., None], labels.astype(np.int32))
    classes = 1 + max(int(split.labels.max(initial=0)) for split in splits.values())
    return conform(RawData(splits, tuple(map(str, range(classes)))), options)
