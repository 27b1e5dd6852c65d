"""The warp's own derivative: that of JAX for the same reading, for any padding, type and batch; no more than asked."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from mollax.image import affine, warp_gradient
from mollax.image.warp import PADDINGS, affine_warp, sample

Gradients = tuple[jax.Array, jax.Array]


def some_arguments(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: type = np.float32
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, matrix and cotangent; of batches where `shape` has more than three sides."""
    matrix = np.eye(2, 3) + 0.4 * rng.normal(size=(*shape[:-3], 2, 3))
    return rng.random(shape).astype(dtype), matrix.astype(dtype), rng.normal(size=shape).astype(dtype)


def reading(image: jax.Array, matrix: jax.Array, padding: str) -> jax.Array:
    """The bilinear warp written out by `sample`, which JAX differentiates."""
    height, width, _ = image.shape
    x, y = jnp.meshgrid(jnp.linspace(-1, 1, width), jnp.linspace(-1, 1, height))
    columns, rows = (row[0] * x + row[1] * y + row[2] for row in matrix)
    return sample(image, (rows + 1) * (height - 1) / 2, (columns + 1) * (width - 1) / 2, padding=padding)


@partial(jax.jit, static_argnames=("padding", "of"))
def pulled(
    image: jax.Array,
    matrix: jax.Array,
    cotangent: jax.Array,
    *,
    padding: str = "zeros",
    of: Callable[..., jax.Array] = affine_warp,
) -> Gradients:
    """The gradients to image and matrix."""
    _, pull = jax.vjp(lambda x, m: of(x, m, padding=padding), image, matrix)
    return pull(cotangent)


def assert_close(ours: Sequence[Any], expected: Sequence[Any], tolerance: float = 1e-5) -> None:
    for mine, other in zip(ours, expected, strict=True):
        assert mine.shape == other.shape
        largest = max(1.0, float(np.abs(np.asarray(other, np.float64)).max()))
        np.testing.assert_allclose(np.asarray(mine, np.float64) / largest, np.asarray(other) / largest, atol=tolerance)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("shape", [(6, 11, 1), (12, 5, 3), (7, 7, 4)])
