"""The color operations of the augmentation policies, with PIL's meaning on the 8-bit scale.

Images are (height, width, channels) floats in [0, 1] with 1 or 3 channels, and so are the results. On images that hold
8-bit values each operation is PIL's (`ImageOps`, `ImageEnhance`) to less than one gray level: PIL cuts
fractions off, here they stay. What depends on counting levels (equalize, posterize, the threshold of solarize, the ends
of auto_contrast) rounds to the nearest level first, so that rounding errors of an earlier warp do not count as
contrast.

The geometric operations are in `mollax.augment.warps`. Gradients ignore the rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mollax import checks
from mollax.augment.warps import GEOMETRIC
from mollax.image.color import require_float_image

Scalar = Float[Array, ""] | float | int

ENHANCEMENTS = ("brightness", "color", "contrast", "sharpness")
# Operations whose magnitude has a sign, drawn with equal chances.
SIGNED = (*GEOMETRIC, *ENHANCEMENTS)


def require_image(image: Any) -> None:
    """Raises ValueError unless `image` is (height, width, 1 or 3), TypeError unless it holds floats."""
    require_float_image("image", image)
    if image.shape[-1] not in (1, 3):
        raise ValueError(f"image must have 1 or 3 channels; got shape {image.shape}.")


def auto_contrast(image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
    """Stretches each channel so that its darkest level becomes 0 and its brightest 1; a constant one stays.

    Raises: ValueError for a wrong shape, TypeError for an integer image.
    """
    require_image(image)
    levels = jnp.round(image * 255)
    low, high = (f(levels, axis=(0, 1), keepdims=True) for f in (jnp.min, jnp.max))
    stretched = jnp.clip((image * 255 - low) / jnp.maximum(high - low, 1), 0, 1)
    return jnp.where(high > low, stretched, image)


def equalize(image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
    """Spreads the levels of each channel so that all are about equally frequent.

    Level v becomes (s // 2 + number of pixels below v) // s, at most 255, with s = (pixels - pixels of the brightest
    level) // 255; where s is 0 the channel stays, on the 8-bit grid.

    Raises: ValueError for a wrong shape, TypeError for an integer image.
    """
    require_image(image)
    levels = _levels(image)
    # A loop over channels: XLA:CPU would work out the new level again for every pixel that looks it up.
    table = jax.lax.map(_spread, _histogram(levels))
    place = levels + 256 * jnp.arange(image.shape[-1], dtype=jnp.int32)[None, None]
    return table.reshape(-1).at[place].get(mode="promise_in_bounds").astype(image.dtype) / 255


def invert(image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
    """1 - x, the negative.

    Raises: ValueError for a wrong shape, TypeError for an integer image.
    """
    require_image(image)
    return 1 - image


def posterize(image: Float[Array, "h w c"], bits: Int[Array, ""] | int) -> Float[Array, "h w c"]:
    """Keeps the `bits` highest bits of each 8-bit value, 8 (the 8-bit grid) to 0 (black).

    Raises: ValueError for bits outside [0, 8] or a wrong shape, TypeError for an integer image.
    """
    require_image(image)
    if isinstance(bits, int):
        checks.in_range("bits", bits, 0, 8)
    lost = 8 - jnp.asarray(bits, jnp.int32)
    kept = jnp.left_shift(jnp.right_shift(_levels(image), jnp.full(image.shape, lost)), jnp.full(image.shape, lost))
    return kept.astype(image.dtype) / 255


def solarize(image: Float[Array, "h w c"], threshold: Scalar) -> Float[Array, "h w c"]:
    """Inverts the values at or above `threshold` in [0, 1]: 0 inverts all, 1 still turns white into black.

    Raises: ValueError for a threshold outside [0, 1] or a wrong shape, TypeError for an integer image.
    """
    require_image(image)
    threshold = _scalar("threshold", threshold, image, 1.0)
    # A whole threshold such as 17 / 255 must not lie above level 17 by a rounding error.
    return jnp.where(jnp.round(image * 255) >= threshold * 255 - 1e-3, 1 - image, image)


def brightness(image: Float[Array, "h w c"], factor: Scalar) -> Float[Array, "h w c"]:
    """factor x, clipped to [0, 1]: 0 is black, 1 changes nothing.

    Raises: ValueError for a negative factor or a wrong shape, TypeError for an integer image.
    """
    require_image(image)
    return jnp.clip(image * _scalar("factor", factor, image), 0, 1)


def color(image: Float[Array, "h w c"], factor: Scalar) -> Float[Array, "h w c"]:
    """Saturation: the gray image (BT.601, on the 8-bit grid) plus `factor` times the distance from it, clipped.

    Factor 0 is gray, 1 changes nothing; a gray image stays.

    Raises: ValueError for a negative factor or a wrong shape, TypeError for an integer image.
    """
    require_image(image)
    factor = _scalar("factor", factor, image)
    if image.shape[-1] == 1:
        return image
    gray = _gray_levels(image).astype(image.dtype) / 255
    return _blend(jnp.broadcast_to(gray, image.shape), image, factor)


def contrast(image: Float[Array, "h w c"], factor: Scalar) -> Float[Array, "h w c"]:
    """The mean gray level of the image, rounded, plus `factor` times the distance from it, clipped.

    Factor 0 is uniform gray, 1 changes nothing. (`mollax.image.adjust_contrast` is the other contrast, per channel.)

    Raises: ValueError for a negative factor or a wrong shape, TypeError for an integer image.
    """
    require_image(image)
    factor = _scalar("factor", factor, image)
    # In whole numbers: rounding half-way means the other way would cost a second level.
    pixels = image.shape[0] * image.shape[1]
    mean = (jnp.sum(_gray_levels(image)) + pixels // 2) // pixels
    return _blend(jnp.full_like(image, mean.astype(image.dtype) / 255), image, factor)


def sharpness(image: Float[Array, "h w c"], factor: Scalar) -> Float[Array, "h w c"]:
    """The smoothed image plus `factor` times the distance from it, clipped; the outermost pixels stay.

    Smoothed is the mean over 3x3 pixels with weight 5 in the middle, rounded to 8 bits. Factor 0 smooths, 1 changes
    nothing, 2 sharpens. An image with a side below three pixels stays.

    Raises: ValueError for a negative factor or a wrong shape, TypeError for an integer image.
    """
    require_image(image)
    factor = _scalar("factor", factor, image)
    height, width, _ = image.shape
    if min(height, width) < 3:
        return image
    # The square is separable but for its middle: two sums of three, plus four times the pixel.
    across = image[:, :-2] + image[:, 1:-1] + image[:, 2:]
    inner = image[1:-1, 1:-1]
    smooth = (across[:-2] + across[1:-1] + across[2:] + 4 * inner) / 13
    smooth = jnp.floor(smooth * 255 + 0.5) / 255
    return image.at[1:-1, 1:-1].set(_blend(smooth, inner, factor))


def _levels(image: Float[Array, "h w c"]) -> Int[Array, "h w c"]:
    """The nearest 8-bit values."""
    return jnp.round(jnp.clip(image, 0, 1) * 255).astype(jnp.int32)


def _spread(counts: Int[Array, " 256"]) -> Int[Array, " 256"]:
    """What `equalize` turns each level into, given how often each occurs."""
    level = jnp.arange(256, dtype=jnp.int32)
    brightest = counts[jnp.max(jnp.where(counts > 0, level, 0))]
    step = (jnp.sum(counts) - brightest) // 255
    below = jnp.cumsum(counts) - counts
    return jnp.where(step > 0, jnp.minimum((step // 2 + below) // jnp.maximum(step, 1), 255), level)


def _histogram(levels: Int[Array, "h w c"]) -> Int[Array, "c 256"]:
    """How often each of 256 levels occurs in each channel."""
    # A CPU counts one by one, seven times faster than it multiplies; elsewhere increments would wait for each other.
    return jax.lax.platform_dependent(levels, cpu=_count_by_scatter, default=_count_by_product)


def _count_by_scatter(levels: Int[Array, "h w c"]) -> Int[Array, "c 256"]:
    channels = levels.shape[-1]
    place = levels + 256 * jnp.arange(channels, dtype=jnp.int32)[None, None]
    return jnp.zeros(256 * channels, jnp.int32).at[place.reshape(-1)].add(1).reshape(channels, 256)


def _count_by_product(levels: Int[Array, "h w c"]) -> Int[Array, "c 256"]:
    """A product of the one-hot codes of the high and the low four bits.

    That is 32 rather than 256 comparisons a pixel, and exact in any precision with float32 sums (below 2^24 pixels).
    """
    levels = jnp.moveaxis(levels.reshape(-1, levels.shape[-1]), -1, 0)
    digits = jnp.arange(16, dtype=jnp.int32)[None, :, None]
    high, low = (jnp.equal(part[:, None], digits).astype(jnp.float32) for part in (levels // 16, levels % 16))
    counts = jnp.einsum("cin,cjn->cij", high, low, preferred_element_type=jnp.float32)
    return counts.reshape(len(levels), 256).astype(jnp.int32)


def _gray_levels(image: Float[Array, "h w c"]) -> Int[Array, "h w 1"]:
    """Luminance 0.299 R + 0.587 G + 0.114 B in whole levels, with the 16-bit weights of PIL's "L"."""
    levels = _levels(image)
    if image.shape[-1] == 1:
        return levels
    red, green, blue = (levels[..., i : i + 1] for i in range(3))
    return (19595 * red + 38470 * green + 7471 * blue + 2**15) // 2**16


def _blend(base: Float[Array, "*s"], image: Float[Array, "*s"], factor: Float[Array, ""]) -> Float[Array, "*s"]:
    return jnp.clip(base + factor * (image - base), 0, 1)


def _scalar(name: str, value: Scalar, image: jax.Array, high: float | None = None) -> Float[Array, ""]:
    """A number in the image's dtype; one that is known now must lie in [0, high]."""
    if isinstance(value, (int, float)):
        checks.in_range(name, value, 0.0, high)
    return jnp.asarray(value, image.dtype)


# What a policy can apply: functions of (image, magnitude); factors are 1 + magnitude, as policies count.
COLOR: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "auto_contrast": lambda image, m: auto_contrast(image),
    "equalize": lambda image, m: equalize(image),
    "invert": lambda image, m: invert(image),
    "posterize": lambda image, m: posterize(image, m.astype(jnp.int32)),
    "solarize": solarize,
    "brightness": lambda image, m: brightness(image, 1 + m),
    "color": lambda image, m: color(image, 1 + m),
    "contrast": lambda image, m: contrast(image, 1 + m),
    "sharpness": lambda image, m: sharpness(image, 1 + m),
}
OPERATIONS = ("identity", *GEOMETRIC, *COLOR)
