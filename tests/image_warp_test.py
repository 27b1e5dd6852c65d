"""The warp against PyTorch's grid_sample (values, gradients) and SciPy's map_coordinates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from mollax.image import affine
from mollax.image.warp import METHODS, PADDINGS, affine_warp, sample

SHAPES = [(6, 11, 1), (12, 5, 3)]
warp = jax.jit(affine_warp, static_argnames=("padding", "method"))
# Names of the same surroundings elsewhere.
TORCH = {"zeros": "zeros", "border": "border", "reflect": "reflection"}
SCIPY = {"zeros": "grid-constant", "border": "nearest", "reflect": "mirror"}


def some_matrix(rng: np.random.Generator, spread: float = 0.3) -> np.ndarray:
    return (np.eye(2, 3) + spread * rng.normal(size=(2, 3))).astype(np.float32)


def torch_warp(
    image: np.ndarray, matrix: np.ndarray, padding: str, method: str, cotangent: np.ndarray
) -> tuple[np.ndarray, ...]:
    """PyTorch's warp of one image: value, gradient to the image, gradient to the matrix."""
    torch = pytest.importorskip("torch")
    x = torch.tensor(image.transpose(2, 0, 1)[None], requires_grad=True)
    m = torch.tensor(matrix[None], requires_grad=True)
    grid = torch.nn.functional.affine_grid(m, list(x.shape), align_corners=True)
    y = torch.nn.functional.grid_sample(x, grid, mode=method, padding_mode=padding, align_corners=True)
    y.backward(torch.tensor(cotangent.transpose(2, 0, 1)[None].copy()))
    value = y.detach().numpy()[0].transpose(1, 2, 0)
    return value, x.grad.numpy()[0].transpose(1, 2, 0), m.grad.numpy()[0]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("padding", TORCH)
@pytest.mark.parametrize("method", METHODS)
def test_values_and_gradients_are_those_of_torch(
    shape: tuple[int, int, int], padding: str, method: str, rng: np.random.Generator
) -> None:
    @jax.jit
    def warp_and_gradients(x: jax.Array, m: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, ...]:
        value, pull = jax.vjp(lambda x, m: affine_warp(x, m, padding=padding, method=method), x, m)
        return value, *pull(cotangent)

    for spread in (0.05, 0.5, 3.0):
        image, cotangent = rng.random(shape, np.float32), rng.normal(size=shape).astype(np.float32)
        matrix = some_matrix(rng, spread)
        value, to_image, to_matrix = torch_warp(image, matrix, TORCH[padding], method, cotangent)
        ours, our_image, our_matrix = warp_and_gradients(image, matrix, cotangent)
        # Positions reach some 10 x spread pixels; their rounding, ours and PyTorch's, grows with them.
        atol = 1e-5 * max(1, spread)
        np.testing.assert_allclose(ours, value, atol=atol)
        np.testing.assert_allclose(our_image, to_image, atol=atol)
        # A sum over all pixels: held relative to its size.
        np.testing.assert_allclose(our_matrix, to_matrix, rtol=1e-5, atol=1e-5 * max(1, np.abs(to_matrix).max()))


