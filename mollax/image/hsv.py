"""Hue, saturation and value of RGB colors, as in `colorsys` and `skimage.color`.

Colors are on the last axis, in [0, 1], and so are hue (0 red, 1/3 green, 2/3 blue), saturation and value.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

# Where red, green and blue stand against the hue, in sixths of a turn.
_OFFSETS = (5.0, 3.0, 1.0)


def rgb_to_hsv(colors: Float[Array, "*b 3"]) -> Float[Array, "*b 3"]:
    """Hue, saturation and value of colors: v = max, s = (max - min) / max, and h in [0, 1).

    With d = max - min, 6 h is (g - b) / d where red is the largest, 2 + (b - r) / d where green is and
    4 + (r - g) / d where blue is, modulo 6. Grays have h = s = 0.

    Raises: ValueError unless the last axis holds 3 channels, TypeError for integers.
    """
    _require_three("colors", colors)
    # Channel by channel: XLA recomputes producers for each output of a reduction over an axis of 3.
    red, green, blue = (colors[..., i] for i in range(3))
    value = jnp.maximum(jnp.maximum(red, green), blue)
    spread = value - jnp.minimum(jnp.minimum(red, green), blue)
    gray = spread == 0
    over = 1 / jnp.where(gray, 1, spread)
    by_green, by_blue = 2 + (blue - red) * over, 4 + (red - green) * over
    sixths = jnp.where(red == value, (green - blue) * over, jnp.where(green == value, by_green, by_blue))
    hue = jnp.where(sixths < 0, sixths + 6, sixths) / 6
    # A hue a rounding below zero would become 1, which is 0 again.
    hue = jnp.where(gray | (hue >= 1), 0, hue)
    saturation = jnp.where(gray, 0, spread / jnp.where(value == 0, 1, value))
    return jnp.stack([hue, saturation, value], axis=-1)


def hsv_to_rgb(colors: Float[Array, "*b 3"]) -> Float[Array, "*b 3"]:
    """RGB of hue, saturation and value, each in [0, 1]: channel = v - v s max(0, min(k, 4 - k, 1)).

    k = (n + 6 h) mod 6 with n = 5, 3, 1 for red, green, blue: the six cases of `colorsys.hsv_to_rgb` in one.

    Raises: ValueError unless the last axis holds 3 channels, TypeError for integers.
    """
    _require_three("colors", colors)
    sixths, chroma, value = 6 * colors[..., 0], colors[..., 1] * colors[..., 2], colors[..., 2]

    def channel(offset: float) -> Float[Array, "*b"]:
        k = sixths + offset
        k = jnp.where(k >= 6, k - 6, k)
        return value - chroma * jnp.clip(jnp.minimum(k, 4 - k), 0, 1)

    return jnp.stack([channel(offset) for offset in _OFFSETS], axis=-1)


def _require_three(name: str, colors: Any) -> None:
    if not jnp.issubdtype(colors.dtype, jnp.floating):
        raise TypeError(f"{name} must be floats, not {colors.dtype}. Divide 8-bit values by 255 to get [0, 1].")
    if not colors.ndim or colors.shape[-1] != 3:
        raise ValueError(f"{name} must have 3 channels on the last axis; got shape {colors.shape}.")
