"""The cosine transform and the heat operator against scipy.fft and the dense product."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft

from mollax.image import dct

operator = jax.jit(dct.heat_operator, static_argnums=1)  # one compilation a side, not one a primitive
SIDES = [1, 2, 3, 7, 16, 33]


def dense_operator(scale: float, side: int) -> np.ndarray:
    """D^T diag(exp(-scale^2 / 2 (pi m / n)^2)) D from scipy's transform of the unit vectors."""
    transform = scipy.fft.dct(np.eye(side), norm="ortho", axis=0)
    gain = np.exp(-(scale**2) / 2 * (np.pi * np.arange(side) / side) ** 2)
    return transform.T @ (gain[:, None] * transform)


@pytest.mark.parametrize("side", SIDES)
def test_matrix_equals_scipy_and_is_orthonormal(side: int) -> None:
    matrix = dct.dct_matrix(side)
    assert matrix.dtype == np.float64
    np.testing.assert_allclose(matrix, scipy.fft.dct(np.eye(side), norm="ortho", axis=0), atol=1e-12)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(side), atol=1e-12)


@pytest.mark.parametrize("shape", [(8, 8, 3), (5, 12, 1), (1, 7, 2)])
def test_transforms_equal_scipy(shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    image = rng.normal(size=shape)
    expected = scipy.fft.dctn(image, norm="ortho", axes=(0, 1))
    inverse = scipy.fft.idctn(image, norm="ortho", axes=(0, 1))
    with jax.enable_x64(True):
        np.testing.assert_allclose(dct.dct2(jnp.asarray(image)), expected, atol=1e-12)
        np.testing.assert_allclose(dct.idct2(jnp.asarray(image)), inverse, atol=1e-12)
    single = jnp.asarray(image, jnp.float32)
    assert dct.dct2(single).dtype == jnp.float32
    np.testing.assert_allclose(dct.dct2(single), expected, atol=5e-6)
    np.testing.assert_allclose(dct.idct2(dct.dct2(single)), single, atol=5e-6)


@pytest.mark.parametrize("side", SIDES)
def test_heat_operator_equals_the_dense_product(side: int) -> None:
    for scale in (0.3, 1.7, 20.0):
        expected = dense_operator(scale, side)
        np.testing.assert_allclose(operator(jnp.float32(scale), side), expected, atol=1e-6)
        with jax.enable_x64(True):
            np.testing.assert_allclose(operator(jnp.float64(scale), side), expected, atol=1e-12)


@pytest.mark.parametrize("side", SIDES)
def test_scale_zero_is_the_identity(side: int) -> None:
    np.testing.assert_allclose(operator(jnp.float32(0.0), side), np.eye(side), atol=1e-6)
    with jax.enable_x64(True):
        np.testing.assert_allclose(operator(jnp.float64(0.0), side), np.eye(side), atol=1e-12)


def test_infinite_heat_leaves_the_mean() -> None:
    np.testing.assert_allclose(dct.heat_operator(jnp.float32(1e4), 6), np.full((6, 6), 1 / 6), atol=1e-7)


def test_rows_of_the_heat_operator_sum_to_one() -> None:
    for scale in (0.0, 0.5, 3.0):
        matrix = np.asarray(operator(jnp.float32(scale), 17))
        np.testing.assert_allclose(matrix.sum(axis=1), np.ones(17), atol=1e-6)
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-7)


def test_jit_and_vmap_give_the_same() -> None:
    scales = jnp.array([0.3, 2.0, 9.0])
    batch = jax.jit(jax.vmap(lambda s: dct.heat_operator(s, 9)))(scales)
    for matrix, scale in zip(batch, scales, strict=True):
        np.testing.assert_allclose(matrix, dct.heat_operator(scale, 9), atol=1e-6)


def test_a_side_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="side must be at least 1; got 0"):
        dct.dct_matrix(0)
    with pytest.raises(ValueError, match="side must be at least 1; got 0"):
        dct.heat_operator(jnp.float32(1.0), 0)
