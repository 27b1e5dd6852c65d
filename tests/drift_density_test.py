"""Log-densities at the size of images, closed forms, gradients, jit, and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import fast
from drift_brute import log_density as brute
from scipy.stats import multivariate_normal

from mollax.drift.density import log_density, log_sums
from mollax.drift.kernels import Gaussian, Mollifier
from mollax.drift.leave_one_out import leave_one_out


def images(rng, count, width=3072):
    """Smooth random images, a few of them near copies of each other, in [0, 1]."""
    base = np.cumsum(rng.normal(size=(count, width)), axis=1)
    base = (base - base.min(axis=1, keepdims=True)) / np.ptp(base, axis=1, keepdims=True)
    base[1::7] = base[::7][: len(base[1::7])] + 0.01 * rng.normal(size=base[1::7].shape)
    return base.clip(0, 1).astype(np.float32)


@pytest.mark.parametrize("sigma", [0.05, 0.1, 0.25, 1.0])
def test_float32_holds_thousands_of_nats(rng, sigma):
    bank = images(rng, 300)
    queries = (bank[:60] + 0.1 * rng.normal(size=(60, 3072))).astype(np.float32)
    expected = brute(queries, [(1.0, sigma, bank)])
    assert np.abs(expected).max() > 500
    mine = log_density(queries, bank, Gaussian(sigma), query_rows=32, bank_rows=128)
    assert mine.dtype == jnp.float32
    # Below sigma = 0.1 some are at -10,000 nats, where float32 has steps of 1e-3.
    tolerance = np.maximum(1e-3, 2.5e-7 * np.abs(expected))
    assert np.all(np.abs(np.asarray(mine) - expected) < tolerance)


def test_far_from_zero_and_copies(rng):
    bank = (rng.normal(size=(50, 64)) + 500).astype(np.float32)
    queries = np.concatenate([bank[:5], bank[:5] + np.float32(0.01)])
    mine = log_density(queries, bank, Gaussian(1e-3))
    np.testing.assert_allclose(mine, brute(queries, [(1.0, 1e-3, bank)]), rtol=1e-5, atol=1e-3)


def test_many_gaussian_points_have_a_closed_form(rng):
    width, sigma = 2, 0.8
    mean, covariance = np.array([0.3, -0.2]), np.array([[0.5, 0.2], [0.2, 0.3]])
    bank = rng.multivariate_normal(mean, covariance, size=200_000).astype(np.float32)
    queries = rng.multivariate_normal(mean, 2 * covariance, size=50).astype(np.float32)
    expected = multivariate_normal(mean, covariance + sigma**2 * np.eye(width)).logpdf(queries)
    np.testing.assert_allclose(log_density(queries, bank, Gaussian(sigma)), expected, atol=0.02)
    shrunk = multivariate_normal(np.cos(0.25 * np.pi) * mean, 0.5 * covariance + 0.5 * np.eye(width)).logpdf(queries)
    np.testing.assert_allclose(log_density(queries, bank, Mollifier(0.5)), shrunk, atol=0.02)


def test_gradients(rng):
    bank, queries = rng.random((30, 5)).astype(np.float32), rng.random((7, 5)).astype(np.float32)

    def total(queries, bank, sigma):
        return log_density(queries, bank, Gaussian(sigma), query_rows=4, bank_rows=8).sum()

    arguments = jnp.asarray(queries), jnp.asarray(bank), jnp.float32(0.3)
    by_query, by_bank, by_sigma = fast(jax.grad(total, argnums=(0, 1, 2)))(*arguments)
    difference = bank[None].astype(np.float64) - queries[:, None]
    squares = np.square(difference).sum(axis=2)
    weights = np.exp(-squares / (2 * 0.3**2))
    weights /= weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(by_query, np.einsum("mn,mnd->md", weights, difference) / 0.3**2, atol=1e-4)
    np.testing.assert_allclose(by_bank, -np.einsum("mn,mnd->nd", weights, difference) / 0.3**2, atol=1e-4)
    expected = (weights * squares).sum() / 0.3**3 - queries.size / 0.3
    assert float(by_sigma) == pytest.approx(expected, rel=1e-4)


def test_a_bank_on_the_host_under_transformations(rng):
    bank, queries = rng.random((30, 5)).astype(np.float32), rng.random((7, 5)).astype(np.float32)
    expected = np.asarray(log_density(queries, bank, Gaussian(0.3)))
    for mine in (
        fast(lambda q: log_density(q, bank, Gaussian(0.3)))(queries),
        fast(lambda sigma: log_density(queries, bank, Gaussian(sigma)))(jnp.float32(0.3)),
        jax.vmap(lambda q: log_density(q[None], bank, Gaussian(0.3))[0])(jnp.asarray(queries)),
        jax.vmap(lambda sigma: log_density(queries, bank, Gaussian(sigma)))(jnp.full(2, 0.3))[1],
    ):
        np.testing.assert_allclose(mine, expected, atol=1e-5)

    def total(queries):
        return log_density(queries, bank, Gaussian(0.3)).sum()

    points = jnp.asarray(queries)
    np.testing.assert_allclose(jax.grad(total)(points), fast(jax.grad(total))(points), atol=1e-5)
    np.testing.assert_allclose(
        fast(lambda s: leave_one_out(bank, Gaussian(s)))(0.3), leave_one_out(bank, Gaussian(0.3)), atol=1e-5
    )


def test_kernels_too_narrow_for_the_precision_are_refused(unhooked):
    for sigma in (1e-20, 1e-200, np.float32(1e-20), jnp.float32(1e-20)):
        with pytest.raises(
            ValueError, match=r"sigma must be above 5\.4e-20, or 1 / sigma.2 is beyond float32; got 1e-20"
        ):
            log_density(POINTS, POINTS, Gaussian(sigma))
    with pytest.raises(ValueError, match=r"beyond float16; got 0\.001"):
        log_density(POINTS.astype(np.float16), POINTS.astype(np.float16), Gaussian(1e-3))
    # At a point of the bank, without a third of it.
    narrow = float(
        log_density(POINTS[:1], np.eye(3, 4, dtype=np.float32) * np.float32([[0], [1], [1]]), Gaussian(1e-18))[0]
    )
    assert narrow == pytest.approx(-np.log(3) - 2 * np.log(2 * np.pi) + 4 * 18 * np.log(10), rel=1e-6)


def test_gradient_of_the_mollifier(rng):
    bank, queries = (jnp.asarray(rng.random((9, 3)).astype(np.float32)) for _ in range(2))

    def total(t):
        return log_density(queries, bank, Mollifier(t)).sum()

    by_t = fast(jax.grad(total))(jnp.float32(0.4))
    numeric = (total(0.41) - total(0.39)) / 0.02
    assert float(by_t) == pytest.approx(float(numeric), rel=2e-3)


def test_owners_are_left_out(rng):
    bank, queries = rng.random((20, 3)).astype(np.float32), rng.random((4, 3)).astype(np.float32)
    owners = np.array([0, 1, 2, 9]), np.arange(20) % 3
    mine = log_sums(queries, bank, Gaussian(0.2), owners=owners, query_rows=3, bank_rows=7)
    for query, owner, value in zip(queries, owners[0], mine, strict=True):
        kept = bank[owners[1] != owner]
        assert float(value) == pytest.approx(brute(query[None], [(1.0, 0.2, kept)])[0] + np.log(len(kept)), abs=1e-4)


POINTS = np.zeros((3, 4), np.float32)


@pytest.mark.parametrize(
    "queries, bank, message",
    [
        (POINTS, POINTS[:, :3], "bank has points of 3 values, the other points have 4"),
        (POINTS[:0], POINTS, r"queries must hold at least one point of at least one value; got shape \(0, 4\)"),
        (POINTS, POINTS[:0], "bank must hold at least one point"),
        (POINTS[0], POINTS, r"queries must have 2 axes \(points, values of each\); got shape \(4,\)"),
        (np.where(np.eye(3, 4) > 0, np.nan, POINTS), POINTS, "queries must hold finite numbers; row 0 does not"),
        (POINTS, POINTS + np.float32([[0], [0], [np.inf]]), "bank must hold finite numbers; row 2 does not"),
        (POINTS, jnp.full((5, 4), jnp.nan), "bank must hold finite numbers; row 0 does not"),
    ],
)
def test_bad_points(unhooked, queries, bank, message):
    with pytest.raises(ValueError, match=message):
        log_density(queries, bank, Gaussian(0.1))


def test_bad_options(unhooked):
    with pytest.raises(
        TypeError, match=r"bank must hold floating-point numbers; got uint8\. Divide 8-bit images by 255"
    ):
        log_density(POINTS, POINTS.astype(np.uint8), Gaussian(0.1))
    with pytest.raises(ValueError, match="query_rows must be at least 1"):
        log_density(POINTS, POINTS, Gaussian(0.1), query_rows=0)
    with pytest.raises(ValueError, match="bank_rows must be at least 1"):
        log_density(POINTS, POINTS, Gaussian(0.1), bank_rows=0)
    with pytest.raises(ValueError, match="devices must name at least one device"):
        log_density(POINTS, POINTS, Gaussian(0.1), devices=[])
