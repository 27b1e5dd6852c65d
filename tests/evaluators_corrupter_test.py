"""Corrupted splits: equal to the library's functions, whatever the batches, and kept in a folder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mollax import corrupt, keys
from mollax.data import LazyImages, Split
from mollax.evaluators import corrupter
from mollax.evaluators.corrupter import AHEAD, Corrupter, compiled_ahead, content_hash


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

    monkeypatch.setattr(Corrupter, "batches", fail)
    np.testing.assert_array_equal(
        Corrupter(batch_size=8, cache=tmp_path).split(split, "contrast", 1).images, first.images
    )


def test_seed_and_rounding_make_other_images_and_other_caches(split, tmp_path):
    made = [
        Corrupter(batch_size=16, cache=tmp_path, **options).split(split, "gaussian_noise", 1).images
        for options in ({}, {"seed": 1}, {"rounding": "round"})
    ]
    assert not np.array_equal(made[0], made[1])
    difference = made[2].astype(int) - made[0]
    assert set(np.unique(difference)) == {0, 1}
    assert len(list(tmp_path.rglob("gaussian_noise-1.npy"))) == 3


def test_batches_are_the_split_in_pieces(split):
    made = Corrupter(batch_size=4)
    pieces = list(made.batches(split, "contrast", 2))
    assert [len(piece) for piece in pieces] == [4, 4, 3]
    np.testing.assert_array_equal(np.concatenate(pieces), made.split(split, "contrast", 2).images)


def test_the_next_cells_compile_while_one_runs(split, tmp_path, monkeypatch):
    compiled = []
    original = corrupter._corrupt_function

    def note(name, severity, rounding):
        compiled.append((name, severity))
        return original(name, severity, rounding)

    monkeypatch.setattr(corrupter, "_corrupt_function", note)
    made = Corrupter(batch_size=16, cache=tmp_path)
    cells = [("contrast", severity) for severity in range(1, 6)]
    found = []
    for done, (name, severity) in enumerate(compiled_ahead(made, split, cells), 1):
        found.append(made.split(split, name, severity).images)
        assert set(compiled) <= set(cells[: done + AHEAD])
    assert sorted(compiled) == cells, "each once"
    for (name, severity), images in zip(cells, found, strict=True):
        np.testing.assert_array_equal(Corrupter(batch_size=8).split(split, name, severity).images, images)
    compiled.clear()
    for name, severity in compiled_ahead(made, split, cells):
        made.split(split, name, severity)
    assert not compiled, "what is in the cache needs no program"


def test_the_hash_is_of_all_pixels_in_order(split, monkeypatch):
    whole = content_hash(split)
    monkeypatch.setattr(corrupter, "_BLOCK", 4)
    assert content_hash(split) == whole
    assert content_hash(Split(split.images[::-1].copy(), split.labels)) != whole


def test_a_batch_size_below_one_is_refused():
    with pytest.raises(ValueError, match=r"eval\.batch_size must be at least 1; got 0"):
        Corrupter(batch_size=0)
