"""The blurs: Gaussian, defocus, glass, motion and zoom.

Hendrycks and Dietterich (ICLR 2019), and what their generators do through scikit-image, OpenCV, ImageMagick and
SciPy. Images are (height, width, channels) floats in [0, 1] on the 8-bit grid; the results are not clipped, and
only motion blur puts them back on the grid. The constants after the image are Python numbers, static under `jit`:
one row of `mollax.corrupt.severity` each. Lengths are in pixels.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray
from scipy import sparse

from mollax import checks
from mollax.image import filters, random
from mollax.image.color import quantize, require_float_image
from mollax.image.correlate import MOST_SHIFTS, axis_matrix, correlate, correlate_axes
from mollax.image.sparse import Taps, taps, weigh

# Float32 sums that should be a gray level, as in flat areas or under a box, fall short of it by up to half of this,
# as the order of summation has it. Added, it keeps truncation from making that a whole level.
_UP = 1e-6
# The tail of a kernel that float32 sums cannot show.
_TAIL = 1e-7


def gaussian_blur(image: Float[Array, "h w c"], sigma: float) -> Float[Array, "h w c"]:
    """Blurs with a sampled Gaussian cut at 4 sigma; the image goes on as its last pixel (scikit-image's defaults).

    Args:
      image: any range.
      sigma: standard deviation; > 0.

    Raises:
      ValueError: for a wrong rank or sigma <= 0.
      TypeError: for an integer image.
    """
    require_float_image("image", image)
    checks.in_range("sigma", sigma, 0.0, open_low=True)
    radius = int(4 * sigma + 0.5)
    if 2 * radius + 1 > MOST_SHIFTS:
        return filters.gaussian_blur(image, sigma) + _UP
    # The middle row of the matrix is the kernel. At these widths sums of shifts take a third of the products' time.
    weights = filters.gaussian_matrix(2 * radius + 1, sigma, mode="constant")[radius]
    return correlate_axes(image, weights, weights, mode="nearest") + _UP


def defocus_blur(image: Float[Array, "h w c"], radius: float, alias_sd: float) -> Float[Array, "h w c"]:
    """Correlates with a disc whose steps are smoothed (`disc`); borders mirror about the last pixel.

    Args:
      image: any range.
      radius: of the disc; >= 0. Below 1 the disc is a single pixel and the smoothing all there is.
      alias_sd: standard deviation of the smoothing; > 0.

    Raises:
      ValueError: for a wrong rank, a negative radius or alias_sd <= 0.
      TypeError: for an integer image.
    """
    return correlate(image, disc(radius, alias_sd), mode="mirror") + _UP


def disc(radius: float, alias_sd: float) -> Float[np.ndarray, "k k"]:
    """The mean over {x^2 + y^2 <= radius^2} on a grid of integers, smoothed by a Gaussian of deviation `alias_sd`.

    The grid has 17 x 17 points and the Gaussian 3 x 3 up to radius 8; beyond, 2 radius + 1 and 5 x 5. At the ends
    of the grid the smoothing mirrors, so that a disc that touches them loses nothing.

    Raises:
      ValueError: for a negative radius, alias_sd <= 0, or a radius above 8 that is not whole.
    """
    checks.in_range("radius", radius, 0.0)
    checks.in_range("alias_sd", alias_sd, 0.0, open_low=True)
    if radius > 8 and radius != int(radius):
        raise ValueError(f"radius must be whole above 8, where it sizes the grid; got {radius}.")
    reach, smooth = (8, 1) if radius <= 8 else (int(radius), 2)
    square = np.arange(-reach, reach + 1) ** 2
    inside = (square[:, None] + square <= radius**2).astype(np.float64)
    weights = np.exp(-(np.arange(-smooth, smooth + 1) ** 2) / (2 * alias_sd**2))
    blur = axis_matrix(weights / weights.sum(), len(square), mode="mirror")
    return blur @ (inside / inside.sum()) @ blur.T


def glass_blur(
    key: PRNGKeyArray, image: Float[Array, "h w c"], sigma: float, reach: int, rounds: int
) -> Float[Array, "h w c"]:
    """Blurs, truncates to 8 bits, lets every pixel copy a neighbor (`glass_sources`), blurs again.

    Args:
      key: what makes the choice of neighbors random.
      image: in [0, 1].
      sigma: standard deviation of both blurs (`gaussian_blur`); > 0.
      reach: neighbors lie at -reach to reach - 1 rows and columns; >= 1.
      rounds: how often all pixels copy; >= 1.

    Raises:
      ValueError: for a wrong rank, sigma <= 0, or a reach or rounds below 1.
      TypeError: for an integer image, or a reach or rounds that are no integers.
    """
    require_float_image("image", image)
    checks.positive_int("reach", reach)
    checks.positive_int("rounds", rounds)
    height, width, channels = image.shape
    blurred = quantize(gaussian_blur(image, sigma))
    dice = random.uniform(key, (rounds, 2, height, width))
    sources = glass_sources(jnp.floor(dice * (2 * reach)).astype(jnp.int32) - reach, reach)
    moved = blurred.reshape(-1, channels).at[sources].get(mode="promise_in_bounds")
    return gaussian_blur(moved, sigma)


def glass_sources(offsets: Int[Array, "rounds 2 h w"], reach: int) -> Int[Array, "h w"]:
    """Where each pixel comes from, y w + x, when pixels copy neighbors one after the other.

    In every round pixels are visited from the bottom right, row by row, h - reach to reach + 1 and w - reach to
    reach + 1; the visited pixel becomes what its neighbor at `offsets` (rows, columns) is at that moment. So a
    neighbor below, or to the right in the same row, has been visited before and stands for what it copied: visits
    form chains. All chains are followed at once, in steps that double, and the result is that of the plain loop.

    Args:
      offsets: in [-reach, reach - 1].
      reach: what limits offsets and visits.

    Raises:
      ValueError: for a reach below 1.
      TypeError: for a reach that is no integer.
    """
    checks.positive_int("reach", reach)
    height, width = offsets.shape[-2:]
    row, column = jnp.arange(height), jnp.arange(width)
    visited = ((row > reach) & (row <= height - reach))[:, None] & ((column > reach) & (column <= width - reach))[None]
    here = jnp.arange(height * width)
    sources = here
    for down, across in offsets:
        read = here + jnp.where(visited, down * width + across, 0).reshape(-1)
        # The lowest bit says that the pixel that is read was visited before, so that the chain goes on. One that
        # is not visited reads itself, which ends it.
        chain = jax.lax.while_loop(_goes_on, _follow, 2 * read + (read > here).astype(read.dtype))
        sources = sources.at[chain >> 1].get(mode="promise_in_bounds")
    return sources.reshape(height, width)


def _goes_on(chain: Int[Array, " n"]) -> Array:
    return jnp.any(chain & 1 == 1)


def _follow(chain: Int[Array, " n"]) -> Int[Array, " n"]:
    return jnp.where(chain & 1 == 1, chain.at[chain >> 1].get(mode="promise_in_bounds"), chain)


def motion_blur(key: PRNGKeyArray, image: Float[Array, "h w c"], radius: int, sigma: float) -> Float[Array, "h w c"]:
    """`motion_blur_along` an angle drawn from U(-45, 45) degrees, rounded to the nearest gray level.

    ImageMagick gives 8-bit pixels back; elsewhere the benchmark truncates.

    Args:
      key: what makes the angle random.
      image: in [0, 1].
      radius, sigma: length and deviation of the kernel, see `motion_blur_along`.

    Raises:
      ValueError: for a wrong rank, a radius below 1 or sigma <= 0.
      TypeError: for an integer image, or a radius that is no integer.
    """
    angle = 90 * random.uniform(key, ()) - 45
    return quantize(motion_blur_along(image, radius, sigma, angle), rounding="round")


def motion_blur_along(
    image: Float[Array, "h w c"], radius: int, sigma: float, angle: Float[Array, ""] | float
) -> Float[Array, "h w c"]:
    """Averages pixels ahead along a direction, with weights that fall as half a Gaussian (ImageMagick).

    out[p] = sum_i k_i x[p + o_i], k_i ~ exp(-i^2 / (2 sigma^2)) for i = 0, ..., 2 radius, where o_i is
    i (sin angle, cos angle), down and to the right, each rounded to the nearest pixel, halves down; outside the
    image the nearest pixel of it. Not rounded to 8 bits.

    Args:
      image: any range.
      radius: the kernel has 2 radius + 1 pixels, all on one side; static, >= 1.
      sigma: deviation of the Gaussian; static, > 0.
      angle: in degrees; may be traced. 0 averages to the right, 90 downwards.

    Raises:
      ValueError: for a wrong rank, a radius below 1 or sigma <= 0.
      TypeError: for an integer image, or a radius that is no integer.
    """
    require_float_image("image", image)
    checks.positive_int("radius", radius)
    checks.in_range("sigma", sigma, 0.0, open_low=True)
    height, width, channels = image.shape
    weights = np.exp(-(np.arange(2 * radius + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    weights = weights[np.cumsum(weights[::-1])[::-1] > _TAIL]
    frame = len(weights) - 1
    framed = jnp.pad(image, ((frame, frame), (frame, frame), (0, 0)), mode="edge")
    # Colors side by side in long rows: vector units read whole rows, not three values at a time.
    framed = framed.reshape(height + 2 * frame, -1)
    radians = jnp.deg2rad(jnp.asarray(angle, jnp.float32))
    ahead = jnp.arange(len(weights), dtype=jnp.float32)
    down = frame + jnp.ceil(ahead * jnp.sin(radians) - 0.5).astype(jnp.int32)
    right = frame + jnp.ceil(ahead * jnp.cos(radians) - 0.5).astype(jnp.int32)
    total = jnp.zeros((height, width * channels), image.dtype)
    for i, weight in enumerate(weights):
        corner = (down[i], right[i] * channels)
        total += float(weight) * jax.lax.dynamic_slice(framed, corner, (height, width * channels))
    return total.reshape(image.shape)


def zoom_blur(image: Float[Array, "h w c"], step: float, count: int) -> Float[Array, "h w c"]:
    """Averages the image with its center zoomed by 1, 1 + step, ..., 1 + (count - 1) step (`zoom_matrix`).

    Args:
      image: any range.
      step: between zoom factors; > 0.
      count: how many zoomed copies; >= 1. The first one is the image itself, which therefore counts twice.

    Raises:
      ValueError: for a wrong rank, step <= 0 or a count below 1.
      TypeError: for an integer image, or a count that is no integer.
    """
    require_float_image("image", image)
    checks.in_range("step", step, 0.0, open_low=True)
    checks.positive_int("count", count)
    return weigh(image, *_zoom_taps(image.shape[0], image.shape[1], float(step), count)) + _UP


@functools.lru_cache(maxsize=8)
def _zoom_taps(height: int, width: int, step: float, count: int) -> Taps:
    """The whole of `zoom_blur` as one sparse matrix: copies share most of the pixels that they read."""
    total = sparse.eye_array(height * width, format="csr")
    for i in range(count):
        # The last bits of NumPy's arange: they decide how `zoom_matrix` rounds where the zoomed size is whole.
        factor = 1 + i * ((1 + step) - 1)
        total = total + sparse.kron(zoom_matrix(height, factor), zoom_matrix(width, factor), format="csr")
    return taps(total / (count + 1))


def zoom_matrix(size: int, factor: float) -> Float[np.ndarray, "n n"]:
    """Returns the matrix A, in float64, for which A x magnifies the center of a signal x of `size` samples.

    The middle m = ceil(size / factor) samples are stretched to M = round(m factor), ends to ends, position
    j (m - 1) / (M - 1) for sample j, linear in between (`scipy.ndimage.zoom` with order 1); the middle `size` of
    these are the result.

    Raises:
      ValueError: for size < 1 or factor < 1.
      TypeError: for a size that is no integer.
    """
    checks.positive_int("size", size)
    checks.in_range("factor", factor, 1.0)
    part = math.ceil(size / factor)
    stretched = round(part * factor)
    first = (size - part) // 2
    position = (np.arange(size) + (stretched - size) // 2) * ((part - 1) / max(stretched - 1, 1))
    matrix = np.zeros((size, size))
    matrix[:, first : first + part] = np.maximum(1 - np.abs(position[:, None] - np.arange(part)), 0)
    # Rounding in the positions leaves weights that are nothing.
    return np.where(matrix > 1e-12, matrix, 0)
