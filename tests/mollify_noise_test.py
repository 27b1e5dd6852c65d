"""Noise mollification: its ends, its moments, its keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mollax.image import random
from mollax.mollify import noise

SHAPE = (100, 100, 3)


@pytest.fixture
def image(rng: np.random.Generator) -> jax.Array:
    """A standardized image that is far from normal: a fair coin per pixel."""
    return jnp.asarray(rng.choice([-1.0, 1.0], SHAPE), jnp.float32)


@pytest.mark.parametrize("generator", random.GENERATORS)
def test_temperature_zero_is_the_image_exactly(generator: str, key: jax.Array, image: jax.Array) -> None:
    np.testing.assert_array_equal(noise(key, image, jnp.float32(0.0), generator=generator), image)


@pytest.mark.parametrize("generator", random.GENERATORS)
def test_temperature_one_is_standard_normal(generator: str, key: jax.Array, image: jax.Array) -> None:
    x = np.asarray(noise(key, image, jnp.float32(1.0), generator=generator), np.float64).ravel()
    error = 1 / np.sqrt(x.size)
    assert abs(x.mean()) < 4 * error
    assert abs(x.var() - 1) < 4 * np.sqrt(2) * error
    assert stats.kstest(x, "norm").pvalue > 1e-3


@pytest.mark.parametrize("t", [0.1, 0.4, 0.75])
def test_equals_eq_4_on_the_same_normals(t: float, key: jax.Array, image: jax.Array) -> None:
    epsilon = np.asarray(random.normal(key, SHAPE), np.float64)
    expected = np.cos(np.pi * t / 2) * np.asarray(image) + np.sin(np.pi * t / 2) * epsilon
    np.testing.assert_allclose(noise(key, image, jnp.float32(t)), expected, atol=2e-6)
    np.testing.assert_allclose(noise(key, image, t), expected, atol=2e-6)


@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_standardized_input_keeps_unit_variance(t: float, key: jax.Array, image: jax.Array) -> None:
    x = np.asarray(noise(key, image, jnp.float32(t)), np.float64)
    assert abs(x.var() - 1) < 4 * np.sqrt(2 / x.size)
    share = np.mean(x * np.asarray(image))
    assert abs(share - np.cos(np.pi * t / 2)) < 4 / np.sqrt(x.size)


def test_keys_decide(key: jax.Array, image: jax.Array) -> None:
    t = jnp.float32(0.5)
    np.testing.assert_array_equal(noise(key, image, t), noise(key, image, t))
    other = noise(jax.random.fold_in(key, 1), image, t)
    assert np.mean(np.asarray(other) == np.asarray(noise(key, image, t))) < 1e-3


def test_threefry_is_jax_random_normal(key: jax.Array, image: jax.Array) -> None:
    ours = noise(key, image, jnp.float32(1.0), generator="threefry")
    np.testing.assert_allclose(ours, jax.random.normal(key, SHAPE), atol=1e-6)


def test_jit_and_vmap(key: jax.Array, image: jax.Array) -> None:
    keys, t = jax.random.split(key, 3), jnp.array([0.0, 0.5, 1.0])
    images = jnp.stack([image, -image, image])[:, :8, :8]
    batch = jax.jit(jax.vmap(noise))(keys, images, t)
    for i in range(3):
        np.testing.assert_allclose(batch[i], noise(keys[i], images[i], t[i]), atol=1e-6)


def test_gradient_by_the_image_is_the_signal_amplitude(key: jax.Array, image: jax.Array) -> None:
    gradient = jax.grad(lambda x: noise(key, x, jnp.float32(0.3)).sum())(image)
    np.testing.assert_allclose(gradient, np.full(SHAPE, np.cos(0.15 * np.pi)), rtol=1e-6)
    assert np.isfinite(jax.grad(lambda t: noise(key, image, t).sum())(jnp.float32(0.0)))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_keeps_the_dtype_of_the_image(dtype: str, key: jax.Array) -> None:
    with jax.enable_x64(dtype == "float64"):
        image = jnp.ones((4, 4, 1), dtype)
        assert noise(key, image, jnp.float32(0.5)).dtype == dtype


@pytest.mark.usefixtures("unhooked")
def test_bad_input_is_refused(key: jax.Array) -> None:
    t = jnp.float32(0.5)
    with pytest.raises(ValueError, match=r"image must have 3 axes .*got shape \(2, 4, 4, 3\)"):
        noise(key, jnp.zeros((2, 4, 4, 3)), t)
    with pytest.raises(TypeError, match=r"image must hold floating-point numbers; got uint8. Divide 8-bit images"):
        noise(key, jnp.zeros((4, 4, 3), jnp.uint8), t)
    with pytest.raises(ValueError, match=r"generator must be one of 'hash', 'threefry'; got 'hsh'"):
        noise(key, jnp.zeros((4, 4, 3)), t, generator="hsh")