def test_gradients_are_those_of_the_reading(padding: str, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    arguments = some_arguments(rng, shape)
    assert_close(pulled(*arguments, padding=padding), pulled(*arguments, padding=padding, of=reading))


@pytest.mark.parametrize("padding", ["zeros", "border", "reflect"])
def test_doubles_are_those_of_torch(padding: str, rng: np.random.Generator) -> None:
    # At a size whose positions, in single precision, would be off by 1e-5 pixels, or beyond a kink.
    torch = pytest.importorskip("torch")
    image, matrix, cotangent = some_arguments(rng, (65, 40, 3), np.float64)
    x, m = (torch.tensor(a, requires_grad=True) for a in (image.transpose(2, 0, 1)[None], matrix[None]))
    grid = torch.nn.functional.affine_grid(m, list(x.shape), align_corners=True)
    mode = "reflection" if padding == "reflect" else padding
    value = torch.nn.functional.grid_sample(x, grid, padding_mode=mode, align_corners=True)
    value.backward(torch.tensor(cotangent.transpose(2, 0, 1)[None].copy()))
    with jax.enable_x64(True):
        ours = pulled(image, matrix, cotangent, padding=padding)
        assert all(gradient.dtype == jnp.float64 for gradient in ours)
        np.testing.assert_allclose(
            affine_warp(jnp.asarray(image), jnp.asarray(matrix), padding=padding),
            value.detach().numpy()[0].transpose(1, 2, 0),
            atol=1e-11,
        )
        assert_close(ours, (x.grad.numpy()[0].transpose(1, 2, 0), m.grad.numpy()[0]), 1e-11)


def test_batches_of_batches_and_shared_arguments(rng: np.random.Generator) -> None:
    images, matrices, cotangents = some_arguments(rng, (2, 3, 6, 5, 2))
    each = [[pulled(*(a[i, j] for a in (images, matrices, cotangents))) for j in range(3)] for i in range(2)]
    expected = tuple(np.array([[g[k] for g in row] for row in each]) for k in range(2))
    assert_close(jax.jit(jax.vmap(jax.vmap(pulled)))(images, matrices, cotangents), expected)
    # One image read by many matrices, and many images by one.
    by_matrices = jax.vmap(pulled, in_axes=(None, 0, 0))(images[0, 0], matrices[0], cotangents[0])
    assert_close(by_matrices, jax.vmap(pulled)(np.stack([images[0, 0]] * 3), matrices[0], cotangents[0]))
    by_one = jax.vmap(pulled, in_axes=(0, None, 0))(images[0], matrices[0, 0], cotangents[0])
    assert_close(by_one, jax.vmap(pulled)(images[0], np.stack([matrices[0, 0]] * 3), cotangents[0]))


def test_devices_share_a_batch(rng: np.random.Generator) -> None:
    arguments = some_arguments(rng, (jax.device_count(), 6, 5, 2))
    mesh, cut = jax.make_mesh((jax.device_count(),), ("batch",)), PartitionSpec("batch")
    batch = jax.device_put(arguments, NamedSharding(mesh, cut))
    split = jax.shard_map(jax.vmap(pulled), mesh=mesh, in_specs=cut, out_specs=cut)
    assert_close(jax.jit(split)(*batch), jax.vmap(pulled)(*arguments))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_gradients_keep_their_types(dtype: type, rng: np.random.Generator) -> None:
    image, matrix, cotangent = some_arguments(rng, (9, 8, 3))
    ours = pulled(jnp.asarray(image, dtype), jnp.asarray(matrix), jnp.asarray(cotangent, dtype))
    assert ours[0].dtype == dtype
    assert ours[1].dtype == jnp.float32
    assert_close(ours, pulled(image, matrix, cotangent), 0.01)
    by_half, _ = pulled(jnp.asarray(image), jnp.asarray(matrix, dtype), jnp.asarray(cotangent))
    assert by_half.dtype == jnp.float32


def test_many_channels(rng: np.random.Generator) -> None:
    # Above MOST_CHANNELS, JAX's derivative: the same.
    image, matrix, cotangent = some_arguments(rng, (5, 6, warp_gradient.MOST_CHANNELS + 1))
    few = [pulled(image[..., part], matrix, cotangent[..., part]) for part in (slice(0, 9), slice(9, None))]
    expected = np.concatenate([g[0] for g in few], axis=-1), few[0][1] + few[1][1]
    assert_close(pulled(image, matrix, cotangent), expected)


def test_only_what_is_asked_for_is_computed(rng: np.random.Generator) -> None:
    image, matrix, cotangent = some_arguments(rng, (4, 6, 5, 3))

    def compiled(index: int) -> str:
        return jax.jit(lambda *a: jax.vmap(pulled)(*a)[index]).lower(image, matrix, cotangent).compile().as_text() or ""

    to_image, to_matrix = compiled(0), compiled(1)
    assert "scatter" in to_image
    assert "c64[" not in to_image
    assert "scatter" not in to_matrix
    assert "c64[" in to_matrix


def test_accelerators_compute_the_derivative_of_jax(rng: np.random.Generator) -> None:
    arguments = some_arguments(rng, (4, 6, 5, 3))
    text = jax.export.export(jax.jit(jax.vmap(pulled)), platforms=["cuda"])(*arguments).mlir_module()
    assert "stablehlo.scatter" in text
    assert "while" not in text
    assert "complex" not in text


def test_forward_mode_is_refused_and_sample_has_it(rng: np.random.Generator) -> None:
    image, matrix, _ = (jnp.asarray(a) for a in some_arguments(rng, (6, 5, 2)))
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda x: affine_warp(x, matrix), (image,), (image,))
    tangent = jax.jvp(lambda x: reading(x, matrix, "zeros"), (image,), (image,))[1]
    np.testing.assert_allclose(tangent, affine_warp(image, matrix), atol=1e-5)


def test_gradients_without_jit_and_through_remat() -> None:
    image = jnp.arange(24.0).reshape(4, 3, 2) / 24
    matrix = affine.rotation(jnp.float32(0.3))

    def loss(x: jax.Array, m: jax.Array) -> jax.Array:
        return jnp.sum(affine_warp(x, m) ** 2)

    expected = jax.jit(jax.grad(loss, argnums=(0, 1)))(image, matrix)
    assert_close(jax.grad(loss, argnums=(0, 1))(image, matrix), expected)
    assert_close(jax.jit(jax.grad(jax.checkpoint(loss), argnums=(0, 1)))(image, matrix), expected)
