"""Spatter against plain NumPy: every integer operator exactly, the images in distribution."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import weather_images
from scipy import ndimage

from mollax.corrupt.spatter import distances, edges, equalize, spatter, water_mask

LUMA = np.asarray([0.299, 0.587, 0.114])
WATER = np.asarray([175, 238, 238]) / 255
MUD = np.asarray([63, 42, 20]) / 255


# Compiled once for all pictures of a size.
find_edges, measure, shade = (jax.jit(jax.vmap(operator)) for operator in (edges, distances, water_mask))


def plain_edges(levels: np.ndarray) -> np.ndarray:
    """Canny pixel by pixel; links by connected components."""
    levels = levels.astype(int)
    smooth, difference = np.asarray([1, 2, 1]), np.asarray([-1, 0, 1])
    dx = ndimage.correlate(levels, np.outer(smooth, difference), mode="nearest")
    dy = ndimage.correlate(levels, np.outer(difference, smooth), mode="nearest")
    strength = np.pad(np.abs(dx) + np.abs(dy), 1)
    peaks = np.zeros(levels.shape, bool)
    for i, j in np.argwhere(strength[1:-1, 1:-1] > 50):
        here, x, y = strength[i + 1, j + 1], dx[i, j], dy[i, j]
        angle = np.degrees(np.arctan2(abs(y), abs(x)))
        if angle < 22.5:
            before, after = strength[i + 1, j], strength[i + 1, j + 2]
            peaks[i, j] = here > before and here >= after
        elif angle > 67.5:
            before, after = strength[i, j + 1], strength[i + 2, j + 1]
            peaks[i, j] = here > before and here >= after
        else:
            side = 1 if x * y > 0 else -1
            before, after = strength[i, j + 1 - side], strength[i + 2, j + 1 + side]
            peaks[i, j] = here > before and here > after
    parts, _ = ndimage.label(peaks, np.ones((3, 3)))
    kept = np.unique(parts[peaks & (strength[1:-1, 1:-1] > 150)])
    return np.isin(parts, kept) & peaks


def plain_distances(edge: np.ndarray) -> np.ndarray:
    """To every edge pixel in closed form: knight's moves, then straight or diagonal steps; the least counts."""
    straight, diagonal, knight = 65536, round(1.4 * 65536), round(2.1969 * 65536)
    if not edge.any():
        return np.full(edge.shape, 2**28)
    rows, columns = np.nonzero(edge)
    down = np.abs(np.arange(edge.shape[0])[:, None, None] - rows)
    right = np.abs(np.arange(edge.shape[1])[None, :, None] - columns)
    long, short = np.maximum(down, right), np.minimum(down, right)
    flat = (long - 2 * short) * straight + short * knight
    steep = (long - short) * knight + (2 * short - long) * diagonal
    return np.where(long >= 2 * short, flat, steep).min(-1)


def plain_equalize(levels: np.ndarray) -> np.ndarray:
    counts = np.bincount(levels.ravel(), minlength=256)
    least = counts[levels.min()]
    if least == levels.size:
        return levels
    table = np.round(np.float32(255 / (levels.size - least)) * (np.cumsum(counts) - least))
    return table.astype(int)[levels]


