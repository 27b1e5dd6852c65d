"""Outliers to train with that need no other data: images whose blocks changed places (METHODS section 3)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray, Shaped

from mollax import checks


def block_shuffle(key: PRNGKeyArray, image: Shaped[Array, "h w c"], *, grid: int = 4) -> Shaped[Array, "h w c"]:
    """Cuts an image in grid x grid blocks and puts each in another's place; all such orders are equally likely.

    Where the grid does not divide a side, the largest centred crop that it does divide is shuffled (of an odd rest, the
    smaller half is cut off at the top or left), then mirrored outwards to the old size. So images keep their shape, no
    border stays to show what the image was, and within the crop the pixels are those that were there, each as often.
    Blocks that look alike, such as those of a plain background, change places unseen.

    For a batch: jax.vmap with a key an image. 8-bit images are as welcome as floats.

    Args:
      key: what makes the order random.
      image: of any number of channels and any type.
      grid: blocks a side, from 2 to the smaller side.

    Raises:
      ValueError: for an image that is not (h, w, c), or a grid outside its range: a single block has no other place.
      TypeError: for a grid that is no integer.
    """
    checks.rank("image", image, 3, "(height, width, channels)")
    checks.positive_int("grid", grid, minimum=2)
    height, width, channels = image.shape
    if grid > min(height, width):
        raise ValueError(f"grid must be at most the smaller side of the image; got {grid} for {height} x {width}.")
    tall, wide = height // grid, width // grid
    top, left = height % grid // 2, width % grid // 2
    crop = image[top : top + grid * tall, left : left + grid * wide]
    blocks = crop.reshape(grid, tall, grid, wide, channels).swapaxes(1, 2).reshape(grid * grid, tall, wide, channels)
    blocks = blocks[derangement(key, grid * grid)]
    moved = blocks.reshape(grid, grid, tall, wide, channels).swapaxes(1, 2).reshape(crop.shape)
    if moved.shape == image.shape:
        return moved
    border = [(start, side % grid - start) for start, side in ((top, height), (left, width))]
    return jnp.pad(moved, [*border, (0, 0)], mode="symmetric")


def derangement(key: PRNGKeyArray, count: int) -> Int[Array, " count"]:
    """A permutation without a fixed point, each of them equally likely.

    Uniform permutations are drawn until one has no fixed point, e = 2.72 times on average.

    Raises:
      ValueError: for fewer than 2 things; TypeError for a count that is no integer.
    """
    checks.positive_int("count", count, minimum=2)
    place = jnp.arange(count, dtype=jnp.int32)

    def draw(attempt: Array) -> Array:
        return jax.random.permutation(jax.random.fold_in(key, attempt), place)

    def fixed(carry: tuple[Array, Array]) -> Bool[Array, ""]:
        return jnp.any(carry[1] == place)

    def again(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        return carry[0] + 1, draw(carry[0])

    return jax.lax.while_loop(fixed, again, (jnp.uint32(0), place))[1]
