"""Spatter: drops of water or mud on the lens.

Water is drawn by a chain of integer image operators (edges, distance transform, histogram equalization,
emboss) whose exact rounding shows in the result. They are written here as OpenCV defines them, for small
8-bit pictures held in int32.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int32, PRNGKeyArray

from mollax import checks
from mollax.image import random
from mollax.image.color import require_float_image, to_gray
from mollax.image.filters import gaussian_blur

_WATER = (175 / 255, 238 / 255, 238 / 255)
_MUD = (63 / 255, 42 / 255, 20 / 255)

# Thresholds of the edges, in summed differences of 8-bit levels.
_WEAK, _STRONG = 50, 150

# Distances are whole multiples of 1 / 65536 pixel: a step to the side, a diagonal step, a knight's move.
_PIXEL = 65536
_DIAGONAL, _KNIGHT = round(1.4 * _PIXEL), round(2.1969 * _PIXEL)
_FAR = 2**28
_REACH = 20  # pixels; longer distances count as this

_EMBOSS = (-2, -1, 0, -1, 1, 1, 0, 1, 2)  # row by row


def spatter(
    key: PRNGKeyArray,
    image: Float[Array, "h w c"],
    mean: float | int,
    deviation: float | int,
    blur: float | int,
    threshold: float | int,
    strength: float | int,
    mud: int,
) -> Float[Array, "h w c"]:
    """Returns the image under drops of water or mud (Hendrycks and Dietterich 2019), not clipped.

    Drops lie where normal noise, blurred, reaches a threshold. Water adds strength m (175, 238, 238) / 255, m
    the shading of the drops (`water_mask`). Mud replaces: x (1 - m) + m (63, 42, 20) / 255, m the drops as 0
    and 1 blurred again with deviation `strength`, and 0 below .8. One channel gets the luminance of the color.
    Where no drop falls the image stays as it is (the published code divides 0 by 0 there). Random: the noise,
    from `key`.

    Args:
      key: what makes the drops random.
      image: in [0, 1], one or three channels.
      mean, deviation: of the noise, in units of the image's range; static, deviation >= 0.
      blur: deviation of the Gaussian blur of the noise in pixels; static, > 0.
      threshold: static; the higher, the fewer drops.
      strength: of water, >= 0; for mud the deviation of the second blur in pixels, > 0; static.
      mud: 0 for water, 1 for mud; static.

    Raises:
      ValueError: for a wrong rank, other channels, another `mud` or a constant outside its range.
      TypeError: for an integer image.
    """
    require_float_image("image", image)
    height, width, channels = image.shape
    if channels not in (1, 3):
        raise ValueError(f"image must have 1 or 3 channels for spatter; got shape {image.shape}.")
    if mud not in (0, 1):
        raise ValueError(f"mud must be 0 (water) or 1 (mud); got {mud!r}.")
    checks.in_range("mean", mean)
    checks.in_range("deviation", deviation, 0.0)
    checks.in_range("threshold", threshold)
    checks.in_range("strength", strength, 0.0, open_low=bool(mud))
    # Barriers, here and below, keep XLA from computing a picture again for each neighbor that reads it.
    noise = lax.optimization_barrier(mean + deviation * random.normal(key, (height, width, 1)))
    liquid = gaussian_blur(noise, blur)
    color = jnp.asarray(_MUD if mud else _WATER, image.dtype).reshape(1, 1, 3)
    color = color if channels == 3 else to_gray(color)
    if mud:
        mask = gaussian_blur((liquid > threshold).astype(jnp.float32), strength)
        mask = jnp.where(mask < 0.8, 0.0, mask).astype(image.dtype)
        return image * (1 - mask) + mask * color
    # Above 1, some 4 deviations out, 8 bits overflow; here they saturate.
    levels = jnp.floor(255 * jnp.clip(jnp.where(liquid < threshold, 0.0, liquid), 0, 1))
    mask = strength * water_mask(levels[..., 0].astype(jnp.int32))
    return image + mask[..., None].astype(image.dtype) * color


def water_mask(levels: Int32[Array, "h w"]) -> Float[Array, "h w"]:
    """Shades drops of water given as 8-bit levels, 0 where it is dry; the result has maximum 1, or is 0.

    The distance to the nearest edge of a drop, up to 20 pixels, is averaged over 3 x 3, spread over all levels
    (`equalize`), embossed, averaged again and multiplied with the levels.
    """
    distance = jnp.minimum(distances(edges(levels)), _REACH * _PIXEL)
    shade = equalize(_sum_3x3(distance) // (9 * _PIXEL), _REACH + 1)
    embossed = sum(weight * part for weight, part in zip(_EMBOSS, _neighbors(shade), strict=True) if weight)
    shade = jnp.clip(embossed, 0, 255)
    shade = (2 * _sum_3x3(shade) + 9) // 18  # to the nearest
    mask = (levels * shade).astype(jnp.float32)
    return mask / jnp.maximum(jnp.max(mask), 1.0)


def edges(levels: Int32[Array, "h w"]) -> Bool[Array, "h w"]:
    """Canny's edges of a picture in 8-bit levels, between the thresholds 50 and 150, as OpenCV finds them.

    Sobel differences (3 x 3, border repeated) with magnitude |dx| + |dy|. A pixel must exceed the lower
    threshold and its two neighbors across the edge, in one of four directions (straight to the right or down
    an equal one will do), and be linked, by pixels like it, to one above the higher threshold.
    """
    a, b, c, d, _, e, f, g, h = _neighbors(levels, "edge")
    across, down = (c + 2 * e + h) - (a + 2 * d + f), (f + 2 * g + h) - (a + 2 * b + c)
    strength = lax.optimization_barrier(jnp.abs(across) + jnp.abs(down))
    nw, n, ne, w, _, e, sw, s, se = _neighbors(strength, "constant")
    # tan(22.5 degrees) and tan(67.5 degrees) = that + 2, in units of 2^-15.
    low = jnp.abs(across) * 13573
    high, slope = low + (jnp.abs(across) << 16), jnp.abs(down) << 15
    falling = (across ^ down) >= 0
    first = jnp.where(slope < low, w, jnp.where(slope > high, n, jnp.where(falling, nw, ne)))
    second = jnp.where(slope < low, e, jnp.where(slope > high, s, jnp.where(falling, se, sw)))
    diagonal = (slope >= low) & (slope <= high)
    peak = (strength > _WEAK) & (strength > first) & jnp.where(diagonal, strength > second, strength >= second)
    peak = lax.optimization_barrier(peak)

    def grow(state: tuple[Array, Array]) -> tuple[Array, Array]:
        sure, _ = state
        padded = jnp.pad(sure, 1)
        rows = padded[:-2] | padded[1:-1] | padded[2:]
        grown = peak & (rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:])
        return grown, jnp.any(grown != sure)

    sure = peak & (strength > _STRONG)
    return lax.while_loop(lambda state: state[1], grow, (sure, jnp.any(sure)))[0]


def distances(edge: Bool[Array, "h w"]) -> Int32[Array, "h w"]:
    """Chamfer distance to the nearest edge pixel, in 1 / 65536 pixel: steps 1, 1.4 and 2.1969 (Borgefors 1986).

    The length of the shortest path of steps to the side, diagonal steps and knight's moves: OpenCV's
    distance transform with a 5 x 5 mask. Without any edge the result is large.
    """
    width = edge.shape[1]
    # A shortest path can take its horizontal steps first, in the row where it starts, then only go up or only
    # go down. So: along all rows at once, in jumps of 1, 2, 4 ... pixels, then one sweep over rows for both ways.
    rows = jnp.where(edge, 0, _FAR)
    for exponent in range((width - 1).bit_length()):
        jump = 2**exponent
        padded = jnp.pad(rows, ((0, 0), (jump, jump)), constant_values=_FAR)
        nearer = jnp.minimum(padded[:, : -2 * jump], padded[:, 2 * jump :]) + jump * _PIXEL
        rows = lax.optimization_barrier(jnp.minimum(rows, nearer))

    def sweep(last: tuple[Array, Array], row: Array) -> tuple[tuple[Array, Array], Array]:
        near, far = last
        row = jnp.minimum(row, near[:, 2:-2] + _PIXEL)
        row = jnp.minimum(row, jnp.minimum(near[:, 1:-3], near[:, 3:-1]) + _DIAGONAL)
        knight = jnp.minimum(jnp.minimum(near[:, :-4], near[:, 4:]), jnp.minimum(far[:, 1:-3], far[:, 3:-1]))
        row = jnp.minimum(row, knight + _KNIGHT)
        return (jnp.pad(row, ((0, 0), (2, 2)), constant_values=_FAR), near), row

    nothing = jnp.full((2, width + 4), _FAR, jnp.int32)
    _, both = lax.scan(sweep, (nothing, nothing), jnp.stack([rows, rows[::-1]], 1))
    return jnp.minimum(both[:, 0], both[::-1, 1])


def equalize(levels: Int32[Array, "h w"], count: int) -> Int32[Array, "h w"]:
    """Histogram equalization to 0..255 of a picture with levels in [0, count), as OpenCV rounds it.

    Level v becomes 255 (n(<= v) - n_0) / (n - n_0), to the nearest, n_0 the number of pixels at the least level
    present; a picture of one level stays.
    """
    counts = jnp.zeros((count,), jnp.int32).at[levels.reshape(-1)].add(1)
    least = counts[jnp.min(levels)]
    rest = levels.size - least
    scale = 255 / jnp.maximum(rest, 1).astype(jnp.float32)
    table = jnp.round((jnp.cumsum(counts) - least).astype(jnp.float32) * scale).astype(jnp.int32)
    return jnp.where(rest == 0, levels, jnp.take(table, levels, mode="clip"))


def _neighbors(picture: Array, mode: str = "reflect") -> list[Array]:
    """The picture shifted so that each pixel sees its nine neighbors, row by row; `mode` as in `jnp.pad`."""
    height, width = picture.shape
    padded = jnp.pad(picture, 1, mode=mode)
    return [padded[i : i + height, j : j + width] for i in range(3) for j in range(3)]


def _sum_3x3(picture: Int32[Array, "h w"]) -> Int32[Array, "h w"]:
    """Sums over 3 x 3 pixels, the picture mirrored about its outermost pixels."""
    padded = jnp.pad(picture, 1, mode="reflect")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
