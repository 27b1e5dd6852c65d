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
larger positions.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mollax import checks
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

    Raises: ValueError for a wrong rank or an unknown `padding` or `method`, TypeError for an integer image.
    """
    require_float_image("image", image)
    height, width, _ = image.shape
    # Half-precision coordinates would miss by whole pixels.
    matrix = matrix.astype(jnp.promote_types(matrix.dtype, jnp.float32))
    half_width, half_height = (width - 1) / 2, (height - 1) / 2
    x = jnp.arange(width, dtype=matrix.dtype) - half_width
    y = jnp.arange(height, dtype=matrix.dtype) - half_height
    # In pixels from the image centre an identity or a flip is exact; in units of 2 / (n - 1) it would not be.
    (a, b, tx), (c, d, ty) = matrix
    b, tx = b * (width - 1) / max(height - 1, 1), tx * half_width
    c, ty = c * (height - 1) / max(width - 1, 1), ty * half_height
    columns = (a * x)[None, :] + (b * y + tx)[:, None] + half_width
    rows = (c * x)[None, :] + (d * y + ty)[:, None] + half_height
    return sample(image, rows, columns, padding=padding, method=method)


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
    if padding == "reflect":
        rows, columns = _fold(rows, height), _fold(columns, width)
    flat = _surround(image, padding).reshape(-1, channels)
    stride = width + 2 * _FRAME
    # Only indices are clipped: beyond the frame all four neighbours agree, whatever the weights in [0, 1).
    near = jnp.floor if method == "bilinear" else jnp.round
    top, left = near(rows), near(columns)
    down, right = (rows - top).astype(image.dtype)[..., None], (columns - left).astype(image.dtype)[..., None]
    base = _frame_index(top, height) * stride + _frame_index(left, width)

    def read(offset: int) -> Float[Array, "*out c"]:
        return flat.at[base + offset].get(mode="promise_in_bounds")

    if method == "nearest":
        return read(0)
    upper = read(0) * (1 - right) + read(1) * right
    lower = read(stride) * (1 - right) + read(stride + 1) * right
    return upper * (1 - down) + lower * down


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
