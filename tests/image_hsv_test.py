"""Hue, saturation and value against colorsys."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mollax.image.hsv import hsv_to_rgb, rgb_to_hsv


@pytest.fixture
def colors(rng: np.random.Generator) -> np.ndarray:
    """8-bit colors, among them the corners of the cube, grays and ties of two channels."""
    levels = np.array([0, 1, 127, 255])
    few = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    return np.concatenate([few, rng.integers(0, 256, (936, 3))]) / 255


def test_hsv_is_that_of_colorsys(colors: np.ndarray) -> None:
    ours = jax.jit(rgb_to_hsv)(jnp.asarray(colors, jnp.float32))
    expected = np.array([colorsys.rgb_to_hsv(*color) for color in colors])
    np.testing.assert_allclose(ours, expected, atol=1e-6)
    assert np.asarray(ours[:, 0]).max() < 1


def test_rgb_is_that_of_colorsys(colors: np.ndarray) -> None:
    # Hue 1 is hue 0; colorsys agrees.
    ours = jax.jit(hsv_to_rgb)(jnp.asarray(colors, jnp.float32))
    expected = np.array([colorsys.hsv_to_rgb(*color) for color in colors])
    np.testing.assert_allclose(ours, expected, atol=2e-6)


def test_there_and_back_returns_every_8_bit_color(rng: np.random.Generator) -> None:
    levels = rng.integers(0, 256, (64, 64, 3))
    back = jax.jit(lambda x: hsv_to_rgb(rgb_to_hsv(x)))(jnp.asarray(levels / 255, jnp.float32))
    np.testing.assert_allclose(255 * np.asarray(back), levels, atol=1e-3)


def test_black_white_and_almost_gray() -> None:
    hsv = np.asarray(jax.jit(rgb_to_hsv)(jnp.asarray([[0.0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5 + 1e-7]], jnp.float32)))
    np.testing.assert_allclose(hsv[:2], [[0, 0, 0], [0, 0, 1]])
    assert np.isfinite(hsv).all()
    # The hue of a red with a trace of blue is a rounding below 1, and must not become 1.
    assert jax.jit(rgb_to_hsv)(jnp.asarray([1.0, 0.0, 1e-12]))[0] < 1


def test_vmap_and_axes_change_nothing(colors: np.ndarray) -> None:
    x = jnp.asarray(colors, jnp.float32)
    grid = x.reshape(10, 20, 5, 3)
    for function in (jax.jit(rgb_to_hsv), jax.jit(hsv_to_rgb)):
        np.testing.assert_allclose(jax.vmap(function)(grid).reshape(-1, 3), function(x), atol=1e-6)
        np.testing.assert_allclose(function(x[7]), function(x)[7], atol=1e-6)


def test_bad_arguments_are_named(unhooked: None) -> None:
    for function in (rgb_to_hsv, hsv_to_rgb):
        with pytest.raises(ValueError, match=r"colors must have 3 channels on the last axis; got shape \(4, 4, 1\)"):
            function(jnp.zeros((4, 4, 1)))
        with pytest.raises(TypeError, match="colors must be floats, not uint8"):
            function(jnp.zeros((4, 4, 3), jnp.uint8))
