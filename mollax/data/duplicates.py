"""The same picture in two splits: found by a hash of its pixels, noted, dropped or refused.

Published sets do contain such pairs (CIFAR does), so the default is a counted note. Near duplicates are not
found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from jaxtyping import Int

from mollax.checks import one_of
from mollax.data.dataset import Images, LazyImages, Split
from mollax.data.options import take

DUPLICATES = ("note", "drop", "raise")
NOT_COMPARED = "duplicates not looked for: images are decoded on demand ('drop' or 'raise' decodes them all)"


def content_hashes(images: Images) -> list[bytes]:
    """A 128-bit BLAKE2b hash of each image's shape and pixels. `LazyImages` are decoded, one at a time."""
    header = repr(tuple(images.shape[1:])).encode()
    seeded = hashlib.blake2b(header, digest_size=16)
    hashes = []
    for index in range(len(images)):
        digest = seeded.copy()
        digest.update(images[index].tobytes())
        hashes.append(digest.digest())
    return hashes


def shared_positions(hashes: list[bytes], others: Iterable[bytes]) -> Int[np.ndarray, " m"]:
    """Positions in `hashes` of what also occurs in `others`."""
    known = set(others)
    return np.array([i for i, value in enumerate(hashes) if value in known], np.int64)


def check_disjoint(
    a: Split, b: Split, *, names: tuple[str, str] = ("train", "test"), duplicates: str = "note"
) -> tuple[Split, str | None]:
    """`a`, without its images that `b` also has if `duplicates` is "drop", and a note, or None if there are
    none.

    `b` stays as it is, so that a test set keeps its published size. With "note" nothing is removed, and
    images
    decoded on demand are not compared: that would decode the whole set. "drop" and "raise" do decode it.

    Raises:
      ValueError: if `duplicates` is "raise" and the splits share an image.
    """
    one_of("duplicates", duplicates, DUPLICATES)
    if duplicates == "note" and (isinstance(a.images, LazyImages) or isinstance(b.images, LazyImages)):
        return a, NOT_COMPARED
    shared = shared_positions(content_hashes(a.images), content_hashes(b.images))
    if len(shared) == 0:
        return a, None
    found = f"{len(shared)} of {len(a)} {names[0]} images are also in {names[1]}, pixel for pixel"
    if duplicates == "raise":
        where = ", ".join(map(str, shared[:5])) + (", ..." if len(shared) > 5 else "")
        raise ValueError(
            f"{found} (positions {where} of {names[0]}). "
            "Pass duplicates='drop' to remove them or duplicates='note' to keep and report them."
        )
    if duplicates == "drop":
        return take(a, np.setdiff1d(np.arange(len(a)), shared)), f"{found}; dropped from {names[0]}"
    return a, found