@pytest.mark.parametrize("offset", [(0.0, 0.0), (2 / 8, 0.0), (0.0, -4 / 8)])
def test_gradients_at_whole_positions_are_those_of_torch(offset: tuple[float, float], rng: np.random.Generator) -> None:
    # A flow starts near the identity, a crop sits on whole pixels: the kink is where training begins.
    image, cotangent = rng.random((9, 9, 2), np.float32), rng.normal(size=(9, 9, 2)).astype(np.float32)
    matrix = np.asarray(affine.translation(*offset))
    _, to_image, to_matrix = torch_warp(image, matrix, "zeros", "bilinear", cotangent)
    gradients = jax.jit(jax.grad(lambda x, m: jnp.sum(affine_warp(x, m) * cotangent), argnums=(0, 1)))
    our_image, our_matrix = gradients(image, matrix)
    np.testing.assert_allclose(our_image, to_image, atol=1e-5)
    np.testing.assert_allclose(our_matrix, to_matrix, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("padding", SCIPY)
@pytest.mark.parametrize("shape", SHAPES)
def test_sample_is_map_coordinates(padding: str, shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    image = rng.random(shape, np.float32)
    rows, columns = (rng.uniform(-2 * n, 3 * n, size=(4, 7)).astype(np.float32) for n in shape[:2])
    ours = jax.jit(lambda x, i, j: sample(x, i, j, padding=padding))(image, rows, columns)
    for channel in range(shape[2]):
        expected = ndimage.map_coordinates(
            image[..., channel].astype(np.float64), [rows, columns], order=1, mode=SCIPY[padding], cval=0.0
        )
        np.testing.assert_allclose(ours[..., channel], expected, atol=2e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_mean_padding_surrounds_the_image_with_its_mean_color(
    shape: tuple[int, int, int], rng: np.random.Generator
) -> None:
    image = rng.random(shape, np.float32)
    matrix = jnp.asarray(some_matrix(rng))
    ours = warp(jnp.asarray(image), matrix, padding="mean")
    mean = image.mean(axis=(0, 1))
    # The same sampling with the mean as the constant: black padding of the centred image.
    centred = warp(jnp.asarray(image - mean[None, None]), matrix)
    np.testing.assert_allclose(ours, np.asarray(centred) + mean, atol=1e-6)
    away = warp(jnp.asarray(image), affine.translation(50.0, 0.0), padding="mean")
    np.testing.assert_allclose(away, np.broadcast_to(mean, shape), atol=1e-6)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", SHAPES)
def test_identity_and_flip_are_exact(
    padding: str, method: str, shape: tuple[int, int, int], rng: np.random.Generator
) -> None:
    image = jnp.asarray(rng.random(shape, np.float32))
    np.testing.assert_array_equal(warp(image, affine.identity(), padding=padding, method=method), image)
    np.testing.assert_array_equal(warp(image, affine.flip_horizontal(), padding=padding, method=method), image[:, ::-1])


@pytest.mark.parametrize("padding", PADDINGS)
def test_far_outside_values_and_gradients_are_finite(padding: str, rng: np.random.Generator) -> None:
    image = jnp.asarray(rng.random((6, 7, 3), np.float32))
    gradients = jax.jit(jax.grad(lambda x, m: jnp.sum(warp(x, m, padding=padding)), argnums=(0, 1)))
    for scale in (1e2, 1e9, 1e30):
        matrix = jnp.asarray(scale * rng.normal(size=(2, 3)), jnp.float32)
        value = np.asarray(warp(image, matrix, padding=padding))
        assert value.min() >= 0
        assert value.max() <= 1
        assert all(np.isfinite(gradient).all() for gradient in gradients(image, matrix))
        if padding == "zeros":
            assert np.asarray(warp(image, affine.translation(scale, 0.0))).max() == 0


@pytest.mark.parametrize("padding", PADDINGS)
# PyTorch's note that such a side reads its centre since version 1.3, which is what we do.
@pytest.mark.filterwarnings("ignore:Since version 1.3.0, affine_grid")
@pytest.mark.parametrize("shape", [(1, 6, 2), (6, 1, 2), (1, 1, 3)])
def test_sides_of_one_pixel(padding: str, shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    image = rng.random(shape, np.float32)
    matrix = some_matrix(rng)
    ours = warp(jnp.asarray(image), jnp.asarray(matrix), padding=padding)
    if padding in TORCH:
        value, _, _ = torch_warp(image, matrix, TORCH[padding], "bilinear", np.ones(shape, np.float32))
        np.testing.assert_allclose(ours, value, atol=1e-5)
    assert np.isfinite(ours).all()


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
def test_jit_and_vmap_change_nothing(padding: str, rng: np.random.Generator) -> None:
    images = jnp.asarray(rng.random((2, 8, 6, 3), np.float32))
    matrices = jnp.asarray(np.stack([some_matrix(rng) for _ in range(2)]))
    batch = jax.jit(jax.vmap(lambda x, m: affine_warp(x, m, padding=padding)))(images, matrices)
    each = jnp.stack([affine_warp(x, m, padding=padding) for x, m in zip(images, matrices, strict=True)])
    np.testing.assert_allclose(batch, each, atol=1e-5)


def test_half_precision_images_keep_their_type_and_place(rng: np.random.Generator) -> None:
    image = rng.random((40, 40, 1), np.float32)
    matrix = jnp.asarray(some_matrix(rng))
    half = warp(jnp.asarray(image, jnp.bfloat16), matrix)
    assert half.dtype == jnp.bfloat16
    full = warp(jnp.asarray(image), matrix)
    np.testing.assert_allclose(half.astype(jnp.float32), full, atol=0.03)


def test_bad_arguments_are_named(unhooked: None) -> None:
    image = jnp.zeros((4, 4, 3))
    with pytest.raises(ValueError, match=r"padding must be one of .*'reflect'.*got 'reflection'. Did you mean"):
        affine_warp(image, affine.identity(), padding="reflection")
    with pytest.raises(ValueError, match=r"method must be one of 'bilinear', 'nearest'; got 'bicubic'"):
        affine_warp(image, affine.identity(), method="bicubic")
    with pytest.raises(ValueError, match=r"image must have 3 axes \(height, width, channels\); got shape \(4, 4\)"):
        affine_warp(jnp.zeros((4, 4)), affine.identity())
    for shape in ((3, 3), (5, 2, 3), (6,)):
        with pytest.raises(ValueError, match=r"matrix must be .*shape \(2, 3\); got shape \(" + str(shape)[1:-1]):
            affine_warp(image, jnp.zeros(shape))
    with pytest.raises(TypeError, match=r"image must be floats, not uint8. Divide 8-bit values by 255"):
        affine_warp(jnp.zeros((4, 4, 3), jnp.uint8), affine.identity())
