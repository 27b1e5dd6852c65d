"""Which points are in the bank: both precisions, zeros of both signs, banks in files."""

import importlib

import jax.numpy as jnp
import numpy as np
import pytest

from mollax.drift.copies import copies

module = importlib.import_module("mollax.drift.copies")  # the package has the function by this name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_copies_are_found(rng, monkeypatch, dtype):
    monkeypatch.setattr(module, "_VALUES", 10)
    bank = rng.uniform(size=(23, 4)).astype(dtype)
    points = rng.uniform(size=(6, 4)).astype(dtype)
    points[[1, 4]] = bank[[22, 0]]
    points[5] = bank[3]
    points[5, 2] = np.nextafter(points[5, 2], dtype(2))
    np.testing.assert_array_equal(copies(points, bank), [False, True, False, False, True, False])


def test_zeros_are_equal_and_precision_is_the_banks(rng):
    bank = rng.uniform(size=(5, 3)).astype(np.float32)
    bank[2, 1] = -0.0
    point = bank[2:3].astype(np.float64)
    point[0, 1] = 0.0
    assert copies(point, bank).all()
    assert copies(jnp.asarray(point, jnp.float32), jnp.asarray(bank)).all()


def test_a_bank_in_a_file(rng, tmp_path):
    bank = np.lib.format.open_memmap(tmp_path / "bank.npy", mode="w+", dtype=np.float32, shape=(9, 3))
    bank[:] = rng.uniform(size=(9, 3))
    np.testing.assert_array_equal(copies(np.array(bank[4:6]), bank), [True, True])


@pytest.mark.usefixtures("unhooked")
def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="bank has points of 3 values, the other points have 2"):
        copies(np.ones((2, 2)), np.ones((2, 3)))
