"""Prototypes and measures of alignment against NumPy written out, SciPy's circular statistics and drawn sprites."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from mollax import image
from mollax.data.sprites import draw_sprite
from mollax.invariance.prototypes import (
    angle_percentiles,
    angle_spread,
    class_spread,
    mean_direction,
    prototypes,
    turn_angle,
)


def test_means_and_spreads_are_those_of_each_class(rng):
    images, labels = rng.random((30, 4, 5, 3)).astype(np.float32), rng.integers(0, 3, 30)
    found = prototypes(images, labels, classes=3)
    spread = class_spread(images, labels, classes=3)
    share = class_spread(jnp.asarray(images), jnp.asarray(labels), classes=3, relative=True)
    assert found.images.dtype == np.float32
    for label in range(3):
        own = images[labels == label].astype(np.float64)
        mean = sum(own) / len(own)
        np.testing.assert_allclose(found.images[label], mean, atol=1e-7)
        assert found.counts[label] == len(own)
        squares = sum(((x - mean) ** 2).sum() for x in own)
        assert spread[label] == pytest.approx(squares / own.size)
        assert share[label] == pytest.approx(squares / (own**2).sum())


def test_spread_falls_with_alignment(rng):
    angles = rng.uniform(-0.8, 0.8, 12)
    turned = np.stack([draw_sprite("sprout", float(a)) for a in angles]).astype(np.float32) / 255
    labels = np.zeros(12, np.int32)
    matrices = [image.affine.rotation(-float(a)) for a in angles]
    aligned = np.stack([image.affine_warp(jnp.asarray(x), m) for x, m in zip(turned, matrices, strict=True)])
    for relative in (False, True):
        before = class_spread(turned, labels, classes=1, relative=relative)
        after = class_spread(aligned, labels, classes=1, relative=relative)
        assert after < 0.25 * before
    upright = draw_sprite("sprout", 0.0).astype(np.float32) / 255
    found = prototypes(aligned, labels, classes=1)
    blurred = prototypes(turned, labels, classes=1)
    assert np.abs(found.images[0] - upright).mean() < 0.4 * np.abs(blurred.images[0] - upright).mean()
    # A pull by rotation(a) turns the content by a, so what is left of the angles is nothing.
    left = angles + turn_angle(jnp.stack(matrices))
    assert angle_spread(left) < 1e-3 < 0.3 < angle_spread(angles)


def test_relative_spread_is_of_shape_not_brightness(rng):
    images, labels = rng.random((8, 3, 3, 1)), np.zeros(8, np.int64)
    dark = 0.1 * images
    assert class_spread(dark, labels, classes=1) < 0.02 * class_spread(images, labels, classes=1)
    np.testing.assert_allclose(
        class_spread(dark, labels, classes=1, relative=True), class_spread(images, labels, classes=1, relative=True)
    )
    same = np.broadcast_to(images[:1], images.shape)
    np.testing.assert_allclose(class_spread(same, labels, classes=1), 0, atol=1e-15)
    assert np.isnan(class_spread(0 * images, labels, classes=1, relative=True)).all()


@pytest.mark.parametrize("period", [2 * np.pi, np.pi])
def test_angle_spread_is_scipys(period, rng):
    for scale in (0.05, 0.6, 3.0):
        angles = rng.normal(1.0, scale, 100)
        assert angle_spread(angles, period=period) == pytest.approx(scipy.stats.circstd(angles, high=period), rel=1e-9)
        # Whole periods make no difference.
        more = angles + period * rng.integers(-3, 4, 100)
        assert angle_spread(more, period=period) == pytest.approx(angle_spread(angles, period=period), rel=1e-6)
    small = rng.normal(0.0, 0.02, 2000)
    assert angle_spread(small, period=period) == pytest.approx(small.std(), rel=1e-3)
    if period < 2 * np.pi:
        assert angle_spread(np.array([0.0, period / 2])) == pytest.approx(np.sqrt(np.log(2)))
    assert angle_spread(np.array([0.0, period / 2]), period=period) == np.inf
    assert angle_spread(np.full(7, 0.3), period=period) == pytest.approx(0, abs=1e-7)


def test_turn_angle_is_of_the_nearest_rotation(rng):
    for matrix in rng.normal(size=(20, 2, 3)):
        u, _, vt = np.linalg.svd(matrix[:, :2])
        nearest = u @ np.diag([1, np.linalg.det(u @ vt)]) @ vt
        assert turn_angle(matrix) == pytest.approx(np.arctan2(nearest[1, 0], nearest[0, 0]))
    angles = np.linspace(-3, 3, 7)
    matrices = jnp.stack([image.affine.rotation(float(a)) for a in angles])
    np.testing.assert_allclose(turn_angle(matrices), angles, atol=1e-6)


def test_bad_arguments_are_named(unhooked, rng):
    images = rng.random((4, 2, 2, 1))
    with pytest.raises(ValueError, match="No image of class 1, 3: it has no prototype"):
        prototypes(images, np.array([0, 2, 2, 0]), classes=4)
    with pytest.raises(ValueError, match="There are no images"):
        prototypes(images[:0], np.zeros(0, np.int32), classes=2)
    with pytest.raises(ValueError, match=r"labels must be in 0..1 for 2 classes; got 2 at row 3"):
        class_spread(images, np.array([0, 1, 1, 2]), classes=2)
    with pytest.raises(ValueError, match="images has 4, labels has 3"):
        class_spread(images, np.zeros(3, np.int32), classes=1)
    with pytest.raises(TypeError, match="labels must be integers"):
        class_spread(images, np.zeros(4), classes=1)
    with pytest.raises(TypeError, match="Divide uint8 images by 255"):
        prototypes(np.zeros((4, 2, 2, 1), np.uint8), np.zeros(4, np.int32), classes=1)
    with pytest.raises(ValueError, match="images must have 4 axes"):
        prototypes(images[..., 0], np.zeros(4, np.int32), classes=1)
    images[2, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"1 of 4 hold NaN or infinity, the first is row 2. After an alignment"):
        prototypes(images, np.zeros(4, np.int32), classes=1)
    with pytest.raises(ValueError, match="no angles"):
        angle_spread(np.zeros(0))
    with pytest.raises(ValueError, match="1 of 2 are not"):
        angle_spread(np.array([0.0, np.inf]))
    with pytest.raises(ValueError, match="period must be in"):
        angle_spread(np.zeros(2), period=0.0)
    with pytest.raises(ValueError, match=r"matrices must be \(..., 2, 3\)"):
        turn_angle(np.eye(3))


def test_percentiles_go_around_the_circle(rng):
    straight = rng.uniform(-30, 30, (2, 4000))
    turned = (straight + 180 + 180) % 360 - 180
    np.testing.assert_allclose(angle_percentiles(straight)[1], 0, atol=2)
    low, _, high = angle_percentiles(turned)
    np.testing.assert_allclose(high - low, 0.98 * 60, atol=2)
    near = np.array([-170.0, 170.0])
    np.testing.assert_allclose(angle_percentiles(turned, near=near)[1], [-180, 180], atol=2)
    np.testing.assert_allclose(angle_percentiles(turned, near=900.0)[1], 900, atol=2)


def test_direction_is_the_circular_mean_and_its_length(rng):
    degrees = rng.normal(170, 40, (3, 500))
    centre, length = mean_direction(degrees, near=np.array([0.0, 180.0, -500.0]))
    radians = np.deg2rad(degrees)
    expected = np.rad2deg(scipy.stats.circmean(radians, axis=1, low=-np.pi, high=np.pi))
    np.testing.assert_allclose(np.exp(1j * np.deg2rad(centre)), np.exp(1j * np.deg2rad(expected)), atol=1e-12)
    np.testing.assert_allclose(1 - length, scipy.stats.circvar(radians, axis=1), atol=1e-12)
    assert (np.abs(centre - [0.0, 180.0, -500.0]) <= 180).all()
    np.testing.assert_allclose(mean_direction(np.array([[0.0, 120.0, 240.0]]))[1], 0, atol=1e-15)
