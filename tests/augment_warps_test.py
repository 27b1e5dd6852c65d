"""Shears, translations and rotations against PIL's transform and rotate."""

import functools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pil_operations import cifar_images, pil_apply

from mollax import augment
from mollax.augment import warps
from mollax.image import affine_warp, compose

MAGNITUDES = {
    "shear_x": (0.13, 0.3, -0.99),
    "shear_y": (0.13, 0.3, -0.99),
    "translate_x": (3, -7, 32),
    "translate_y": (3, -7, 32),
    "rotate": (9, -30, 134.5),
}


@functools.cache
def jitted(name: str, interpolation: str) -> Callable:
    """The operation on a batch, compiled once for each shape."""
    operation = getattr(augment, name)
    return jax.jit(jax.vmap(lambda image, m: operation(image, m, interpolation=interpolation), (0, None)))


def warped(name: str, pixels: np.ndarray, magnitude: float, interpolation: str) -> np.ndarray:
    """Results in gray levels."""
    return 255 * np.asarray(
        jitted(name, interpolation)(jnp.asarray(pixels / 255, jnp.float32), jnp.float32(magnitude)), np.float64
    )


@pytest.mark.parametrize("name", warps.GEOMETRIC)
def test_nearest_is_pils(name: str, real_data: Path, rng: np.random.Generator) -> None:
    for pixels in (cifar_images(real_data)[:2], rng.integers(0, 256, (2, 19, 24, 3), np.uint8)):
        for magnitude in MAGNITUDES[name]:
            pil = np.stack([pil_apply(image, name, magnitude) for image in pixels])
            wrong = np.abs(warped(name, pixels, magnitude, "nearest") - pil) > 1e-3
            # Reads half way between two pixels may fall to either side.
            assert wrong.mean() < 0.005


@pytest.mark.parametrize("name", warps.GEOMETRIC)
def test_bilinear_is_pils_inside(name: str, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (2, 19, 24, 3), np.uint8)
    for magnitude in MAGNITUDES[name]:
        pil = np.stack([pil_apply(image, name, magnitude, "bilinear") for image in pixels])
        # Blended with black around the frame, where PIL is not: nothing there for a white image.
        inside = warped(name, np.full_like(pixels, 255), magnitude, "bilinear") > 254.99
        wrong = np.abs(warped(name, pixels, magnitude, "bilinear") - pil) > 1.01
        assert not wrong[inside].any()
        assert inside.mean() > 0.2 or magnitude == 32


@pytest.mark.parametrize("name", warps.GEOMETRIC)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_magnitude_zero_changes_nothing(name: str, interpolation: str, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (2, 19, 24, 3), np.uint8)
    np.testing.assert_allclose(warped(name, pixels, 0, interpolation), pixels, atol=1e-4)


def test_matrices_compose_into_one_warp(rng: np.random.Generator) -> None:
    image = np.zeros((20, 26, 1), np.float32)
    image[8:12, 9:15] = rng.random((4, 6, 1))
    size = {"height": 20, "width": 26}
    move, shift = (warps.geometric_matrix(f"translate_{axis}", 3, **size) for axis in "xy")
    both = affine_warp(jnp.asarray(image), compose(move, shift), method="nearest")
    np.testing.assert_array_equal(both, np.roll(image, (3, 3), axis=(0, 1)))


def test_bad_arguments_are_named() -> None:
    image = jnp.zeros((8, 8, 3))
    with pytest.raises(ValueError, match=r"name must be one of 'shear_x', .*; got 'shear'"):
        augment.geometric_matrix("shear", 1, height=8, width=8)
    with pytest.raises(ValueError, match=r"interpolation must be one of 'bilinear', 'nearest'; got 'cubic'"):
        augment.rotate(image, 3, interpolation="cubic")
    with pytest.raises(ValueError, match=r"width must be at least 2; got 1"):
        augment.shear_x(image[:, :1], 0.1)
