"""The heat-equation blur against scipy.fft, its laws, and scipy.ndimage's Gaussian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mollax.mollify import blur, blur_batch, blur_scale

jitted = jax.jit(blur)  # one compilation a shape instead of one a primitive
SHAPES = [(16, 16, 3), (9, 14, 1), (20, 7, 3), (1, 5, 2)]


def reference(image: np.ndarray, scale: float) -> np.ndarray:
    """Eq 5 through scipy's fast transform, in float64."""
    height, width, _ = image.shape
    frequencies = np.pi**2 * ((np.arange(height) / height)[:, None] ** 2 + (np.arange(width) / width)[None, :] ** 2)
    coefficients = scipy.fft.dctn(image.astype(np.float64), norm="ortho", axes=(0, 1))
    damped = coefficients * np.exp(-(scale**2) / 2 * frequencies)[..., None]
    return scipy.fft.idctn(damped, norm="ortho", axes=(0, 1))


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_scipy(shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    image = rng.random(shape)
    for scale in (0.0, 0.3, 1.1, 4.0, 16.0):
        expected = reference(image, scale)
        ours = jitted(jnp.asarray(image, jnp.float32), jnp.float32(scale))
        assert ours.dtype == jnp.float32
        np.testing.assert_allclose(ours, expected, atol=2e-6)
        with jax.enable_x64(True):
            np.testing.assert_allclose(jitted(jnp.asarray(image), jnp.float64(scale)), expected, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.0, 40.0))
def test_keeps_the_mean_and_adds_no_energy(seed: int, scale: float) -> None:
    image = np.random.default_rng(seed).normal(size=(8, 11, 2)).astype(np.float32)
    blurred = np.asarray(jitted(jnp.asarray(image), jnp.float32(scale)))
    np.testing.assert_allclose(blurred.mean((0, 1)), image.mean((0, 1)), atol=2e-6)
    assert (blurred**2).sum() <= (image**2).sum() * (1 + 1e-6)


def test_temperature_zero_is_a_blur_of_0_3_pixels(rng: np.random.Generator) -> None:
    image = jnp.asarray(rng.random((12, 12, 3)), jnp.float32)
    at_zero = blur(image, blur_scale(jnp.float32(0.0), 12))
    np.testing.assert_allclose(at_zero, reference(np.asarray(image), 0.3), atol=2e-6)
    assert np.abs(at_zero - image).max() > 1e-3
    np.testing.assert_allclose(blur(image, 0.0), image, atol=2e-6)


def test_two_blurs_are_one_of_the_summed_variance(rng: np.random.Generator) -> None:
    image = jnp.asarray(rng.random((13, 10, 3)), jnp.float32)
    twice = jitted(jitted(image, jnp.float32(0.9)), jnp.float32(1.6))
    np.testing.assert_allclose(twice, jitted(image, jnp.float32(np.hypot(0.9, 1.6))), atol=2e-6)


def test_a_constant_stays_and_the_largest_blur_leaves_the_mean(rng: np.random.Generator) -> None:
    np.testing.assert_allclose(blur(jnp.full((9, 9, 1), 0.7), jnp.float32(3.0)), 0.7, atol=2e-6)
    image = jnp.asarray(rng.random((16, 16, 3)), jnp.float32)
    flat = blur(image, blur_scale(jnp.float32(1.0), 16))
    assert np.abs(flat - image.mean((0, 1), keepdims=True)).max() < 0.02


@pytest.mark.parametrize("sigma", [0.8, 1.5, 3.0])
def test_agrees_with_a_reflecting_gaussian(sigma: float, rng: np.random.Generator) -> None:
    # Continuous heat flow against a sampled kernel: they differ by the frequencies that the kernel aliases,
    # below 2 % at 0.8 pixels and below 1e-5 from 1.5 pixels on. Borders agree as well as the interior.
    image = rng.random((24, 24, 3))
    expected = ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="reflect", truncate=8.0)
    tolerance = 0.02 if sigma < 1 else 1e-4
    np.testing.assert_allclose(blur(jnp.asarray(image, jnp.float32), sigma), expected, atol=tolerance)


def test_batch_equals_one_by_one(rng: np.random.Generator) -> None:
    images = jnp.asarray(rng.random((4, 8, 10, 3)), jnp.float32)
    scales = jnp.array([0.3, 1.0, 4.0, 10.0])
    expected = jax.jit(jax.vmap(blur))(images, scales)
    np.testing.assert_allclose(jax.jit(blur_batch)(images, scales), expected, atol=1e-6)


def test_gradient_equals_finite_differences(rng: np.random.Generator) -> None:
    with jax.enable_x64(True):
        image, weights = jnp.asarray(rng.random((5, 6, 2))), jnp.asarray(rng.random((5, 6, 2)))

        @jax.jit
        def loss(image: jax.Array, scale: jax.Array) -> jax.Array:
            return jnp.sum(weights * blur(image, scale) ** 2)

        scale, step = jnp.float64(1.3), 1e-6
        by_image, by_scale = jax.jit(jax.grad(loss, argnums=(0, 1)))(image, scale)
        direction = jnp.asarray(rng.normal(size=image.shape))
        ahead, behind = loss(image + step * direction, scale), loss(image - step * direction, scale)
        np.testing.assert_allclose(jnp.vdot(by_image, direction), (ahead - behind) / (2 * step), rtol=1e-7)
        difference = (loss(image, scale + step) - loss(image, scale - step)) / (2 * step)
        np.testing.assert_allclose(by_scale, difference, rtol=1e-7)


def test_gradient_at_scale_zero_is_finite() -> None:
    gradient = jax.jit(jax.grad(lambda s: jnp.sum(blur(jnp.ones((4, 4, 1)), s) ** 2)))(jnp.float32(0.0))
    assert np.isfinite(gradient)


@pytest.mark.usefixtures("unhooked")
def test_bad_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"image must have 3 axes \(height, width, channels\); got shape \(4, 4\)"):
        blur(jnp.zeros((4, 4)), jnp.float32(1.0))
    with pytest.raises(TypeError, match=r"image must hold floating-point numbers; got uint8. Divide 8-bit images"):
        blur(jnp.zeros((4, 4, 3), jnp.uint8), jnp.float32(1.0))
