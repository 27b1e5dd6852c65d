"""Fog against a plain diamond-square loop: the map number by number, the images in distribution."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import weather_images

from mollax.corrupt.fog import diamond_square, fog
from mollax.corrupt.severity import constants
from mollax.image import random

compiled = jax.jit(fog, static_argnums=(2, 3))


def plain_map(increments: np.ndarray, decay: float) -> np.ndarray:
    """The definition, point by point, with the published amplitude."""
    n = len(increments)
    heights = np.zeros((n, n))
    wibble, step = 100.0, n
    while step >= 2:
        half = step // 2

        def fill(i: int, j: int, points: list[tuple[int, int]], wibble: float = wibble) -> None:
            mean = sum(heights[a % n, b % n] for a, b in points) / 4
            heights[i % n, j % n] = mean + wibble * (wibble * increments[i % n, j % n])

        for i in range(half, n, step):
            for j in range(half, n, step):
                fill(i, j, [(i + a, j + b) for a in (-half, half) for b in (-half, half)])
        for i in range(0, n, half):
            for j in range((i + half) % step, n, step):
                fill(i, j, [(i - half, j), (i + half, j), (i, j - half), (i, j + half)])
        wibble /= decay
        step = half
    heights -= heights.min()
    return heights / heights.max()


def plain_fog(rng: np.random.Generator, image: np.ndarray, strength: float, decay: float) -> np.ndarray:
    height, width, _ = image.shape
    side = 2 ** int(np.ceil(np.log2(max(height, width))))
    heights = plain_map(rng.uniform(-1, 1, (side, side)), decay)[:height, :width, None]
    return (image + strength * heights) * image.max() / (image.max() + strength)


@pytest.mark.parametrize("side, decay", [(2, 3.0), (8, 1), (32, 1.75)])
def test_the_map_equals_a_plain_loop(side: int, decay: float, rng: np.random.Generator) -> None:
    increments = rng.uniform(-1, 1, (side, side)).astype(np.float32)
    increments[0, 0] = 9  # not used: the first corner has height 0
    ours = np.asarray(jax.jit(diamond_square, static_argnums=1)(jnp.asarray(increments), decay))
    np.testing.assert_allclose(ours, plain_map(increments, decay), atol=2e-6)
    assert ours.min() == 0
    assert ours.max() == 1


@pytest.mark.parametrize("severity", weather_images.SEVERITIES)
def test_cifar_looks_like_the_plain_fog(severity: int, real_data: Path, key: jax.Array) -> None:
    clean = np.concatenate([weather_images.load(real_data, 32, 40)] * 2)
    row = constants("fog", severity, 32, 32)
    rng = np.random.default_rng(severity)
    reference = np.stack([plain_fog(rng, image, *row) for image in clean])
    draw = jax.jit(jax.vmap(lambda k, image: fog(k, image, *row)))
    ours = draw(jax.random.split(key, len(clean)), jnp.asarray(clean))
    weather_images.assert_alike(np.asarray(ours), reference, clean)


@pytest.mark.slow
def test_tiny_imagenet_looks_like_the_plain_fog(real_data: Path, key: jax.Array) -> None:
    clean = np.concatenate([weather_images.load(real_data, 64, 20)] * 3)
    row = constants("fog", 3, 64, 64)
    rng = np.random.default_rng(64)
    reference = np.stack([plain_fog(rng, image, *row) for image in clean])
    draw = jax.jit(jax.vmap(lambda k, image: fog(k, image, *row)))
    ours = draw(jax.random.split(key, len(clean)), jnp.asarray(clean))
    weather_images.assert_alike(np.asarray(ours), reference, clean)


@pytest.mark.parametrize("height, width, channels", [(9, 40, 3), (33, 16, 1)])
def test_any_shape_adds_one_map_to_every_channel(
    height: int, width: int, channels: int, key: jax.Array, rng: np.random.Generator
) -> None:
    image = jnp.asarray(rng.random((height, width, channels)), jnp.float32)
    out = np.asarray(compiled(key, image, 0.75, 2.5), np.float64)
    brightest = float(image.max())
    added = out * (brightest + 0.75) / brightest - np.asarray(image)
    np.testing.assert_allclose(added, np.broadcast_to(added[..., :1], added.shape), atol=1e-5)
    side = 1 << (max(height, width) - 1).bit_length()
    draws = 2 * np.asarray(random.uniform(key, (side, side)), np.float64) - 1
    np.testing.assert_allclose(added[..., 0], 0.75 * plain_map(draws, 2.5)[:height, :width], atol=1e-5)
    assert out.min() >= 0
    assert out.max() <= brightest * (1 + 1e-6)


def test_strength_zero_and_black_images_stay(key: jax.Array, rng: np.random.Generator) -> None:
    image = rng.random((8, 8, 1)).astype(np.float32)
    for strength, x in ((0, image), (0, 0 * image), (1.5, 0 * image)):
        # A black image has maximum 0, and x max / (max + c) is black whatever the map.
        np.testing.assert_allclose(compiled(key, x, strength, 2.0), x, atol=1e-6)


def test_a_batch_equals_single_images(key: jax.Array, rng: np.random.Generator) -> None:
    images, keys = jnp.asarray(rng.random((3, 12, 20, 3)), jnp.float32), jax.random.split(key, 3)
    batch = jax.jit(jax.vmap(lambda k, image: fog(k, image, 1.0, 2.0)))(keys, images)
    for i in range(3):
        np.testing.assert_allclose(batch[i], compiled(keys[i], images[i], 1.0, 2.0), atol=1e-6)
    assert batch.dtype == jnp.float32
    assert np.abs(batch[0] - batch[1]).max() > 0.05


def test_bad_arguments_are_named(key: jax.Array, unhooked: None) -> None:
    image = jnp.zeros((8, 8, 3))
    with pytest.raises(ValueError, match=r"strength must be in \[0, inf\); got -1"):
        fog(key, image, -1, 2.0)
    with pytest.raises(ValueError, match=r"decay must be in \(0, inf\); got 0"):
        fog(key, image, 1.0, 0)
    with pytest.raises(ValueError, match="image must have 3 axes"):
        fog(key, image[0], 1.0, 2.0)
    with pytest.raises(TypeError, match="image must be floats, not uint8"):
        fog(key, image.astype(jnp.uint8), 1.0, 2.0)
    for shape in ((8, 4), (12, 12), (1, 1)):
        with pytest.raises(ValueError, match="increments must be square, its side a power of two"):
            diamond_square(jnp.zeros(shape), 2.0)
