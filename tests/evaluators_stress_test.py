"""Stresses against SciPy and NumPy on real digits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import tiny

from mollax import evaluators, mollify

IMAGE = tiny.digits(1)[0][0].astype(np.float32) / 255


def stressed(name, key=None):
    function = evaluators.create_stress(name, mean=tiny.MEAN, std=tiny.STD)
    return np.asarray(function(jax.random.key(0) if key is None else key, jnp.asarray(IMAGE)))


def standardized(image):
    return (image - 0.3) / 0.38


def test_clean_is_standardized_only():
    np.testing.assert_allclose(stressed("clean"), standardized(IMAGE), rtol=1e-5, atol=1e-5)


def test_gaussian_blur_is_scipys_on_the_8_bit_grid():
    blurred = scipy.ndimage.gaussian_filter(IMAGE.astype(np.float64), (1, 1, 0), mode="nearest", truncate=4.0)
    expected = np.round(blurred * 255) / 255
    assert np.abs(stressed("gaussian_blur:1") - standardized(expected)).max() < 1.01 / 255 / 0.38
    assert np.abs(stressed("gaussian_blur:1") - standardized(blurred)).max() < 0.51 / 255 / 0.38 + 1e-4


def test_contrast_shrinks_towards_the_channel_mean():
    expected = np.round(((IMAGE - IMAGE.mean()) * 0.3 + IMAGE.mean()) * 255) / 255
    np.testing.assert_allclose(stressed("contrast:0.3"), standardized(expected), atol=1.01 / 255 / 0.38)


def test_gaussian_noise_is_clipped_on_the_8_bit_grid_and_has_its_deviation():
    draws = np.stack([stressed("gaussian_noise:0.1", jax.random.key(i)) for i in range(40)]) * 0.38 + 0.3
    levels = draws * 255
    np.testing.assert_allclose(levels, np.round(levels), atol=2e-3)
    assert draws.min() >= -1e-6
    assert draws.max() <= 1 + 1e-6
    inner = (IMAGE > 0.4) & (IMAGE < 0.6)
    assert (draws - IMAGE)[:, inner].std() == pytest.approx(0.1, rel=0.1)


def test_training_stresses_are_the_mollifier(key):
    clean = jnp.asarray(standardized(IMAGE))
    np.testing.assert_allclose(stressed("noise:0.3", key), mollify.noise(key, clean, jnp.float32(0.3)), atol=1e-4)
    scale = 0.3**0.7 * 8**0.3
    np.testing.assert_allclose(stressed("blur:0.3"), mollify.blur(clean, jnp.float32(scale)), atol=1e-4)


@pytest.mark.parametrize(
    "name, message",
    [
        ("blurr:1", "Did you mean 'blur'"),
        ("noise", 'written "kind:level", such as "noise:0.3"; got \'noise\''),
        ("noise:lots", 'written "kind:level"'),
        ("noise:1.5", r"level of 'noise:1.5' must be in \[0, 1\]; got 1.5"),
        ("contrast:-1", r"must be in \[0, inf\)"),
    ],
)
def test_bad_names(name, message):
    with pytest.raises(ValueError, match=message):
        evaluators.parse(name)


def test_every_kind_is_described():
    for kind in evaluators.KINDS:
        assert evaluators.describe(f"{kind}:0.5")
    assert evaluators.describe("clean") == "test images as they are"
