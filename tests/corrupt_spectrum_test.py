"""Eq 16 against SciPy's DCT and by hand, and the overlap of spectra."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st

from mollax.corrupt import dct_change, overlap


def test_change_is_eq_16(rng):
    original, changed = (rng.random((5, 6, 8, 3), dtype=np.float32) for _ in range(2))
    transforms = [
        scipy.fft.dctn(images.astype(np.float64), axes=(1, 2), norm="ortho") for images in (original, changed)
    ]
    expected = np.abs(transforms[1] - transforms[0]).mean(axis=(0, 3))
    np.testing.assert_allclose(dct_change(jnp.asarray(original), jnp.asarray(changed)), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(dct_change(jnp.asarray(original), jnp.asarray(original)), np.zeros((6, 8)))


def test_a_cosine_changes_its_own_frequency(rng):
    original = jnp.asarray(rng.random((2, 8, 8, 1), dtype=np.float32))
    across = np.cos(np.pi * 3 * (2 * np.arange(8) + 1) / 16).astype(np.float32)
    change = np.array(dct_change(original, original + 0.1 * jnp.asarray(across)[None, None, :, None]))
    # |across|^2 = 8/2 on each of 8 rows; the row frequency is 0, so 0.1 * sqrt(8 * 4).
    assert change[0, 3] == pytest.approx(0.1 * np.sqrt(32), rel=1e-4)
    change[0, 3] = 0.0
    assert change.max() < 1e-5


def test_sizes_are_averaged_not_signed_changes():
    flat = jnp.zeros((2, 4, 4, 1))
    brighter_and_darker = flat + jnp.array([0.5, -0.5])[:, None, None, None]
    assert dct_change(flat, brighter_and_darker)[0, 0] == pytest.approx(0.5 * 4)


def test_white_noise_is_even(rng):
    flat = jnp.zeros((400, 8, 8, 1))
    change = np.asarray(dct_change(flat, jnp.asarray(rng.normal(size=flat.shape), jnp.float32)))
    np.testing.assert_allclose(change, np.sqrt(2 / np.pi), rtol=0.2)  # E|N(0, 1)|
    assert overlap(change, np.ones((8, 8))) > 0.95


def test_overlap_by_hand():
    first, second = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[3.0, 1.0], [0.0, 0.0]])
    assert overlap(first, second) == pytest.approx(0.5)
    assert overlap(first, 7 * first) == pytest.approx(1.0)
    assert overlap(first, 1 - first) == 0.0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(1e-3, 1e3), min_size=8, max_size=8))
def test_overlap_is_symmetric_and_a_share(values):
    first, second = np.array(values).reshape(2, 2, 2)
    assert overlap(first, second) == pytest.approx(overlap(second, first))
    assert 0 <= overlap(first, second) <= 1 + 1e-12
    assert overlap(first, second) == pytest.approx(1 - 0.5 * np.abs(first / first.sum() - second / second.sum()).sum())


def test_bad_spectra_are_refused(unhooked):
    with pytest.raises(ValueError, match=r"one shape; got \(2, 2\) and \(2, 3\)"):
        overlap(np.ones((2, 2)), np.ones((2, 3)))
    for bad in (np.zeros((2, 2)), -np.ones((2, 2)), np.full((2, 2), np.nan)):
        with pytest.raises(ValueError, match="finite values of at least 0, one of them positive"):
            overlap(np.ones((2, 2)), bad)
