"""Wherever the bank lies and whatever the blocks: one result."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import fast
from drift_brute import log_density as brute

from mollax.drift.augmented import Augmented
from mollax.drift.averaged_mollifier import AveragedMollifier
from mollax.drift.density import log_density
from mollax.drift.kernels import Gaussian
from mollax.drift.leave_one_out import leave_one_out

SHAPE = (2, 4, 1)


def shaken(key, points):
    """Points and noise."""
    return points + 0.1 * jax.random.normal(key, points.shape, points.dtype)


def kernels():
    return {
        "gaussian": Gaussian(0.2),
        "averaged": AveragedMollifier(SHAPE, 0.1, noise_nodes=5, blur_nodes=3),
        "augmented": Augmented(shaken, jax.random.key(1), 0.1, draws=3),
    }


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(3)
    return rng.random((9, 8)).astype(np.float32), rng.random((37, 8)).astype(np.float32)


@pytest.mark.parametrize("name", ["gaussian", "averaged", "augmented"])
def test_places_and_blocks_change_nothing(points, tmp_path, name):
    queries, bank = points
    kernel = kernels()[name]
    whole = fast(lambda q, b: log_density(q, b, kernel))(*map(jnp.asarray, points))
    blocks = fast(lambda q, b: log_density(q, b, kernel, query_rows=4, bank_rows=10))(*map(jnp.asarray, points))
    file = np.lib.format.open_memmap(tmp_path / "bank.npy", mode="w+", dtype=np.float32, shape=bank.shape)
    file[:] = bank
    np.testing.assert_allclose(blocks, whole, atol=1e-5)
    np.testing.assert_allclose(log_density(queries, file, kernel, query_rows=5, bank_rows=10), whole, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["gaussian", *(pytest.param(name, marks=pytest.mark.slow) for name in ("averaged", "augmented"))]
)
def test_devices_change_nothing(points, name):
    queries, bank = points
    kernel = kernels()[name]
    expected = log_density(queries, bank, kernel)
    for count in (1, 2, 4):
        mine = log_density(queries, bank, kernel, devices=jax.devices()[:count], query_rows=5, bank_rows=6)
        np.testing.assert_allclose(mine, expected, atol=1e-5)


def test_jit(points):
    queries, bank = (jnp.asarray(part) for part in points)
    mine = fast(lambda q, b, sigma: log_density(q, b, Gaussian(sigma), bank_rows=16))(queries, bank, 0.2)
    np.testing.assert_allclose(mine, brute(*points[:1], [(1.0, 0.2, points[1])]), atol=1e-5)


@pytest.mark.slow
def test_fewer_points_than_devices(points):
    queries, bank = points
    mine = log_density(queries, bank[:2], Gaussian(0.3), devices=jax.devices())
    np.testing.assert_allclose(mine, brute(queries, [(1.0, 0.3, bank[:2])]), atol=1e-5)


def test_one_query_one_point(points):
    queries, bank = points
    mine = log_density(queries[:1], bank[:1], Gaussian(0.3))
    np.testing.assert_allclose(mine, brute(queries[:1], [(1.0, 0.3, bank[:1])]), atol=1e-5)


def test_leave_one_out_over_devices(points):
    expected = leave_one_out(points[1], Gaussian(0.1))
    mine = leave_one_out(points[1], Gaussian(0.1), devices=jax.devices()[:2])
    np.testing.assert_allclose(mine, expected, atol=1e-5)


def test_half_precision_banks_are_read_in_the_queries_precision(points):
    queries, bank = points
    half = bank.astype(np.float16)
    mine = log_density(queries, half, Gaussian(0.1), bank_rows=16)
    assert mine.dtype == jnp.float32
    np.testing.assert_allclose(mine, log_density(queries, half.astype(np.float32), Gaussian(0.1)), atol=1e-5)
