"""The Gaussian blur against scipy.ndimage.gaussian_filter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from mollax.image.filters import BORDERS, gaussian_blur, gaussian_matrix


@pytest.mark.parametrize("mode", BORDERS)
@pytest.mark.parametrize("sigma, shape", [(0.1, (16, 16, 3)), (0.4, (9, 14, 1)), (1.0, (9, 14, 1)), (2.5, (16, 16, 3))])
def test_equals_scipy(mode: str, sigma: float, shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    image = rng.random(shape, np.float32)
    ours = gaussian_blur(jnp.asarray(image), sigma, mode=mode)
    expected = ndimage.gaussian_filter(image.astype(np.float64), (sigma, sigma, 0), mode=mode)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


@pytest.mark.parametrize("mode", BORDERS)
def test_kernels_wider_than_the_image_equal_scipy(mode: str, rng: np.random.Generator) -> None:
    image = rng.random((5, 3, 2), np.float32)
    ours = gaussian_blur(jnp.asarray(image), 4, mode=mode)
    expected = ndimage.gaussian_filter(image.astype(np.float64), (4, 4, 0), mode=mode)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


@pytest.mark.parametrize("truncate", [1.0, 3, 4.0])
def test_truncate_cuts_where_scipy_cuts(truncate: float, rng: np.random.Generator) -> None:
    image = rng.random((12, 12, 1), np.float32)
    ours = gaussian_blur(jnp.asarray(image), 1.3, truncate=truncate)
    expected = ndimage.gaussian_filter(image.astype(np.float64), (1.3, 1.3, 0), mode="nearest", truncate=truncate)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_matrix_rows_are_averages() -> None:
    for mode in BORDERS:
        matrix = gaussian_matrix(8, 1.5, mode=mode)
        assert matrix.min() >= 0
        if mode == "constant":
            assert matrix.sum(1).max() < 1
        else:
            np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-12)
    # A mirror about pixel edges loses nothing: the columns sum to one as well, and the mean is kept.
    np.testing.assert_allclose(gaussian_matrix(8, 1.5, mode="reflect").sum(0), 1, atol=1e-12)


def test_flat_images_stay_flat_and_the_gradient_is_the_transpose(rng: np.random.Generator) -> None:
    flat = jnp.full((10, 10, 3), 0.3)
    np.testing.assert_allclose(gaussian_blur(flat, 1.0), flat, atol=1e-6)
    image, cotangent = (jnp.asarray(rng.random((6, 7, 1), np.float32)) for _ in range(2))
    _, pull = jax.vjp(lambda x: gaussian_blur(x, 1.0), image)
    down, across = gaussian_matrix(6, 1.0), gaussian_matrix(7, 1.0)
    expected = down.T @ np.asarray(cotangent, np.float64)[..., 0] @ across
    np.testing.assert_allclose(pull(cotangent)[0][..., 0], expected, atol=1e-6)


def test_jit_and_vmap_change_nothing(rng: np.random.Generator) -> None:
    images = jnp.asarray(rng.random((4, 8, 9, 3), np.float32))
    blur = jax.jit(gaussian_blur, static_argnames=("sigma", "truncate", "mode"))
    batch = jax.vmap(lambda x: blur(x, 1.0, mode="wrap"))(images)
    each = jnp.stack([gaussian_blur(x, 1.0, mode="wrap") for x in images])
    np.testing.assert_allclose(batch, each, atol=1e-6)


def test_bad_arguments_are_named(unhooked: None) -> None:
    image = jnp.zeros((4, 4, 3))
    for sigma in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=r"sigma must be in \(0, inf\); got"):
            gaussian_blur(image, sigma)
    with pytest.raises(ValueError, match=r"truncate must be in \(0, inf\); got 0"):
        gaussian_blur(image, 1.0, truncate=0.0)
    with pytest.raises(ValueError, match=r"mode must be one of 'nearest', .*got 'edge'"):
        gaussian_blur(image, 1.0, mode="edge")
    with pytest.raises(ValueError, match=r"image must have 3 axes .*got shape \(2, 4, 4, 3\)"):
        gaussian_blur(jnp.zeros((2, 4, 4, 3)), 1.0)
    with pytest.raises(TypeError, match=r"image must be floats, not int32"):
        gaussian_blur(jnp.zeros((4, 4, 3), jnp.int32), 1.0)
