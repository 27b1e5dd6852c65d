"""Contrast, luminance, 8-bit grid and standardization against NumPy, PIL and scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from sklearn.preprocessing import StandardScaler

from mollax.image import adjust_contrast, quantize, standardize, to_gray, unstandardize


@pytest.mark.parametrize("factor", [0.05, 0.4, 1.0, 2.0])
@pytest.mark.parametrize("shape", [(8, 8, 3), (5, 9, 1)])
def test_contrast_scales_around_each_channels_mean(
    factor: float, shape: tuple[int, int, int], rng: np.random.Generator
) -> None:
    image = (rng.random(shape) * np.linspace(0.3, 1.0, shape[2])).astype(np.float32)
    ours = np.asarray(adjust_contrast(jnp.asarray(image), factor))
    for channel in range(shape[2]):
        plane = image[..., channel].astype(np.float64)
        np.testing.assert_allclose(ours[..., channel], factor * plane + (1 - factor) * plane.mean(), atol=1e-6)


def test_contrast_is_not_clipped_and_has_the_right_gradients(rng: np.random.Generator) -> None:
    image = jnp.asarray(rng.random((6, 6, 2), np.float32))
    assert adjust_contrast(image, 3).max() > 1
    slope = jax.grad(lambda f: jnp.sum(adjust_contrast(image, f) ** 2))(0.5)
    # sum of (c f + m)^2 with c centred: the derivative is 2 f sum c^2, as the cross term vanishes.
    centred = np.asarray(image) - np.asarray(image).mean((0, 1))
    np.testing.assert_allclose(slope, 2 * 0.5 * (centred**2).sum(), rtol=1e-4)
    factors = jnp.asarray([0.2, 0.7])
    batch = jax.jit(jax.vmap(adjust_contrast))(jnp.stack([image, image]), factors)
    np.testing.assert_allclose(batch[1], adjust_contrast(image, 0.7), atol=1e-6)


def test_gray_is_pils_luminance(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (12, 7, 3), dtype=np.uint8)
    pil = np.asarray(Image.fromarray(pixels).convert("L"), np.float64)
    ours = np.asarray(to_gray(jnp.asarray(pixels / 255, jnp.float32)))[..., 0] * 255
    # PIL rounds to whole levels.
    assert np.abs(ours - pil).max() <= 0.501
    gray = jnp.asarray(rng.random((4, 4, 1), np.float32))
    np.testing.assert_array_equal(to_gray(gray), gray)
    np.testing.assert_allclose(to_gray(jnp.ones((2, 2, 3))), 1, atol=1e-6)


def test_quantize_truncates_and_rounds_as_numpy_does(rng: np.random.Generator) -> None:
    values = rng.random(10_000, np.float32)
    down = np.uint8(values * np.float32(255)) / 255
    near = np.uint8(np.round(values * np.float32(255))) / 255
    np.testing.assert_allclose(quantize(jnp.asarray(values)), down, atol=1e-7)
    np.testing.assert_allclose(jax.jit(lambda v: quantize(v, rounding="round"))(jnp.asarray(values)), near, atol=1e-7)
    assert (down != near).mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("rounding", ["truncate", "round"])
def test_every_level_of_the_grid_stays(rounding: str) -> None:
    levels = np.arange(256)
    # A level stored by NumPy (one rounding) and by XLA (which may multiply by 1/255) must not slip one down.
    for grid in (jnp.asarray(levels / 255, jnp.float32), jax.jit(lambda k: k / 255)(jnp.arange(256.0))):
        for function in (quantize, jax.jit(quantize, static_argnames="rounding")):
            out = np.asarray(function(grid, rounding=rounding))
            np.testing.assert_array_equal(np.round(out * 255).astype(int), levels)
            np.testing.assert_allclose(out, levels / 255, atol=1e-7)


def test_quantize_clips_what_eight_bits_cannot_hold() -> None:
    np.testing.assert_array_equal(quantize(jnp.asarray([-3.0, -1e-6, 1.0, 1.0001, 7.0])), [0, 0, 1, 1, 1])


def test_standardize_is_standard_scaler(rng: np.random.Generator) -> None:
    images = (rng.random((10, 6, 5, 3)) * [1.0, 0.5, 0.1]).astype(np.float32)
    scaler = StandardScaler().fit(images.reshape(-1, 3))
    expected = scaler.transform(images.reshape(-1, 3)).reshape(images.shape)
    for mean, std in (
        (scaler.mean_, scaler.scale_),
        (tuple(map(float, scaler.mean_)), list(map(float, scaler.scale_))),
        (jnp.asarray(scaler.mean_, jnp.float32), jnp.asarray(scaler.scale_, jnp.float32)),
    ):
        ours = standardize(jnp.asarray(images), mean, std)
        np.testing.assert_allclose(ours, expected, atol=1e-4)
        np.testing.assert_allclose(unstandardize(ours, mean, std), images, atol=1e-6)
    single = jax.jit(standardize)(jnp.asarray(images[0]), jnp.zeros(3), jnp.full(3, 0.5))
    np.testing.assert_allclose(single, images[0] / 0.5, atol=1e-6)


def test_bad_arguments_are_named(unhooked: None) -> None:
    image = jnp.zeros((4, 4, 3))
    with pytest.raises(ValueError, match=r"image must have 1 or 3 channels to become gray; got shape \(4, 4, 2\)"):
        to_gray(image[..., :2])
    with pytest.raises(ValueError, match="rounding must be one of 'truncate', 'round'; got 'floor'"):
        quantize(image, rounding="floor")
    with pytest.raises(TypeError, match="values must be floats, not uint8"):
        quantize(jnp.zeros(3, jnp.uint8))
    with pytest.raises(TypeError, match="images must be floats, not uint8"):
        standardize(jnp.zeros((4, 4, 3), jnp.uint8), (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(ValueError, match=r"mean must hold one number a channel, 3 here; got shape \(1,\)"):
        standardize(image, (0.5,), (0.5,))
    with pytest.raises(ValueError, match=r"std must be positive in every channel; got .*Is a channel constant"):
        standardize(image, (0.5,) * 3, (0.5, 0.0, 0.5))
    with pytest.raises(ValueError, match="image must have 3 axes"):
        adjust_contrast(jnp.zeros((4, 4)), 0.5)
