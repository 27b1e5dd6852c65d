"""Both limits against scipy, and the log-density's way to them."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from mollax.drift.density import log_density
from mollax.drift.kernels import Gaussian
from mollax.drift.limits import narrow_limit, wide_limit


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(4)
    return rng.random((40, 30)).astype(np.float32), rng.random((100, 30)).astype(np.float32)


def test_narrow_kernels_give_the_nearest_distance(points):
    queries, bank = points
    expected = cdist(queries, bank).min(axis=1) ** 2
    np.testing.assert_allclose(narrow_limit(queries, jnp.asarray(bank)), expected, rtol=1e-10)
    sigma = 1e-3
    scores = -2 * sigma**2 * np.asarray(log_density(queries, bank, Gaussian(sigma)))
    np.testing.assert_allclose(scores, expected, atol=1e-3)
    np.testing.assert_array_equal(np.argsort(scores), np.argsort(expected))


def test_wide_kernels_give_the_distance_from_the_mean(points):
    queries, bank = points
    sigma = 30.0
    logs = np.asarray(log_density(queries, bank, Gaussian(sigma)))
    expected = wide_limit(queries, bank, sigma)
    np.testing.assert_allclose(-logs - 15 * np.log(2 * np.pi * sigma**2), expected, atol=2e-5)
    double = cdist(queries, bank).astype(np.float64)
    np.testing.assert_allclose(expected, np.square(double).mean(axis=1) / (2 * sigma**2), rtol=1e-10)


def test_far_from_zero_and_on_the_bank(points):
    bank = points[1] + 1000
    np.testing.assert_allclose(narrow_limit(bank, bank), 0, atol=1e-12)


def test_bad_input(unhooked, points):
    queries, bank = points
    with pytest.raises(ValueError, match="sigma must be in"):
        wide_limit(queries, bank, 0.0)
    for limit in (narrow_limit, lambda q, b: wide_limit(q, b, 1.0)):
        with pytest.raises(ValueError, match="points of 29 values, the other points have 30"):
            limit(queries, bank[:, :29])