def plain_water_mask(levels: np.ndarray) -> np.ndarray:
    distance = np.minimum(plain_distances(plain_edges(levels)), 20 * 65536)
    box = np.ones((3, 3), int)
    shade = plain_equalize(ndimage.correlate(distance, box, mode="mirror") // (9 * 65536))
    emboss = np.asarray([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    shade = np.clip(ndimage.correlate(shade, emboss, mode="mirror"), 0, 255)
    mask = levels * np.round(ndimage.correlate(shade, box, mode="mirror") / 9)
    return mask / max(mask.max(), 1)


def plain_spatter(rng: np.random.Generator, image: np.ndarray, *row: float) -> np.ndarray:
    mean, deviation, blur, threshold, strength, mud = row
    liquid = ndimage.gaussian_filter(rng.normal(mean, deviation, image.shape[:2]), blur, mode="nearest")
    liquid[liquid < threshold] = 0
    if mud:
        mask = ndimage.gaussian_filter((liquid > threshold).astype(float), strength, mode="nearest")
        mask[mask < 0.8] = 0
        return image * (1 - mask[..., None]) + mask[..., None] * MUD
    return image + strength * plain_water_mask((liquid * 255).astype(np.uint8))[..., None] * WATER


def drops(rng: np.random.Generator, shape: tuple[int, int], threshold: float, spread: float = 0.1) -> np.ndarray:
    """8-bit levels like those of the water branch."""
    liquid = ndimage.gaussian_filter(rng.normal(0.65, spread, shape), 0.8)
    return np.floor(255 * np.clip(np.where(liquid < threshold, 0, liquid), 0, 1)).astype(np.int32)


@pytest.mark.parametrize("threshold, spread", [(0.7, 0.1), (0.3, 0.6)])
def test_every_operator_equals_the_plain_one(threshold: float, spread: float, rng: np.random.Generator) -> None:
    shape = (32, 45)
    pictures = np.stack([drops(rng, shape, threshold, spread) for _ in range(8)])
    found = find_edges(jnp.asarray(pictures))
    far = measure(found)
    masks = shade(jnp.asarray(pictures))
    for picture, edge, distance, mask in zip(pictures, np.asarray(found), np.asarray(far), masks, strict=True):
        np.testing.assert_array_equal(edge, plain_edges(picture))
        assert 0.005 < edge.mean() < 0.6
        np.testing.assert_array_equal(distance, plain_distances(edge))
        np.testing.assert_allclose(mask, plain_water_mask(picture), atol=1e-6)


def test_edges_follow_weak_links_to_any_length() -> None:
    # A ridge that fades slowly from above the higher threshold to between the two.
    ramp = np.zeros((9, 60), np.int32)
    ramp[:4] = np.linspace(60, 14, 60).astype(np.int32)
    found = np.asarray(find_edges(jnp.asarray(ramp[None]))[0])
    np.testing.assert_array_equal(found, plain_edges(ramp))
    assert found[:, 55].any()
    # Without the strong end nothing is left.
    assert not np.asarray(find_edges(jnp.asarray(ramp[None, :, 30:]))).any()


def test_distances_of_one_pixel_by_hand() -> None:
    edge = np.zeros((8, 9), bool)
    edge[2, 3] = True
    ours = np.asarray(measure(jnp.asarray(edge[None])))[0] / 65536
    expected = {(2, 3): 0, (2, 8): 5, (7, 3): 5, (3, 4): 1.4, (4, 4): 2.1969, (3, 1): 2.1969, (5, 7): 2.1969 + 2.8}
    for place, value in expected.items():
        assert ours[place] == pytest.approx(value, abs=1e-4), place
    assert measure(jnp.zeros((1, 8, 9), bool)).min() >= 20 * 65536


def test_equalization_equals_the_plain_one(rng: np.random.Generator) -> None:
    flatten = jax.jit(lambda levels: equalize(levels, 21))
    for low, high in ((0, 21), (3, 9), (7, 9)):
        levels = rng.integers(low, high, (13, 10))
        ours = flatten(jnp.asarray(levels, jnp.int32))
        np.testing.assert_array_equal(ours, plain_equalize(levels))
        assert ours.max() == 255
        assert ours.min() == 0
    flat = jnp.full((13, 10), 20, jnp.int32)
    np.testing.assert_array_equal(flatten(flat), flat)


@pytest.mark.parametrize("severity", weather_images.SEVERITIES)
def test_cifar_looks_like_the_plain_spatter(severity: int, real_data: Path, key: jax.Array) -> None:
    weather_images.compare(spatter, plain_spatter, real_data, key, side=32, severity=severity, n=80)


@pytest.mark.parametrize("severity", [pytest.param(2, marks=pytest.mark.slow), 5])
def test_tiny_imagenet_looks_like_the_plain_spatter(severity: int, real_data: Path, key: jax.Array) -> None:
    weather_images.compare(spatter, plain_spatter, real_data, key, side=64, severity=severity, n=40)


def test_drops_have_their_color(key: jax.Array) -> None:
    for row, color in (((0.65, 0.3, 1.0, 0.69, 0.5, 0), WATER), ((0.65, 0.3, 1.0, 0.65, 0.6, 1), MUD)):
        draw = jax.jit(lambda image, row: spatter(key, image, *row), static_argnums=1)
        out = np.asarray(draw(jnp.zeros((20, 26, 3)), row), np.float64)
        mask = out / color
        np.testing.assert_allclose(mask, np.broadcast_to(mask[..., :1], mask.shape), atol=1e-5)
        assert (mask == 0).any()
        assert mask.max() == pytest.approx(1.0 if row[-1] else 0.5, abs=1e-4)
        gray = draw(jnp.zeros((20, 26, 1)), row)
        np.testing.assert_allclose(gray, mask[..., :1] * (color @ LUMA), atol=1e-5)
    assert mask[mask > 0].min() >= 0.8 - 1e-5


@pytest.mark.parametrize("mud", [0, 1])
def test_a_dry_image_stays(mud: int, key: jax.Array, rng: np.random.Generator) -> None:
    image = jnp.asarray(rng.random((8, 12, 3)), jnp.float32)
    out = jax.jit(lambda image: spatter(key, image, 0.5, 0.1, 1.0, 0.9, 0.5, mud))(image)
    np.testing.assert_array_equal(out, image)


def test_a_batch_equals_single_images(key: jax.Array, rng: np.random.Generator) -> None:
    images, keys = jnp.asarray(rng.random((3, 12, 20, 3)), jnp.float32), jax.random.split(key, 3)
    row = (0.65, 0.3, 1.0, 0.67, 0.6, 0)
    draw = jax.jit(lambda k, image: spatter(k, image, *row))
    batch = jax.jit(jax.vmap(draw))(keys, images)
    assert batch.dtype == jnp.float32
    for i in range(3):
        np.testing.assert_allclose(batch[i], draw(keys[i], images[i]), atol=1e-5)
    assert np.abs(batch[0] - images[0]).max() > 0.1


def test_bad_arguments_are_named(key: jax.Array, unhooked: None) -> None:
    image = jnp.zeros((8, 8, 3))
    row = (0.65, 0.1, 0.7, 0.69, 0.6)
    with pytest.raises(ValueError, match=r"image must have 1 or 3 channels for spatter; got shape \(8, 8, 2\)"):
        spatter(key, image[..., :2], *row, 0)
    with pytest.raises(ValueError, match=r"mud must be 0 \(water\) or 1 \(mud\); got 2"):
        spatter(key, image, *row, 2)
    with pytest.raises(ValueError, match="deviation must be in"):
        spatter(key, image, 0.65, -0.1, 0.7, 0.69, 0.6, 0)
    with pytest.raises(ValueError, match=r"sigma must be in \(0, inf\); got 0"):
        spatter(key, image, 0.65, 0.1, 0, 0.69, 0.6, 0)
    with pytest.raises(ValueError, match=r"strength must be in \(0, inf\); got 0"):
        spatter(key, image, 0.65, 0.1, 0.7, 0.69, 0, 1)
    with pytest.raises(ValueError, match="image must have 3 axes"):
        spatter(key, image[0], *row, 0)
    with pytest.raises(TypeError, match="image must be floats, not uint8"):
        spatter(key, image.astype(jnp.uint8), *row, 0)
