"""Snow against plain NumPy and SciPy, in distribution, and its parts one by one."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import weather_images
from scipy import ndimage

from mollax.corrupt.snow import snow
from mollax.image import random

LUMA = np.asarray([0.299, 0.587, 0.114])
PLAIN = (0.0, 0.0, 1.0, 0.5, 2, 1.0)  # no flakes


def plain_motion(layer: np.ndarray, radius: int, sigma: float, angle: float) -> np.ndarray:
    """One-sided Gaussian from each pixel along an angle in degrees, the border repeated."""
    height, width = layer.shape
    weights = np.exp(-0.5 * (np.arange(2 * radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    total = np.zeros(layer.shape)
    for i, weight in enumerate(weights):
        down = int(np.ceil(i * np.sin(np.radians(angle)) - 0.5))
        right = int(np.ceil(i * np.cos(np.radians(angle)) - 0.5))
        rows = np.clip(np.arange(height) + down, 0, height - 1)
        columns = np.clip(np.arange(width) + right, 0, width - 1)
        total += weight * layer[np.ix_(rows, columns)]
    return total


def plain_snow(rng: np.random.Generator, image: np.ndarray, *row: float) -> np.ndarray:
    zoom, blend = row[2], row[6]
    height, width, _ = image.shape
    rows, columns = int(np.ceil(height / zoom)), int(np.ceil(width / zoom))
    layer = plain_layer(rng.standard_normal((rows, columns)), rng.uniform(-135, -45), height, width, *row[:6])
    gray = (image @ LUMA)[..., None]
    image = blend * image + (1 - blend) * np.maximum(image, 1.5 * gray + 0.5)
    return image + layer + np.rot90(layer, 2)


def plain_layer(noise: np.ndarray, angle: float, height: int, width: int, *row: float) -> np.ndarray:
    """Flakes from the middle of the noise field, moved, in 8 bits."""
    mean, deviation, zoom, threshold, radius, sigma = row
    field = ndimage.zoom(mean + deviation * noise, zoom, order=1)
    top, left = (field.shape[0] - height) // 2, (field.shape[1] - width) // 2
    field = field[top : top + height, left : left + width]
    field[field < threshold] = 0
    layer = np.uint8(np.clip(field, 0, 1) * 255).astype(float)
    return np.round(plain_motion(layer, int(radius), sigma, angle))[..., None] / 255


@pytest.mark.parametrize("severity", weather_images.SEVERITIES)
def test_cifar_looks_like_the_plain_snow(severity: int, real_data: Path, key: jax.Array) -> None:
    weather_images.compare(snow, plain_snow, real_data, key, side=32, severity=severity, n=240)


@pytest.mark.parametrize("severity", [4])
def test_tiny_imagenet_looks_like_the_plain_snow(severity: int, real_data: Path, key: jax.Array) -> None:
    weather_images.compare(snow, plain_snow, real_data, key, side=64, severity=severity, n=120)


def test_without_flakes_the_image_is_whitened(key: jax.Array, rng: np.random.Generator) -> None:
    image = rng.random((9, 14, 3)).astype(np.float32)
    for x, gray in ((image, (image @ LUMA)[..., None]), (image[..., :1], image[..., :1])):
        draw = jax.jit(lambda x, blend: snow(key, x, *PLAIN, blend), static_argnums=1)
        np.testing.assert_allclose(draw(x, 0.7), 0.7 * x + 0.3 * np.maximum(x, 1.5 * gray + 0.5), atol=1e-6)
        np.testing.assert_allclose(draw(x, 1), x, atol=1e-7)


@pytest.mark.parametrize("height, width, zoom", [(24, 17, 1.75), (8, 40, 1.0)])
def test_the_layer_equals_the_plain_one_of_the_same_draws(height: int, width: int, zoom: float, key: jax.Array) -> None:
    row = (0.6, 0.3, zoom, 0.5, 3, 2.0)
    draw = jax.jit(lambda image: snow(key, image, *row, 1.0))
    ours = np.asarray(draw(jnp.zeros((height, width, 3))))
    np.testing.assert_array_equal(ours, np.broadcast_to(ours[..., :1], ours.shape))
    of_noise, of_angle = jax.random.split(key)
    part = (int(np.ceil(height / zoom)), int(np.ceil(width / zoom)))
    noise = np.asarray(random.normal(of_noise, part), np.float64)
    layer = plain_layer(noise, -45 - 90 * float(random.uniform(of_angle, ())), height, width, *row)
    expected = layer + np.rot90(layer, 2)
    assert expected.max() > 0.3
    # Single precision may fall on the other side of a step of 8 bits, once in a while.
    assert np.mean(np.abs(ours[..., :1] - expected) > 1e-5) < 0.02
    np.testing.assert_allclose(ours[..., :1], expected, atol=2.1 / 255)


def test_flakes_fall_within_45_degrees_of_the_vertical(key: jax.Array) -> None:
    # One threshold that few pixels pass, and a long even streak from each of them.
    row = (0.0, 1.0, 1.0, 3.0, 4, 50.0, 1.0)
    draw = jax.jit(jax.vmap(lambda k: snow(k, jnp.zeros((65, 65, 1)), *row)))
    layers = draw(jax.random.split(key, 300))
    spectrum = np.abs(np.fft.fft2(np.asarray(layers)[..., 0])) ** 2
    # The streaks' own directions: autocorrelation at (8, d) against (d, 8).
    together = np.fft.ifft2(spectrum.mean(0)).real
    vertical = np.mean([together[6, d] for d in range(-5, 6)])
    flat = np.mean([together[d, 6] for d in range(-5, 6)])
    floor = np.mean([together[25, d] for d in range(-5, 6)])
    assert vertical - floor > 5 * abs(flat - floor)


def test_a_batch_equals_single_images(key: jax.Array, rng: np.random.Generator) -> None:
    images, keys = jnp.asarray(rng.random((3, 12, 20, 3)), jnp.float32), jax.random.split(key, 3)
    row = (0.3, 0.3, 1.25, 0.5, 4, 3.0, 0.8)
    draw = jax.jit(lambda k, image: snow(k, image, *row))
    batch = jax.jit(jax.vmap(draw))(keys, images)
    assert batch.dtype == jnp.float32
    for i in range(3):
        single = np.asarray(draw(keys[i], images[i]))
        # Sums in another order may fall on the other side of a step of 8 bits, once in a while.
        assert np.mean(np.abs(batch[i] - single) > 1e-5) < 0.02
        np.testing.assert_allclose(batch[i], single, atol=2.1 / 255)
    assert np.abs(batch[0] - images[0]).max() > 0.1


def test_bad_arguments_are_named(key: jax.Array, unhooked: None) -> None:
    image = jnp.zeros((8, 8, 3))
    good = {"mean": 0.1, "deviation": 0.2, "zoom": 1.0, "threshold": 0.5, "radius": 4, "sigma": 2.0, "blend": 0.9}
    for name, bad, error in (
        ("deviation", -0.1, r"deviation must be in \[0, inf\); got -0.1"),
        ("zoom", 0.5, r"zoom must be in \[1, inf\); got 0.5"),
        ("radius", 0, "radius must be at least 1; got 0"),
        ("sigma", 0, r"sigma must be in \(0, inf\); got 0"),
        ("blend", 1.2, r"blend must be in \[0, 1\]; got 1.2"),
    ):
        with pytest.raises(ValueError, match=error):
            snow(key, image, **(good | {name: bad}))
    with pytest.raises(ValueError, match="image must have 1 or 3 channels"):
        snow(key, image[..., :2], **good)
    with pytest.raises(ValueError, match="image must have 3 axes"):
        snow(key, image[0], **good)
    with pytest.raises(TypeError, match="image must be floats, not uint8"):
        snow(key, image.astype(jnp.uint8), **good)
