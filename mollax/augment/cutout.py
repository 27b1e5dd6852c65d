"""Cutout (DeVries and Taylor 2017) as Fast AutoAugment's policies use it: a small square of one color."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mollax import checks
from mollax.augment import operations

# About CIFAR-10's mean, and the same as a gray level.
_COLOR, _GRAY = (125, 123, 114), (123,)


def cutout(image: Float[Array, "h w c"], side: operations.Scalar, *, center: Float[Array, 2]) -> Float[Array, "h w c"]:
    """Paints a square of `side` pixels in (125, 123, 114) / 255, on gray images in 123 / 255; 0 changes nothing.

    `center` is (x, y) in parts of width and height. The square starts at the whole pixel
    max(0, floor(x width - side / 2)) and covers all pixels that are at most `side` further, so one more than `side` in
    each direction for a whole number, as in the authors' code. Over the right and the lower edge it is cut off, over
    the others moved in.

    Raises: ValueError for a negative side or a wrong shape, TypeError for an integer image.
    """
    operations.require_image(image)
    if isinstance(side, (int, float)):
        checks.in_range("side", side, 0.0)
    height, width, channels = image.shape
    side = jnp.asarray(side, image.dtype)
    covered = []
    for part, length in zip(center, (width, height), strict=True):
        start = jnp.floor(jnp.maximum(part * length - side / 2, 0))
        places = jnp.arange(length, dtype=image.dtype)
        covered.append((places >= start) & (places <= start + side))
    columns, rows = covered
    inside = rows[:, None, None] & columns[None, :, None] & (side > 0)
    paint = jnp.asarray(np.array(_COLOR if channels == 3 else _GRAY) / 255, image.dtype)
    return jnp.where(inside, paint[None, None], image)
