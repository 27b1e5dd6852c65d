"""CIFAR-10 and CIFAR-100 as published: the "python" and "binary" archives, packed (.tar.gz) or unpacked.

Archives are read in memory and never unpacked to disk; pickles are interpreted, not executed
(`mollax.data.pickles`).
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from mollax.checks import one_of
from mollax.data.dataset import RawData, ReadOptions, Split
from mollax.data.options import check_labels
from mollax.data.pickles import read_plain_pickle
from mollax.data.pixels import conform

LABEL_KINDS = ("fine", "coarse")
PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Layout:
    """File names of one archive; `labels` and `names` are keyed by label kind ("fine" is all that CIFAR-10
    has).

    `labels` is a dictionary key in pickles and a byte position in binary records; `names` is (file, key or
    None).
    """

    title: str
    train: tuple[str, ...]
    test: str
    labels: dict[str, Any]
    names: dict[str, tuple[str, str | None]]
    label_bytes: int = 0

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that is needed."""
        return (*self.train, self.test, *dict.fromkeys(file for file, _ in self.names.values()))


LAYOUTS = (
    Layout(
        "CIFAR-10 (python)",
        tuple(f"data_batch_{i}" for i in range(1, 6)),
        "test_batch",
        {"fine": "labels"},
        {"fine": ("batches.meta", "label_names")},
    ),
    Layout(
        "CIFAR-10 (binary)",
        tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        "test_batch.bin",
        {"fine": 0},
        {"fine": ("batches.meta.txt", None)},
        label_bytes=1,
    ),
    Layout(
        "CIFAR-100 (python)",
        ("train",),
        "test",
        {"fine": "fine_labels", "coarse": "coarse_labels"},
        {"fine": ("meta", "fine_label_names"), "coarse": ("meta", "coarse_label_names")},
    ),
    Layout(
        "CIFAR-100 (binary)",
        ("train.bin",),
        "test.bin",
        {"fine": 1, "coarse": 0},
        {"fine": ("fine_label_names.txt", None), "coarse": ("coarse_label_names.txt", None)},
        label_bytes=2,
    ),
)


def archive_files(path: Path) -> dict[str, bytes]:
    """Known files of a tar archive by base name; a damaged archive is a ValueError that names it."""
    wanted = {file for layout in LAYOUTS for file in layout.files}
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = Path(member.name).name
                stream = archive.extractfile(member) if member.isfile() and name in wanted else None
                if stream is not None:
                    found[name] = stream.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path} is not a readable tar archive ({error}). Fetch it again.") from error
    return found


def folder_files(path: Path) -> dict[str, Path]:
    """Known files of a folder, or of its one subfolder that has some."""
    wanted = {file for layout in LAYOUTS for file in layout.files}
    here = [path, *sorted(child for child in path.iterdir() if child.is_dir())]
    found = [{f: folder / f for f in sorted(wanted) if (folder / f).is_file()} for folder in here]
    full = [files for files in found if files]
    if found[0] or len(full) < 2:
        return full[0] if full else {}
    names = ", ".join(sorted({next(iter(files.values())).parent.name for files in full}))
    raise ValueError(f"{path} holds several unpacked archives ({names}). Pass one of them as path.")


def choose_layout(present: Iterable[str], path: Path) -> Layout:
    """The layout with most files present; raises FileNotFoundError naming those that are missing."""
    names = set(present)
    layout = max(LAYOUTS, key=lambda layout: len(names & set(layout.files)))
    missing = [file for file in layout.files if file not in names]
    if len(missing) == len(layout.files):
        raise FileNotFoundError(
            f"{path} holds no CIFAR files. Pass cifar-10-python.tar.gz, cifar-10-binary.tar.gz, "
            "their CIFAR-100 counterparts, or the unpacked folder."
        )
    if missing:
        raise FileNotFoundError(f"{path} looks like {layout.title} but lacks {', '.join(missing)}.")
    return layout


