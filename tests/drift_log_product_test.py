"""log(exp(A) B) against brute force, for exponents that no single stabilizer serves."""

import numpy as np
import pytest
import scipy.special

from mollax.drift import log_product as module
from mollax.drift.log_product import log_product


def brute_force(exponents: np.ndarray, members: np.ndarray) -> np.ndarray:
    """One logsumexp for each entry."""
    with np.errstate(divide="ignore"):
        logs = np.log(members)
    return scipy.special.logsumexp(exponents[:, :, None] + logs[None], axis=1)


@pytest.mark.parametrize("spread", [1.0, 50.0, 400.0, 3e4, 1e9])
@pytest.mark.parametrize("sparse", [0.0, 0.02, 1.0])
def test_agrees_with_brute_force(rng, monkeypatch, spread, sparse):
    monkeypatch.setattr(module, "_SPARSE", sparse)
    exponents = -spread * rng.exponential(size=(40, 60)) - 3 * spread
    exponents[rng.random((40, 60)) < 0.1] = -np.inf
    members = (rng.random((60, 25)) < 0.3).astype(np.float64)
    members[:, 3] = 0  # nobody
    members[:, 4:8] = rng.integers(0, 3, (60, 4))  # counts
    members[:, 8] = np.arange(60) == 11  # a single one
    np.testing.assert_allclose(log_product(exponents, members), brute_force(exponents, members), rtol=1e-13, atol=1e-11)


def test_crowds_far_below_the_maximum():
    """A thousand members 195, 205 and 3,000 nats below an entry that is not a member."""
    for depth in (195.0, 205.0, 3000.0):
        exponents = np.full((1, 1001), -depth)
        exponents[0, 0] = 0
        members = np.ones((1001, 2))
        members[0, 0] = 0
        expected = [[-depth + np.log(1000), np.log1p(1000 * np.exp(-depth))]]
        np.testing.assert_allclose(log_product(exponents, members), expected, rtol=1e-14, atol=1e-14)


def test_nothing_counts():
    nothing = log_product(np.full((2, 3), -np.inf), np.ones((3, 2)))
    np.testing.assert_array_equal(nothing, np.full((2, 2), -np.inf))
