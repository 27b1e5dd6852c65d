"""Affine matrices against homogeneous NumPy products, PIL's rotation and hand-moved points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mollax.image import affine
from mollax.image.warp import affine_warp

warp = jax.jit(affine_warp)


def homogeneous(matrix: jax.Array) -> np.ndarray:
    return np.vstack([np.asarray(matrix, np.float64), [0, 0, 1]])


def random_matrix(seed: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=(2, 3)), jnp.float32)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_compose_is_the_homogeneous_product(seed: int) -> None:
    first, then = random_matrix(seed), random_matrix(seed + 1)
    expected = homogeneous(first) @ homogeneous(then)
    np.testing.assert_allclose(homogeneous(affine.compose(first, then)), expected, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_invert_is_the_homogeneous_inverse(seed: int) -> None:
    matrix = random_matrix(seed) + 3 * affine.identity()
    expected = np.linalg.inv(homogeneous(matrix))
    np.testing.assert_allclose(homogeneous(affine.invert(matrix)), expected, rtol=1e-3, atol=1e-4)
    back = affine.compose(matrix, affine.invert(matrix))
    np.testing.assert_allclose(back, affine.identity(), atol=1e-4)


def test_compose_warps_in_the_order_named(rng: np.random.Generator) -> None:
    image = np.zeros((9, 9, 1), np.float32)
    image[3:6, 3:6] = rng.random((3, 3, 1))
    # One pixel left, then a quarter turn: whole positions, so that two warps equal one.
    shift, turn = affine.translation(2 / 8, 0.0), affine.rotation(np.pi / 2)
    twice = warp(warp(jnp.asarray(image), shift), turn)
    once = warp(jnp.asarray(image), affine.compose(shift, turn))
    np.testing.assert_allclose(once, twice, atol=1e-5)
    assert np.abs(np.asarray(once) - np.rot90(np.roll(image, -1, axis=1))).max() < 1e-5
    other = warp(jnp.asarray(image), affine.compose(turn, shift))
    assert np.abs(np.asarray(once - other)).max() > 0.1


@pytest.mark.parametrize("shape", [(21, 21), (16, 25), (25, 16)])
@pytest.mark.parametrize("degrees", [20.0, -75.0])
def test_rotation_turns_as_pil_does(shape: tuple[int, int], degrees: float, rng: np.random.Generator) -> None:
    height, width = shape
    image = np.zeros(shape, np.float32)
    image[4:-4, 4:-4] = rng.random((height - 8, width - 8))
    matrix = affine.rotation(np.deg2rad(degrees), aspect=affine.pixel_aspect(height, width))
    ours = np.asarray(warp(jnp.asarray(image)[..., None], matrix))[..., 0]
    pil = np.asarray(Image.fromarray(image).rotate(degrees, resample=Image.Resampling.BILINEAR))
    # The outermost ring: PIL does not blend with black there.
    np.testing.assert_allclose(ours[1:-1, 1:-1], pil[1:-1, 1:-1], atol=2e-4)


def test_rotation_of_a_non_square_image_is_rigid_in_pixels() -> None:
    height, width = 5, 9
    matrix = np.asarray(affine.rotation(0.7, aspect=affine.pixel_aspect(height, width)))
    # One pixel to the right of the centre, in units: it must be read one pixel away, turned clockwise.
    in_pixels = matrix[:, :2] @ [2 / (width - 1), 0] * [(width - 1) / 2, (height - 1) / 2]
    np.testing.assert_allclose(in_pixels, [np.cos(0.7), np.sin(0.7)], atol=1e-6)


def test_rotation_is_the_exponential_of_its_generator() -> None:
    from scipy.linalg import expm

    matrix = affine.rotation(0.4)
    np.testing.assert_allclose(matrix[:, :2], expm(0.4 * np.array([[0.0, -1.0], [1.0, 0.0]])), atol=1e-6)
    np.testing.assert_array_equal(matrix[:, 2], [0, 0])


def test_translation_reads_to_the_right_and_below(rng: np.random.Generator) -> None:
    image = rng.random((6, 8, 2), np.float32)
    moved = np.asarray(warp(jnp.asarray(image), affine.translation(2 * 2 / 7, 2 * 1 / 5)))
    expected = np.zeros_like(image)
    expected[:-1, :-2] = image[1:, 2:]
    np.testing.assert_allclose(moved, expected, atol=1e-6)


def test_scaling_by_two_reads_every_second_pixel(rng: np.random.Generator) -> None:
    image = rng.random((9, 9, 1), np.float32)
    small = np.asarray(warp(jnp.asarray(image), affine.scaling(2.0)))
    np.testing.assert_allclose(small[2:7, 2:7], image[::2, ::2], atol=1e-6)
    assert small[:2].max() == 0
    assert small[:, 7:].max() == 0
    np.testing.assert_array_equal(affine.scaling(2.0, y=3), [[2, 0, 0], [0, 3, 0]])


def test_from_pixels_sends_pixels_where_the_pixel_matrix_says(rng: np.random.Generator) -> None:
    height, width = 7, 12
    pixels = np.array([[0.9, -0.2, 1.5], [0.1, 1.1, -2.0]])
    matrix = np.asarray(affine.from_pixels(jnp.asarray(pixels, jnp.float32), height, width))
    half = np.array([(width - 1) / 2, (height - 1) / 2])
    for point in rng.random((5, 2)) * [width, height]:
        read = (matrix @ [*(point / half - 1), 1] + 1) * half
        np.testing.assert_allclose(read, pixels @ [*point, 1], atol=1e-4)


def test_matrices_are_differentiable_and_batch() -> None:
    gradient = jax.grad(lambda angle: jnp.sum(affine.rotation(angle, aspect=2.0) * jnp.arange(6.0).reshape(2, 3)))
    # d/da of 0 cos - 1 sin/2 + 3 * 2 sin + 4 cos at 0.3.
    expected = -0.5 * np.cos(0.3) + 6 * np.cos(0.3) - 4 * np.sin(0.3)
    np.testing.assert_allclose(gradient(0.3), expected, rtol=1e-5)
    angles = jnp.linspace(-1, 1, 5)
    batch = jax.jit(jax.vmap(lambda a: affine.invert(affine.rotation(a))))(angles)
    np.testing.assert_allclose(batch, jax.vmap(affine.rotation)(-angles), atol=1e-6)


def test_sides_of_one_pixel_have_no_aspect() -> None:
    with pytest.raises(ValueError, match="width must be at least 2; got 1"):
        affine.pixel_aspect(4, 1)
    with pytest.raises(ValueError, match="height must be at least 2; got 1"):
        affine.from_pixels(affine.identity(), 1, 4)
