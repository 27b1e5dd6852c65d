"""Fog: a cloudy height map laid over the image."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from mollax import checks
from mollax.image import random
from mollax.image.color import require_float_image


def fog(
    key: PRNGKeyArray, image: Float[Array, "h w c"], strength: float | int, decay: float | int
) -> Float[Array, "h w c"]:
    """Returns (x + strength map) m / (m + strength), m the image's own maximum (Hendrycks and Dietterich 2019).

    The map, in [0, 1], is the same for every channel, however many: the first h rows and w columns of a
    diamond-square height map (`diamond_square`) whose side is the least power of two that holds the image. The
    result lies in [0, m]. Random: the map, from `key`.

    Args:
      key: what makes the map random.
      image: in [0, 1].
      strength: weight of the fog, in units of the image's range; static, >= 0.
      decay: by how much the roughness falls from one scale to the next smaller one, see `diamond_square`;
        static, > 0. Less decay: finer clouds.

    Raises:
      ValueError: for a wrong rank, a negative strength or a decay <= 0.
      TypeError: for an integer image.
    """
    require_float_image("image", image)
    checks.in_range("strength", strength, 0.0)
    height, width, _ = image.shape
    side = 1 << (max(height, width) - 1).bit_length()
    increments = 2 * random.uniform(key, (side, side)) - 1
    heights = diamond_square(increments, decay)[:height, :width, None].astype(image.dtype)
    brightest = jnp.max(image)
    return (image + strength * heights) * (brightest / jnp.maximum(brightest + strength, jnp.finfo(image.dtype).tiny))


def diamond_square(increments: Float[Array, "n n"], decay: float | int) -> Float[Array, "n n"]:
    """Returns the diamond-square height map on a torus, scaled to [0, 1].

    From one corner of height 0 the grid is refined log2(n) times: first the centre of every square becomes the
    mean of its four corners, then the middle of every side the mean of the four points next to it (two ends,
    two centres). Each new point p moves by a^2 increments[p]; a is 100 for the coarsest step and is divided by
    `decay` for each finer one. (The generator of the benchmark multiplies an increment by a twice, once in its
    range and once outside, hence a^2. The 100 cancels in the scaling and is left out here.)

    Args:
      increments: uniform in [-1, 1], one for each point; [0, 0], the first corner, is not used.
      decay: static, > 0.

    Raises:
      ValueError: unless `increments` is square with a power of two >= 2 as its side, or for a decay <= 0.
    """
    checks.rank("increments", increments, 2, "(n, n)")
    checks.in_range("decay", decay, 0.0, open_low=True)
    side = increments.shape[0]
    if increments.shape != (side, side) or side < 2 or side & (side - 1):
        raise ValueError(f"increments must be square, its side a power of two >= 2; got {increments.shape}.")
    heights = jnp.zeros((1, 1), increments.dtype)
    amplitude, step = 1.0, side
    while step > 1:
        heights = _refine(heights, amplitude * increments[:: step // 2, :: step // 2])
        amplitude, step = amplitude / decay**2, step // 2
    heights = heights - jnp.min(heights)
    return heights / jnp.max(heights)


def _refine(corners: Float[Array, "g g"], moves: Float[Array, "2*g 2*g"]) -> Float[Array, "2*g 2*g"]:
    """One square step and one diamond step; `moves` at the corners is not used."""
    size = corners.shape[0]
    # Periodic borders, then slices: rolls compile to more code. The barriers keep XLA from nesting every
    # scale into one expression, which halves the time to compile.
    ends = jnp.pad(corners, ((0, 1), (0, 1)), mode="wrap")
    here, below, right = ends[:-1, :-1], ends[1:, :-1], ends[:-1, 1:]
    centers = lax.optimization_barrier((here + below + right + ends[1:, 1:]) / 4 + moves[1::2, 1::2])
    middles = jnp.pad(centers, ((1, 0), (1, 0)), mode="wrap")
    tops = (here + right + centers + middles[:-1, 1:]) / 4 + moves[0::2, 1::2]
    lefts = (here + below + centers + middles[1:, :-1]) / 4 + moves[1::2, 0::2]
    rows = jnp.stack([jnp.stack([corners, tops], -1), jnp.stack([lefts, centers], -1)], 1)
    return lax.optimization_barrier(rows.reshape(2 * size, 2 * size))
