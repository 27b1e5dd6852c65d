"""Reading an image between its pixels: bilinear or nearest sampling, and the affine warp.

Images are (height, width, channels) floats; positions are in pixels from the centre of the first one. A
position outside the image reads what `padding` says:

- "zeros": black; between the last pixel and one step outside, a blend with black.
- "border": the nearest pixel of the image.
- "reflect": the image mirrored about the centres of its outermost pixels, without end (NumPy's "reflect",
  SciPy's "mirror", PyTorch's "reflection" with align_corners=True).
- "mean": the image's mean color, blended as for "zeros".

Everything is differentiable in the image and, with "bilinear", in positions and matrices ("nearest" has
gradient zero there). At whole positions the interpolation has a kink, and the gradient is the one towards
larger positions. The bilinear `affine_warp` has a derivative of its own (`mollax.image.warp_gradient`), in reverse mode
and of first order only: `jax.grad`, not `jax.jvp` or `jax.hessian`. `sample` has them all.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mollax import checks
from mollax.image import warp_gradient
from mollax.image.color import require_float_image

PADDINGS = ("zeros", "border", "reflect", "mean")
METHODS = ("bilinear", "nearest")

# Two pixels of surroundings on each side: the four neighbours of any position, clipped to this frame, are
# then a base index and three constant offsets, and a position far outside reads surroundings only.
_FRAME = 2


def affine_warp(
    image: Float[Array, "h w c"],
    matrix: Float[Array, "2 3"],
    *,
    padding: str = "zeros",
    method: str = "bilinear",
) -> Float[Array, "h w c"]:
    """Warps `image` by a pull matrix in normalized coordinates (see `mollax.image.affine`); the size stays.

    out[p] = image(A p) with p in [-1, 1]^2, align_corners=True: the values and gradients of PyTorch's
    `affine_grid` + `grid_sample` (METHODS section 2). Identity and `flip_horizontal` are exact, bit for bit.

    With "bilinear", gradients are by reverse mode and of first order only (see the module).

    Raises: ValueError for a wrong rank, a matrix that is not (2, 3) or an unknown `padding` or `method`, TypeError for
    an integer image.
    """
    require_float_image("image", image)
    if matrix.shape != (2, 3):
        raise ValueError(
            f"matrix must be a pull matrix of shape (2, 3); got shape {matrix.shape}. Of a homogeneous 3x3 matrix give "
            "the first two rows; for a batch use jax.vmap."
        )
    checks.one_of("padding", padding, PADDINGS)
    checks.one_of("method", method, METHODS)
    height, width, channels = image.shape
    # Half-precision coordinates would miss by whole pixels.
    matrix = matrix.astype(_wide(matrix))
    half_width, half_height = (width - 1) / 2, (height - 1) / 2
    # In pixels from the image centre an identity or a flip is exact; in units of 2 / (n - 1) it would not be.
    (a, b, tx), (c, d, ty) = matrix
    b, tx = b * (width - 1) / max(height - 1, 1), tx * half_width
    c, ty = c * (height - 1) / max(width - 1, 1), ty * half_height
    in_pixels = jnp.stack([jnp.stack([a, b, tx]), jnp.stack([c, d, ty])])
    if method == "nearest" or channels > warp_gradient.MOST_CHANNELS:
        return _warp(padding, method, image, in_pixels)
    return _bilinear_warp(padding, method, image, in_pixels)


def _warp(
    padding: str, method: str, image: Float[Array, "h w c"], matrix: Float[Array, "2 3"]
) -> Float[Array, "h w c"]:
    """Reads `image` where `matrix` points, both in pixels from the image centre; differentiated by JAX."""
    rows, columns = _positions(matrix, *image.shape[:2])
    return sample(image, rows, columns, padding=padding, method=method)


_bilinear_warp = jax.custom_vjp(_warp, nondiff_argnums=(0, 1))

_Primals = tuple[Float[Array, "h w c"], Float[Array, "2 3"]]


def _forward(
    padding: str, method: str, image: Float[Array, "h w c"], matrix: Float[Array, "2 3"]
) -> tuple[Float[Array, "h w c"], _Primals]:
    return _bilinear_warp(padding, method, image, matrix), (image, matrix)


def _backward(padding: str, method: str, primals: _Primals, cotangent: Float[Array, "h w c"]) -> _Primals:
    """Both gradients, each by itself: jit drops the one that nobody asked for."""

    def by_jax(*arguments: Array) -> _Primals:
        return jax.vjp(partial(_warp, padding, method), *arguments[:2])[1](arguments[2])

    on_cpu = partial(_to_image, padding), partial(_to_matrix, padding)
    elsewhere = (lambda *arguments: by_jax(*arguments)[0]), (lambda *arguments: by_jax(*arguments)[1])
    to_image, to_matrix = (
        jax.lax.platform_dependent(*primals, cotangent, cpu=cpu, default=default)
        for cpu, default in zip(on_cpu, elsewhere, strict=True)
    )
    return to_image, to_matrix


_bilinear_warp.defvjp(_forward, _backward)


def _to_image(
    padding: str, image: Float[Array, "h w c"], matrix: Float[Array, "2 3"], cotangent: Float[Array, "h w c"]
) -> Float[Array, "h w c"]:
    """The gradient to the image, for CPU."""
    height, width, _ = image.shape
    dtype = _wide(image, matrix)
    base, down, right = _neighbours(padding, "bilinear", *_positions(matrix, height, width), height, width)
    framed = warp_gradient.to_image(
        cotangent.astype(dtype),
        base,
        down.astype(dtype),
        right.astype(dtype),
        rows=height + 2 * _FRAME,
        columns=width + 2 * _FRAME,
    )
    _, pull = jax.vjp(partial(_surround, padding=padding), image)
    return pull(framed.astype(image.dtype))[0]


def _to_matrix(
    padding: str, image: Float[Array, "h w c"], matrix: Float[Array, "2 3"], cotangent: Float[Array, "h w c"]
) -> Float[Array, "2 3"]:
    """The gradient to the matrix, for CPU."""
    height, width, _ = image.shape
    dtype = _wide(image, matrix)
    rows, columns = _positions(matrix, height, width)
    slopes = jnp.ones_like(columns), jnp.ones_like(rows)
    if padding == "reflect":
        slopes = (
            jax.jvp(partial(_fold, size=width), (columns,), slopes[:1])[1],
            jax.jvp(partial(_fold, size=height), (rows,), slopes[1:])[1],
        )
    base, down, right = _neighbours(padding, "bilinear", rows, columns, height, width)
    x, y = _centred(width, matrix.dtype), _centred(height, matrix.dtype)
    shape = (height, width)
    grid = [jnp.broadcast_to(x[None, :], shape), jnp.broadcast_to(y[:, None], shape), jnp.ones(shape, x.dtype)]
    return warp_gradient.to_matrix(
        _surround(image, padding).astype(dtype),
        cotangent.astype(dtype),
        base,
        down.astype(dtype),
        right.astype(dtype),
        (slopes[0].astype(dtype), slopes[1].astype(dtype)),
        jnp.stack(grid, axis=-1).astype(dtype),
    ).astype(matrix.dtype)


def _wide(*arrays: Array) -> jnp.dtype:
    """Single precision, or double if an array has it."""
    return jnp.dtype(jnp.float64 if any(array.dtype == jnp.float64 for array in arrays) else jnp.float32)


def _centred(size: int, dtype: jnp.dtype) -> Float[Array, " n"]:
    """Pixels of an axis counted from its middle."""
    return jnp.arange(size, dtype=dtype) - (size - 1) / 2


def _positions(matrix: Float[Array, "2 3"], height: int, width: int) -> tuple[Float[Array, "h w"], Float[Array, "h w"]]:
    """The (rows, columns) that a pull matrix in pixels from the centre reads."""
    x, y = _centred(width, matrix.dtype), _centred(height, matrix.dtype)
    (a, b, tx), (c, d, ty) = matrix
    columns = (a * x)[None, :] + (b * y + tx)[:, None] + (width - 1) / 2
    rows = (c * x)[None, :] + (d * y + ty)[:, None] + (height - 1) / 2
    return rows, columns


def sample(
    image: Float[Array, "h w c"],
    rows: Float[Array, "*out"],
    columns: Float[Array, "*out"],
    *,
    padding: str = "zeros",
    method: str = "bilinear",
) -> Float[Array, "*out c"]:
    """Reads `image` at fractional pixel positions; the centre of the first pixel is row 0, column 0.

    Bilinear: the four neighbours weighted by (1 - |dy|)(1 - |dx|). Nearest: the closest one, halves to the
    even pixel. Positions must be finite; any size is fine.

    Raises: ValueError for a wrong rank or an unknown `padding` or `method`, TypeError for an integer image.
    """
    require_float_image("image", image)
    checks.one_of("padding", padding, PADDINGS)
    checks.one_of("method", method, METHODS)
    height, width, channels = image.shape
    flat = _surround(image, padding).reshape(-1, channels)
    stride = width + 2 * _FRAME
    base, *place = _neighbours(padding, method, rows, columns, height, width)
    down, right = (distance.astype(image.dtype)[..., None] for distance in place)

    def read(offset: int) -> Float[Array, "*out c"]:
        return flat.at[base + offset].get(mode="promise_in_bounds")

    if method == "nearest":
        return read(0)
    upper = read(0) * (1 - right) + read(1) * right
    lower = read(stride) * (1 - right) + read(stride + 1) * right
    return upper * (1 - down) + lower * down


def _neighbours(
    padding: str, method: str, rows: Float[Array, "*out"], columns: Float[Array, "*out"], height: int, width: int
) -> tuple[Int[Array, "*out"], Float[Array, "*out"], Float[Array, "*out"]]:
    """Reading the framed image: the first neighbour, counted row by row, and the distances down and right of it."""
    if padding == "reflect":
        rows, columns = _fold(rows, height), _fold(columns, width)
    near = jnp.floor if method == "bilinear" else jnp.round
    top, left = near(rows), near(columns)
    # Only indices are clipped: beyond the frame all four neighbours agree, whatever the weights in [0, 1).
    base = _frame_index(top, height) * (width + 2 * _FRAME) + _frame_index(left, width)
    return base, rows - top, columns - left


def _surround(image: Float[Array, "h w c"], padding: str) -> Float[Array, "hp wp c"]:
    """Frames the image with black, the mean color or (for folded reads as well) the nearest pixels."""
    sides = ((_FRAME, _FRAME), (_FRAME, _FRAME), (0, 0))
    if padding == "zeros":
        return jnp.pad(image, sides)
    if padding == "mean":
        mean = jnp.mean(image, axis=(0, 1), keepdims=True)
        inside = jnp.pad(jnp.ones_like(image), sides)
        return jnp.pad(image, sides) + (1 - inside) * mean
    return jnp.pad(image, sides, mode="edge")


def _frame_index(whole: Float[Array, "*out"], size: int) -> Int[Array, "*out"]:
    """Turns whole positions into indices of the framed axis, clipped while floats, as casts may overflow."""
    return jnp.clip(whole, -_FRAME, size).astype(jnp.int32) + _FRAME


def _fold(position: Float[Array, "*out"], size: int) -> Float[Array, "*out"]:
    """Mirrors positions into [0, size - 1] about both ends: a triangle wave of period 2 (size - 1)."""
    if size == 1:
        return jnp.zeros_like(position)
    last = size - 1
    return last - jnp.abs(jnp.mod(position, 2 * last) - last)
