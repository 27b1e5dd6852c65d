"""The matrix of log-kernels against closed forms and against `log_density`, for every kind of kernel."""

import jax
import numpy as np
import pytest
import scipy.special
import scipy.stats

from mollax.drift import pairwise
from mollax.drift.augmented import Augmented
from mollax.drift.averaged_mollifier import AveragedMollifier
from mollax.drift.density import log_density
from mollax.drift.kernels import Gaussian, Mollifier
from mollax.drift.pairwise import log_kernel

SHAPE = (3, 3, 1)


def test_gaussian_in_closed_form(rng, monkeypatch):
    monkeypatch.setattr(pairwise, "_ROWS", 4)
    queries, bank = rng.normal(size=(11, 3)), rng.normal(size=(7, 3))
    expected = [[scipy.stats.norm.logpdf(q, b, 0.25).sum() for b in bank] for q in queries]
    np.testing.assert_allclose(log_kernel(queries, bank, Gaussian(0.25)), expected, rtol=1e-12)


def test_mollifier_in_closed_form(rng):
    queries, bank = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    angle = np.pi / 2 * 0.375
    expected = [[scipy.stats.norm.logpdf(q, np.cos(angle) * b, np.sin(angle)).sum() for b in bank] for q in queries]
    np.testing.assert_allclose(log_kernel(queries, bank, Mollifier(0.375)), expected, rtol=1e-5, atol=1e-5)


def jitter(key: jax.Array, points: jax.Array) -> jax.Array:
    """An augmentation: shrinks each point by a random factor."""
    return points * jax.random.uniform(key, (len(points), 1), points.dtype, 0.5, 1.0)


@pytest.mark.parametrize(
    "kernel",
    [
        AveragedMollifier(SHAPE, 0.1, noise_nodes=8, blur_nodes=3),
        Augmented(jitter, jax.random.key(3), sigma=0.2, draws=3),
    ],
    ids=["averaged", "augmented"],
)
def test_rows_add_up_to_log_density(rng, kernel):
    queries, bank = (rng.uniform(size=(count, 9)).astype(np.float32) for count in (6, 8))
    matrix = log_kernel(queries, bank, kernel)
    assert matrix.dtype == np.float64
    found = scipy.special.logsumexp(matrix, axis=1) - np.log(8)
    np.testing.assert_allclose(found, log_density(queries, bank, kernel), rtol=1e-5, atol=2e-5)


def test_equal_points_are_at_the_peak(rng):
    points = (100 + rng.normal(size=(3, 50))).astype(np.float32)
    matrix = log_kernel(points, points, Gaussian(1e-3))
    np.testing.assert_allclose(np.diag(matrix), 50 * -np.log(np.sqrt(2 * np.pi) * 1e-3), rtol=1e-6)


@pytest.mark.usefixtures("unhooked")
def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="bank has points of 3 values, the other points have 2"):
        log_kernel(np.ones((4, 2)), np.ones((4, 3)), Gaussian(1.0))
    with pytest.raises(TypeError, match="queries must hold floating-point numbers; got uint8"):
        log_kernel(np.ones((4, 2), np.uint8), np.ones((4, 2)), Gaussian(1.0))
