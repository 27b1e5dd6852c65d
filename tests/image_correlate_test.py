"""Correlation against scipy.ndimage."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from mollax.image import correlate as module
from mollax.image.correlate import MODES, axis_matrix, correlate, correlate_axes


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sides", [(1, 1), (3, 5), (7, 1), (9, 11), (17, 17)])
def test_equals_scipy(mode: str, sides: tuple[int, int], rng: np.random.Generator) -> None:
    # 9 x 11 and 17 x 17 are beyond what is summed by shifts; 17 is wider than the image.
    kernel = rng.normal(size=sides) / np.prod(sides)
    image = rng.random((8, 13, 3), np.float32)
    expected = ndimage.correlate(image.astype(np.float64), kernel[..., None], mode=mode)
    np.testing.assert_allclose(correlate(jnp.asarray(image), kernel, mode=mode), expected, atol=1e-6)
    down, across = kernel[:, 0], kernel[0]
    expected = ndimage.correlate(image.astype(np.float64), np.outer(down, across)[..., None], mode=mode)
    np.testing.assert_allclose(correlate_axes(jnp.asarray(image), down, across, mode=mode), expected, atol=1e-6)


def test_zeros_cost_nothing(rng: np.random.Generator) -> None:
    kernel = np.zeros((33, 33))
    kernel[0, 5], kernel[16, 16], kernel[30, 2] = 0.5, 0.3, 1e-13
    image = rng.random((20, 20, 1), np.float32)
    jaxpr = str(jax.make_jaxpr(lambda x: correlate(x, kernel))(image))
    assert jaxpr.count(" mul ") == 2
    expected = ndimage.correlate(image.astype(np.float64), kernel[..., None], mode="mirror")
    np.testing.assert_allclose(correlate(jnp.asarray(image), kernel), expected, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_the_matrix_is_the_correlation(mode: str, rng: np.random.Generator) -> None:
    weights, signal = rng.normal(size=7), rng.normal(size=5)
    expected = ndimage.correlate1d(signal, weights, mode=mode)
    np.testing.assert_allclose(axis_matrix(weights, 5, mode=mode) @ signal, expected, atol=1e-12)


@pytest.mark.parametrize("sides", [(3, 3), (9, 11)])
def test_jit_vmap_and_gradient(sides: tuple[int, int], rng: np.random.Generator) -> None:
    kernel = rng.normal(size=sides)
    images = jnp.asarray(rng.random((3, 8, 9, 2), np.float32))
    batch = jax.jit(jax.vmap(lambda x: correlate(x, kernel)))(images)
    np.testing.assert_allclose(batch, jnp.stack([correlate(x, kernel) for x in images]), atol=1e-5)
    # Linear: <K x, y> = <x, K^T y>.
    out, pull = jax.vjp(lambda x: correlate_axes(correlate(x, kernel), kernel[:, 0], kernel[0]), images[0])
    cotangent = jnp.asarray(rng.random(out.shape, np.float32))
    np.testing.assert_allclose(jnp.vdot(out, cotangent), jnp.vdot(images[0], pull(cotangent)[0]), rtol=1e-4)


def test_bad_arguments_are_named(unhooked: None) -> None:
    image, kernel = jnp.zeros((8, 8, 3)), np.ones((3, 3))
    with pytest.raises(TypeError, match="image must be floats, not int32"):
        correlate(jnp.zeros((8, 8, 3), jnp.int32), kernel)
    with pytest.raises(ValueError, match=r"image must have 3 axes .*got shape \(8, 8\)"):
        correlate_axes(image[..., 0], kernel[0], kernel[0])
    with pytest.raises(ValueError, match=r"kernel must have an odd number of weights along an axis.*got 2"):
        correlate(image, kernel[:2])
    with pytest.raises(ValueError, match=r"across must have an odd number of weights.*got 2"):
        correlate_axes(image, kernel[0], kernel[0, :2])
    for call in (lambda: correlate(image, kernel, mode="wrap"), lambda: axis_matrix(kernel[0], 4, mode="wrap")):
        with pytest.raises(ValueError, match="mode must be one of 'nearest', 'mirror'; got 'wrap'"):
            call()
    assert module.MOST_SHIFTS < 9 * 11, "test_equals_scipy covers both forms"