def to_images(rows: UInt8[np.ndarray, "n 3072"]) -> UInt8[np.ndarray, "n 32 32 3"]:
    """Rows of a red, a green and a blue plane to NHWC."""
    return np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def read_pickled(data: bytes, *, name: str, key: str) -> Split:
    """One batch of a python archive: `data` (n, 3072) uint8 and the labels under `key`."""
    batch = read_plain_pickle(data, name=name)
    missing = [word for word in ("data", key) if word not in batch]
    if missing:
        raise ValueError(f"{name} lacks {', '.join(missing)}; it holds {', '.join(sorted(batch))}.")
    rows, labels = batch["data"], batch[key]
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != PIXELS:
        kind = f"{rows.dtype} {rows.shape}" if isinstance(rows, np.ndarray) else type(rows).__name__
        raise ValueError(f"data in {name} must be uint8 of shape (n, {PIXELS}); got {kind}.")
    whole = [type(label) is int for label in labels] if isinstance(labels, list) else []
    if not isinstance(labels, list) or not all(whole):
        raise ValueError(f"{key} in {name} must be a list of integers.")
    if len(labels) != len(rows):
        raise ValueError(f"{name} has {len(rows)} images but {len(labels)} {key}.")
    return Split(to_images(rows), np.array(labels, np.int32))


def read_binary(data: bytes, *, name: str, position: int, label_bytes: int) -> Split:
    """One batch of a binary archive: records of `label_bytes` labels and 3072 pixel bytes."""
    size = label_bytes + PIXELS
    if len(data) == 0 or len(data) % size:
        raise ValueError(
            f"{name} has {len(data)} bytes, not a multiple of {size} (one record). It is truncated or no CIFAR file."
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, size)
    return Split(to_images(records[:, label_bytes:]), records[:, position].astype(np.int32))


def read_names(data: bytes, *, name: str, key: str | None) -> tuple[str, ...]:
    """Class names from a pickled meta file (under `key`), or from a text file with one a line."""
    if key is None:
        return tuple(line.strip() for line in data.decode("utf-8").splitlines() if line.strip())
    names = read_plain_pickle(data, name=name).get(key)
    if not isinstance(names, list):
        raise ValueError(f"{name} lacks the list {key} of class names.")
    return tuple(n.decode("latin-1") if isinstance(n, bytes) else str(n) for n in names)


def read_cifar(path: str | Path, options: ReadOptions, *, label_kind: str = "fine") -> RawData:
    """Train and test split of a CIFAR archive; which of the four it is shows in its file names.

    Args:
      path: the .tar.gz, the unpacked folder, or a folder that holds it.
      label_kind: "fine" (100 classes) or "coarse" (20) for CIFAR-100; CIFAR-10 has "fine" only.

    Raises:
      FileNotFoundError: if files of the archive are missing.
      RefusedPickle: if a pickle asks for anything but plain data and arrays.
      ValueError: for a damaged file.
    """
    one_of("label_kind", label_kind, LABEL_KINDS)
    place = Path(path)
    files: dict[str, Any] = folder_files(place) if place.is_dir() else archive_files(place)
    layout = choose_layout(files, place)
    if label_kind not in layout.labels:
        raise ValueError(f"{layout.title} has no {label_kind} labels; use label_kind='fine'.")

    def read(file: str) -> bytes:
        return files[file].read_bytes() if isinstance(files[file], Path) else files[file]

    names_file, names_key = layout.names[label_kind]
    names = read_names(read(names_file), name=names_file, key=names_key)

    def batch(file: str) -> Split:
        where = layout.labels[label_kind]
        if layout.label_bytes:
            split = read_binary(read(file), name=file, position=where, label_bytes=layout.label_bytes)
        else:
            split = read_pickled(read(file), name=file, key=where)
        check_labels(split.labels, len(names), name=file)
        return split

    parts = [batch(file) for file in layout.train]
    train = Split(
        np.concatenate([np.asarray(part.images) for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )
    return conform(RawData({"train": train, "test": batch(layout.test)}, names), options)
