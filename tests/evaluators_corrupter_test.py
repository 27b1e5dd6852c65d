"""Corrupted splits: equal to the library's functions, whatever the batches, and kept in a folder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mollax import corrupt, keys
from mollax.data import LazyImages, Split
from mollax.evaluators.corrupter import Corrupter


@pytest.fixture
def split(rng):
    return Split(rng.integers(0, 256, (11, 8, 9, 3), np.uint8), np.zeros(11, np.int32))


def test_images_equal_those_of_the_library(split):
    key = keys.stream_key(0, "corrupt/impulse_noise/3")
    expected = [
        corrupt.corrupt(jax.random.fold_in(key, i), jnp.asarray(image, jnp.float32) / 255, "impulse_noise", 3) * 255
        for i, image in enumerate(split.images)
    ]
    found = Corrupter(batch_size=8).split(split, "impulse_noise", 3)
    assert found.images.dtype == np.uint8
    np.testing.assert_array_equal(found.images, np.round(expected))
    assert found.labels is split.labels
    other = Corrupter(batch_size=4).split(split, "impulse_noise", 3)
    np.testing.assert_array_equal(other.images, found.images)


def test_lazy_images_are_read(split):
    lazy = Split(LazyImages(split.images.__getitem__, split.images.shape), split.labels)
    a, b = (Corrupter(batch_size=16).split(s, "contrast", 2).images for s in (split, lazy))
    np.testing.assert_array_equal(a, b)


def test_the_cache_is_used_and_told_apart_by_content(split, tmp_path, monkeypatch):
    corrupter = Corrupter(batch_size=16, cache=tmp_path)
    first = corrupter.split(split, "contrast", 1)
    assert len(list(tmp_path.rglob("contrast-1.npy"))) == 1
    assert not list(tmp_path.rglob("*.partial*"))
    other = Split(255 - split.images, split.labels)
    corrupter.split(other, "contrast", 1)
    assert len(list(tmp_path.rglob("contrast-1.npy"))) == 2

    def fail(*_):
        raise AssertionError("corrupted again")

    monkeypatch.setattr(Corrupter, "_corrupt", fail)
    np.testing.assert_array_equal(
        Corrupter(batch_size=8, cache=tmp_path).split(split, "contrast", 1).images, first.images
    )


def test_a_batch_size_below_one_is_refused():
    with pytest.raises(ValueError, match=r"eval\.batch_size must be at least 1; got 0"):
        Corrupter(batch_size=0)
