"""Image files one after the other, whatever their number: found by name, decoded some at a time by threads."""

from __future__ import annotations

import logging
import zipfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from mollax import host
from mollax.data.dataset import ReadOptions
from mollax.data.decode import BadImageError, Kinds, decode_image
from mollax.data.folder import EXTENSIONS, Files, is_image, list_tree


@dataclass(frozen=True)
class Found:
    """A file to read: where it is opened, by which key, and what rows call it."""

    files: Files
    key: str
    name: str


Decoded = tuple[Found, tuple[UInt8[np.ndarray, "h w c"], Kinds] | str]


def find_images(paths: Sequence[Path]) -> list[Found]:
    """The files that paths stand for: themselves, whatever their names, or all images in a folder or zip.

    Hidden files are passed over, others that do not end like an image are counted in the log. Only names are read.

    Raises:
      FileNotFoundError: for a path that does not exist.
      ValueError: for a folder or zip without images, or a damaged zip.
    """
    found = []
    for path in paths:
        if path.is_file() and not (path.suffix.lower() == ".zip" or zipfile.is_zipfile(path)):
            found.append(Found(Files(str(path.parent)), path.name, str(path)))
            continue
        tree = list_tree(path)
        names = sorted(name for name in tree.keys if is_image(name))
        if not names:
            raise ValueError(f"{path} holds no images. Images end in {', '.join(EXTENSIONS)}.")
        if len(names) < len(tree.keys):
            logging.info("%s: %d files that are not images passed over.", path, len(tree.keys) - len(names))
        found += [Found(tree.files, tree.keys[name], f"{path}/{name}") for name in names]
    return found


def _decode(found: Found, options: ReadOptions) -> Decoded:
    """The image and the conversions made, or why there is none."""
    try:
        with found.files.open(found.key) as file:
            content = file.read()
        return found, decode_image(content, found.name, options)
    except BadImageError as error:
        return found, error.reason
    except OSError as error:
        return found, f"cannot be read ({error.strerror or error})"


def decode_batches(found: Sequence[Found], options: ReadOptions, *, size: int) -> Iterator[list[Decoded]]:
    """Batches in order; the next one is decoded, by threads, while the last one is worked on."""
    waiting: deque[Iterator[Decoded]] = deque()
    with ThreadPoolExecutor(host.available_cores()) as threads:
        for start in range(0, len(found), size):
            waiting.append(threads.map(partial(_decode, options=options), found[start : start + size]))
            if len(waiting) > 1:
                yield list(waiting.popleft())
        if waiting:
            yield list(waiting.popleft())
