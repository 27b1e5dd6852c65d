"""Shared images are found by content, and only by content."""

import numpy as np
import pytest

from mollax.data.dataset import LazyImages, Split
from mollax.data.duplicates import NOT_COMPARED, check_disjoint, content_hashes


def split_of(images: np.ndarray) -> Split:
    return Split(images, np.arange(len(images), dtype=np.int32))


@pytest.fixture
def pair(rng):
    a = rng.integers(0, 256, (6, 4, 4, 3), np.uint8)
    b = rng.integers(0, 256, (3, 4, 4, 3), np.uint8)
    b[2] = a[4]
    b[0] = a[1]
    b[0, 0, 0, 0] ^= 1  # one bit off is another image
    return split_of(a), split_of(b)


def test_hash_sees_pixels_shape_and_layout(rng):
    images = rng.integers(0, 256, (2, 2, 8, 1), np.uint8)
    hashes = content_hashes(images)
    assert len(set(hashes)) == 2
    assert hashes != content_hashes(images.reshape(2, 4, 4, 1))  # same bytes, another picture
    transposed = np.ascontiguousarray(images.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # not C order
    assert content_hashes(transposed) == hashes
    assert content_hashes(LazyImages(lambda i: images[i], images.shape)) == hashes


def test_note_drop_raise(pair):
    a, b = pair
    same, note = check_disjoint(a, b)
    assert same is a
    assert note == "1 of 6 train images are also in test, pixel for pixel"
    fewer, note = check_disjoint(a, b, duplicates="drop")
    assert fewer.labels.tolist() == [0, 1, 2, 3, 5]
    assert note.endswith("dropped from train")
    assert check_disjoint(fewer, b, duplicates="raise") == (fewer, None)
    with pytest.raises(ValueError, match=r"1 of 6 left images are also in right.*positions 4 of left.*'drop'"):
        check_disjoint(a, b, names=("left", "right"), duplicates="raise")
    with pytest.raises(ValueError, match="duplicates must be one of"):
        check_disjoint(a, b, duplicates="ignore")


def test_lazy_images_are_decoded_only_on_request(pair):
    a, b = pair
    calls = []

    def decode(i: int) -> np.ndarray:
        calls.append(i)
        return a.images[i]

    lazy = Split(LazyImages(decode, a.images.shape), a.labels)
    assert check_disjoint(lazy, b) == (lazy, NOT_COMPARED)
    assert calls == []
    fewer, _ = check_disjoint(lazy, b, duplicates="drop")
    assert fewer.labels.tolist() == [0, 1, 2, 3, 5]
    assert calls == list(range(6))
