"""Correlation of an image with a small kernel: weighted sums of shifted copies, each channel by itself.

Images are (height, width, channels) floats in any range; kernels are NumPy arrays of odd sides, static under
`jit`. The image is continued beyond its border by its last pixel ("nearest", OpenCV's BORDER_REPLICATE) or by
its mirror image about that pixel, c b | a b c ("mirror", OpenCV's BORDER_REFLECT_101 and its default).
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mollax import checks
from mollax.image.color import require_float_image

_NUMPY_PAD: dict[str, Literal["edge", "reflect"]] = {"nearest": "edge", "mirror": "reflect"}
MODES = tuple(_NUMPY_PAD)

# One fused loop of shifts is fastest while it is short; compilers choke on hundreds.
MOST_SHIFTS = 64
# Shares of a kernel that float32 sums cannot show.
_NEGLIGIBLE = 1e-10

Kernel = Float[np.ndarray, "k l"]
Weights = Float[np.ndarray, " k"]


def correlate(image: Float[Array, "h w c"], kernel: Kernel, *, mode: str = "mirror") -> Float[Array, "h w c"]:
    """out[y, x] = sum_ij kernel[i, j] image[y + i - k // 2, x + j - l // 2], as `scipy.ndimage.correlate`.

    Up to 64 weights that matter are that many shifted copies. Larger kernels become a sum of separable ones,
    K = sum_r u_r v_r^T (singular vectors), each of them two products with small matrices: a disc of radius 10
    has 317 weights but 7 terms.

    Raises: ValueError for a wrong rank, an even side or an unknown mode; TypeError for an integer image.
    """
    require_float_image("image", image)
    for side in kernel.shape:
        _odd("kernel", side)
    checks.one_of("mode", mode, MODES)
    if np.count_nonzero(_matters(kernel)) <= MOST_SHIFTS:
        return _shifted_sum(image, np.where(_matters(kernel), kernel, 0), mode)
    height, width, channels = image.shape
    rows = image.transpose(0, 2, 1).reshape(height, channels * width)
    total = jnp.zeros((height * channels, width), image.dtype)
    left, scale, right = np.linalg.svd(kernel.astype(np.float64))
    for term in np.flatnonzero(scale > _NEGLIGIBLE * scale[0]):
        down = jnp.asarray(axis_matrix(left[:, term] * scale[term], height, mode=mode), image.dtype)
        across = jnp.asarray(axis_matrix(right[term], width, mode=mode), image.dtype)
        part = jnp.matmul(down, rows, precision="highest").reshape(height * channels, width)
        total += jnp.matmul(part, across.T, precision="highest")
    return total.reshape(height, channels, width).transpose(0, 2, 1)


def correlate_axes(
    image: Float[Array, "h w c"], down: Weights, across: Float[np.ndarray, " l"], *, mode: str = "mirror"
) -> Float[Array, "h w c"]:
    """Correlates with the separable kernel down[i] across[j], one axis after the other.

    Raises: ValueError for a wrong rank, an even number of weights or an unknown mode; TypeError for an integer
    image.
    """
    require_float_image("image", image)
    _odd("down", len(down))
    _odd("across", len(across))
    checks.one_of("mode", mode, MODES)
    rows = _shifted_sum(image, down[:, None], mode)
    # Without the barrier the second sum would compute every row of the first again for each of its shifts.
    return _shifted_sum(jax.lax.optimization_barrier(rows), across[None, :], mode)


def axis_matrix(weights: Weights, size: int, *, mode: str = "mirror") -> Float[np.ndarray, "n n"]:
    """Returns the matrix A, in float64, for which A x correlates a signal x of `size` samples with `weights`.

    Raises: ValueError for size < 1, an even number of weights or an unknown mode.
    """
    checks.positive_int("size", size)
    _odd("weights", len(weights))
    checks.one_of("mode", mode, MODES)
    radius = len(weights) // 2
    # Column j of the identity, continued beyond its ends, is sample j and its copies.
    continued = np.pad(np.eye(size), ((radius, radius), (0, 0)), mode=_NUMPY_PAD[mode])
    return np.lib.stride_tricks.sliding_window_view(continued, len(weights), axis=0) @ weights.astype(np.float64)


def _odd(name: str, side: int) -> None:
    if side % 2 == 0:
        raise ValueError(f"{name} must have an odd number of weights along an axis, to have a middle; got {side}.")


def _matters(kernel: Kernel) -> np.ndarray:
    return np.abs(kernel) > _NEGLIGIBLE * np.abs(kernel).sum()


def _shifted_sum(image: Float[Array, "h w c"], kernel: Kernel, mode: str) -> Float[Array, "h w c"]:
    """Sum of copies over the weights that are not zero."""
    height, width, channels = image.shape
    above, left = kernel.shape[0] // 2, kernel.shape[1] // 2
    framed = jnp.pad(image, ((above, above), (left, left), (0, 0)), mode=_NUMPY_PAD[mode])
    # Colors side by side in long rows: vector units read whole rows, not three values at a time.
    framed = framed.reshape(framed.shape[0], -1)
    total = jnp.zeros((height, width * channels), image.dtype)
    for i, j in zip(*np.nonzero(kernel), strict=True):
        start = int(j) * channels
        total += float(kernel[i, j]) * framed[i : i + height, start : start + width * channels]
    return total.reshape(image.shape)
