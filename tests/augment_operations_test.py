"""Color operations against PIL on real and random images, by hand where PIL has no say, and their errors."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pil_operations import cifar_images, pil_apply

from mollax import augment
from mollax.augment import operations

FACTORS = (-0.99, -0.5, -0.1, 0.0, 0.3, 0.99)
MAGNITUDES = {
    **dict.fromkeys(operations.ENHANCEMENTS, FACTORS),
    "posterize": (8, 6, 4, 2, 1),
    "solarize": (1, 0.8, 17 / 255, 1 / 255, 0),
}
# Counts and thresholds are exact, the others keep the fraction that PIL cuts off.
EXACT = ("equalize", "invert", "posterize", "solarize")


def unit(pixels: np.ndarray) -> jax.Array:
    return jnp.asarray(pixels / 255, jnp.float32)


def difference(name: str, pixels: np.ndarray) -> float:
    """The largest difference from PIL in gray levels, over a batch of bytes and all magnitudes."""
    apply = jax.jit(jax.vmap(operations.COLOR[name], (0, None)))
    worst = 0.0
    for magnitude in MAGNITUDES.get(name, (0,)):
        ours = np.asarray(apply(unit(pixels), jnp.float32(magnitude)), np.float64)
        assert ours.min() >= 0
        assert ours.max() <= 1
        pil = np.stack([pil_apply(image, name, magnitude) for image in pixels])
        worst = max(worst, np.abs(255 * ours - pil).max())
    return worst


@pytest.mark.parametrize("name", operations.COLOR)
def test_color_operations_are_pils(name: str, rng: np.random.Generator) -> None:
    few = rng.choice(np.array([3, 90, 91, 200, 255], np.uint8), (4, 15, 21, 3), p=(0.1, 0.2, 0.3, 0.3, 0.1))
    flat = np.full((1, 15, 21, 3), 77, np.uint8)
    pixels = np.concatenate([rng.integers(0, 256, (4, 15, 21, 3), np.uint8), few, flat])
    allowed = 1e-3 if name in EXACT else 1.001
    assert difference(name, pixels) <= allowed
    assert difference(name, pixels[..., :1]) <= allowed


@pytest.mark.parametrize("name", operations.COLOR)
def test_color_operations_are_pils_on_photographs(name: str, real_data: Path) -> None:
    assert difference(name, cifar_images(real_data)) <= (1e-3 if name in EXACT else 1.001)


@pytest.mark.parametrize("name", [*operations.ENHANCEMENTS, "posterize"])
def test_the_neutral_amount_changes_nothing(name: str, rng: np.random.Generator) -> None:
    image = unit(rng.integers(0, 256, (9, 7, 3), np.uint8))
    neutral = 8 if name == "posterize" else 1.0
    np.testing.assert_allclose(jax.jit(getattr(augment, name))(image, neutral), image, atol=1e-6)


def test_the_ends_of_the_scales(rng: np.random.Generator) -> None:
    image = unit(rng.integers(0, 256, (9, 7, 3), np.uint8))
    assert augment.posterize(image, 0).max() == 0
    assert augment.brightness(image, 0).max() == 0
    assert np.ptp(augment.contrast(image, 0)) == 0
    assert np.ptp(augment.color(image, 0), axis=-1).max() == 0
    np.testing.assert_allclose(augment.solarize(image, 0), 1 - image)
    np.testing.assert_array_equal(augment.sharpness(image[:2], 0), image[:2])


def test_rounding_errors_are_not_contrast() -> None:
    # What a bilinear warp makes of a uniform image.
    image = jnp.full((8, 8, 1), 0.5).at[0, 0, 0].add(6e-8)
    np.testing.assert_allclose(augment.auto_contrast(image), 0.5, atol=1e-6)
    np.testing.assert_allclose(augment.equalize(image), 128 / 255, atol=1e-6)
    level = jnp.full((2, 2, 1), 128 / 255) - 3e-8
    np.testing.assert_allclose(augment.posterize(level, 1), 128 / 255, atol=1e-6)
    np.testing.assert_allclose(augment.solarize(level, 128 / 255), 127 / 255, atol=1e-6)


def test_both_ways_of_counting_are_numpys(rng: np.random.Generator) -> None:
    levels = rng.integers(0, 256, (2, 20, 20, 3), np.int32) // np.array([1, 7, 256], np.int32)
    expected = [[np.bincount(image[..., i].ravel(), minlength=256) for i in range(3)] for image in levels]
    for count in (operations._count_by_scatter, operations._count_by_product, operations._histogram):
        np.testing.assert_array_equal(jax.jit(jax.vmap(count))(jnp.asarray(levels)), expected)


def test_bad_arguments_are_named(unhooked: None) -> None:
    image = jnp.zeros((8, 8, 3))
    with pytest.raises(ValueError, match=r"bits must be in \[0, 8\]; got 9"):
        augment.posterize(image, 9)
    with pytest.raises(ValueError, match=r"threshold must be in \[0, 1\]; got 128"):
        augment.solarize(image, 128)
    with pytest.raises(ValueError, match=r"factor must be in \[0, inf\); got -0.5"):
        augment.contrast(image, -0.5)
    for function in (augment.equalize, augment.auto_contrast, augment.invert):
        with pytest.raises(ValueError, match=r"image must have 1 or 3 channels; got shape \(8, 8, 4\)"):
            function(jnp.zeros((8, 8, 4)))
        with pytest.raises(TypeError, match=r"image must be floats, not uint8. Divide 8-bit values by 255"):
            function(jnp.zeros((8, 8, 3), jnp.uint8))
    with pytest.raises(ValueError, match=r"image must have 3 axes"):
        augment.brightness(jnp.zeros((8, 8)), 1.0)
