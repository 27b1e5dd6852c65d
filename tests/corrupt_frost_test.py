"""Frost: the drawn panes have the statistics of photographs, and an image gets a crop of one of them."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import weather_images
from scipy import ndimage

from mollax.corrupt.frost import TEXTURES, frost, shrink, textures
from mollax.corrupt.severity import constants

LUMA = np.asarray([0.299, 0.587, 0.114])


def crops_equal_to(texture: np.ndarray, panes: np.ndarray) -> list[tuple[int, int, int]]:
    """Every (pane, row, column) at which `texture` (8-bit levels) lies in one of the panes."""
    height, width, _ = texture.shape
    found = []
    for i, pane in enumerate(panes):
        rows, columns = len(pane) - height + 1, len(pane[0]) - width + 1
        first = (pane[:rows, :columns] == texture[0, 0]).all(-1)
        found += [
            (i, int(top), int(left))
            for top, left in np.argwhere(first)
            if (pane[top : top + height, left : left + width] == texture).all()
        ]
    return found


def test_panes_have_the_statistics_of_photographs() -> None:
    panes = textures()
    assert panes.shape == (TEXTURES, 600, 800, 3)
    assert panes.dtype == np.uint8
    for pane in panes / 255:
        gray = pane @ LUMA
        assert 0.44 < gray.mean() < 0.56
        assert 0.17 < gray.std() < 0.23
        # White on dark, neither washed out nor two-valued.
        low, high = np.quantile(gray, [0.02, 0.98])
        assert low < 0.25
        assert high > 0.82
        red, green, blue = pane.mean((0, 1))
        assert red < green < blue


def test_panes_show_crystals_of_several_scales() -> None:
    for pane in shrink(textures(), 0.2) / 255:
        gray = pane @ LUMA
        near, far = (np.corrcoef(gray[:, d:].ravel(), gray[:, :-d].ravel())[0, 1] for d in (1, 20))
        # Neither noise nor a smooth cloud at 32 pixels, and patches of ice of about that size.
        assert 0.6 < near < 0.93
        assert -0.15 < far < 0.5
        # Needles: next to a pixel the picture changes mostly across one direction (white noise: about .35).
        down, right = np.gradient(ndimage.gaussian_filter(gray, 0.7))
        xx, yy, xy = (ndimage.gaussian_filter(v, 1.5) for v in (right**2, down**2, right * down))
        assert np.mean(np.hypot(xx - yy, 2 * xy) / (xx + yy)) > 0.42


def test_panes_differ_and_are_always_the_same() -> None:
    panes = textures()
    for i in range(TEXTURES):
        for j in range(i):
            assert abs(np.corrcoef(panes[i].ravel(), panes[j].ravel())[0, 1]) < 0.3
    textures.cache_clear()
    np.testing.assert_array_equal(textures(), panes)


def test_shrinking_samples_between_pixel_centers(rng: np.random.Generator) -> None:
    panes = rng.integers(0, 256, (2, 50, 40, 3), dtype=np.uint8)
    # A fifth: the centre of every five pixels, as OpenCV's resize does for the photographs of the benchmark.
    np.testing.assert_array_equal(shrink(panes, 0.2), panes[:, 2::5, 2::5])
    np.testing.assert_array_equal(shrink(panes, 1.0), panes)
    ours = shrink(panes, 0.3)
    assert ours.shape == (2, 15, 12, 3)
    grid = np.meshgrid((np.arange(15) + 0.5) / 0.3 - 0.5, (np.arange(12) + 0.5) / 0.3 - 0.5, indexing="ij")
    expected = ndimage.map_coordinates(panes[1, ..., 0].astype(float), grid, order=1, mode="nearest")
    assert np.abs(ours[1, ..., 0] - expected).max() <= 1.01  # rounded once per axis


@pytest.mark.parametrize("side, scale", [(32, 0.2), (64, 0.3)])
def test_adds_a_crop_at_the_published_scale(side: int, scale: float, key: jax.Array, rng: np.random.Generator) -> None:
    images = jnp.asarray(rng.random((40, side, side, 3)), jnp.float32)
    draw = jax.jit(jax.vmap(lambda k, image: frost(k, image, 0.8, 0.5)))
    added = (np.asarray(draw(jax.random.split(key, 40), images), np.float64) - 0.8 * np.asarray(images)) / 0.5 * 255
    np.testing.assert_allclose(added, np.round(added), atol=1e-3)
    panes = shrink(textures(), scale)
    places = [crops_equal_to(np.round(texture), panes) for texture in added]
    assert all(len(place) == 1 for place in places)
    pane, top, left = np.asarray(places)[:, 0].T
    assert set(pane) == set(range(TEXTURES))
    # Crops come from everywhere: about uniform between the two ends.
    for start, room in ((top, panes.shape[1] - side), (left, panes.shape[2] - side)):
        assert start.max() < room
        assert 0.3 < start.mean() / room < 0.7
        assert len(set(start)) > 20


@pytest.mark.parametrize("severity", weather_images.SEVERITIES)
def test_cifar_gets_as_much_frost_as_its_moments_say(severity: int, real_data: Path, key: jax.Array) -> None:
    clean = np.concatenate([weather_images.load(real_data, 32, 40)] * 4)
    row = constants("frost", severity, 32, 32)
    draw = jax.jit(jax.vmap(lambda k, image: frost(k, image, *row)))
    out = np.asarray(draw(jax.random.split(key, len(clean)), jnp.asarray(clean)), np.float64)
    panes = shrink(textures(), 0.2) / 255
    assert abs(out.mean() - row[0] * clean.mean() - row[1] * panes.mean()) < 3 / 255
    independent = np.hypot(row[0] * clean.std(), row[1] * panes.std())
    assert abs(out.std() - independent) < 4 / 255


@pytest.mark.parametrize("height, width", [(8, 8), (8, 300), (700, 20)])
def test_any_size(height: int, width: int, key: jax.Array) -> None:
    image = jnp.full((height, width, 3), 0.25)
    out = np.asarray(jax.jit(lambda image: frost(key, image, 1.0, 0.5))(image)) - 0.25
    assert out.shape == (height, width, 3)
    assert out.min() >= 0
    assert 0.05 < out.std() < 0.2


def test_gray_gets_the_luminance(key: jax.Array) -> None:
    color, gray = (frost(key, jnp.zeros((12, 20, c)), 1.0, 0.5) for c in (3, 1))
    np.testing.assert_allclose(gray[..., 0], np.asarray(color) @ LUMA, atol=1e-6)


def test_a_batch_equals_single_images(key: jax.Array, rng: np.random.Generator) -> None:
    images, keys = jnp.asarray(rng.random((4, 12, 20, 3)), jnp.float32), jax.random.split(key, 4)
    draw = jax.jit(lambda k, image: frost(k, image, 0.9, 0.4))
    batch = jax.jit(jax.vmap(draw))(keys, images)
    for i in range(4):
        np.testing.assert_allclose(batch[i], draw(keys[i], images[i]), atol=1e-6)
    assert batch.dtype == jnp.float32
    np.testing.assert_allclose(frost(key, images[0], 1, 0), images[0])


def test_bad_arguments_are_named(key: jax.Array, unhooked: None) -> None:
    image = jnp.zeros((8, 8, 3))
    with pytest.raises(ValueError, match=r"image must have 1 or 3 channels for frost; got shape \(8, 8, 2\)"):
        frost(key, image[..., :2], 1.0, 0.5)
    with pytest.raises(ValueError, match=r"image_weight must be in \[0, inf\); got -1"):
        frost(key, image, -1.0, 0.5)
    with pytest.raises(ValueError, match=r"frost_weight must be in \[0, inf\); got -0.5"):
        frost(key, image, 1.0, -0.5)
    with pytest.raises(ValueError, match="image must have 3 axes"):
        frost(key, image[0], 1.0, 0.5)
    with pytest.raises(TypeError, match="image must be floats, not uint8"):
        frost(key, image.astype(jnp.uint8), 1.0, 0.5)
