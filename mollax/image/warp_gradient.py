"""What flows back through a bilinear reading of an image, in forms that a CPU computes fast.

XLA's own derivative of the four gathers is four scatters of short rows, which a CPU does one number at a time, and a
second reading for each of the matrix's two rows. Here:

- Back to the image: one scatter a channel, of rows of the four neighbours' weights; four shifted sums then bring each
  neighbour's share to its pixel. Image by image, so that what is in between stays in the processor's cache.
- Back to the matrix: all neighbours are read once. The slopes along x and y are the two halves of one complex number,
  since XLA would compute two arrays in two passes; a product with [x y 1] sums them up.

Accelerators scatter in parallel and have no need of either.

Shapes: h x w output pixels read an image of hp x wp pixels, which may have a frame around it. `base` counts the upper
left neighbour of a reading row by row, and `down`, `right` in [0, 1) are how far the reading is from it.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

# Channels are written out one by one, and more would take long to compile.
MOST_CHANNELS = 16

# The four neighbours: upper left, upper right, lower left, lower right. Their weights along an axis are 1 - d for the
# first of the two and d for the second: CONSTANT + SIGN d.
_CONSTANT_X, _SIGN_X = np.array([1, 0, 1, 0]), np.array([-1, 1, -1, 1])
_CONSTANT_Y, _SIGN_Y = np.array([1, 1, 0, 0]), np.array([-1, -1, 1, 1])


def to_image(
    cotangent: Float[Array, "h w c"],
    base: Int[Array, "h w"],
    down: Float[Array, "h w"],
    right: Float[Array, "h w"],
    *,
    rows: int,
    columns: int,
) -> Float[Array, "{rows} {columns} c"]:
    """The gradient to an image of `rows` x `columns` pixels: sum over output pixels p of w_k(p) cotangent[p].

    w_k(p) is (1 - |dy|)(1 - |dx|) of the pixel's place among the four neighbours. A batch under `vmap` is a loop.
    """
    # XLA runs a scatter of a whole batch on one core too, and writes four times the batch to memory for it.
    spread = jax.custom_batching.sequential_vmap(partial(_spread, rows, columns))
    return spread(cotangent.reshape(-1, cotangent.shape[-1]), base.ravel(), down.ravel(), right.ravel())


def _spread(
    rows: int,
    columns: int,
    cotangent: Float[Array, "n c"],
    base: Int[Array, " n"],
    down: Float[Array, " n"],
    right: Float[Array, " n"],
) -> Float[Array, "{rows} {columns} c"]:
    """`to_image` of one image with its output pixels in one row."""
    dtype = cotangent.dtype
    constant_x, sign_x, constant_y, sign_y = (
        jnp.asarray(values, dtype)[None, :] for values in (_CONSTANT_X, _SIGN_X, _CONSTANT_Y, _SIGN_Y)
    )
    weights = (constant_y + sign_y * down[:, None]) * (constant_x + sign_x * right[:, None])
    # Leading rows of zeros are what the shifts below bring in.
    margin = columns + 1
    planes = []
    for channel in range(cotangent.shape[1]):
        shares = jnp.zeros((margin + rows * columns, 4), dtype)
        shares = shares.at[margin + base].add(
            weights * cotangent[:, channel, None], mode="promise_in_bounds", wrap_negative_indices=False
        )
        planes.append(
            shares[margin:, 0]
            + shares[margin - 1 : -1, 1]
            + shares[margin - columns : -columns, 2]
            + shares[: -columns - 1, 3]
        )
    return jnp.stack(planes, axis=-1).reshape(rows, columns, -1)


def to_matrix(
    image: Float[Array, "hp wp c"],
    cotangent: Float[Array, "h w c"],
    base: Int[Array, "h w"],
    down: Float[Array, "h w"],
    right: Float[Array, "h w"],
    slopes: tuple[Float[Array, "h w"], Float[Array, "h w"]],
    grid: Float[Array, "h w 3"],
) -> Float[Array, "2 3"]:
    """The gradient to M of positions (column, row) = M [x y 1]^T: sum_p [x y 1] (cotangent . d out / d position)(p).

    Args:
      slopes: derivatives of the (column, row) read by the position, where it is folded; 1 elsewhere.
      grid: [x y 1] of the output pixels.
    """
    columns, channels = image.shape[1:]
    pixels = image.reshape(-1, channels)
    by_column, by_row = slopes
    # Weights of the four neighbours, differentiated by the column in the real part and by the row in the imaginary.
    weights = {
        0: jax.lax.complex((down - 1) * by_column, (right - 1) * by_row),
        1: jax.lax.complex((1 - down) * by_column, -right * by_row),
        columns: jax.lax.complex(-down * by_column, (1 - right) * by_row),
        columns + 1: jax.lax.complex(down * by_column, right * by_row),
    }
    total = jnp.zeros((), weights[0].dtype)
    for offset, weight in weights.items():
        # Each number read is used once, and so is the total: XLA then computes all this in one loop.
        products = [
            cotangent[..., channel]
            * pixels.at[base + offset, channel].get(mode="promise_in_bounds", wrap_negative_indices=False)
            for channel in range(channels)
        ]
        total = total + sum(products[1:], start=products[0]).astype(weight.dtype) * weight
    sums = jnp.einsum("hw,hwk->k", total, grid.astype(total.dtype), precision=jax.lax.Precision.HIGHEST)
    return jnp.stack([sums.real, sums.imag])
