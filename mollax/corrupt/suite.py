"""Any corruption by name and severity, for one image or a batch."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from mollax import checks
from mollax.corrupt import severity as severities
from mollax.corrupt.blur import defocus_blur, gaussian_blur, glass_blur, motion_blur, zoom_blur
from mollax.corrupt.digital import brightness, contrast, elastic_transform, jpeg_compression, pixelate, saturate
from mollax.corrupt.fog import fog
from mollax.corrupt.frost import frost
from mollax.corrupt.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise
from mollax.corrupt.snow import snow
from mollax.corrupt.spatter import spatter
from mollax.image.color import quantize, require_float_image

SMALLEST_SIDE = 8

# (key, image, *constants) -> image, and (image, *constants) -> image.
_RANDOM: dict[str, Callable] = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "glass_blur": glass_blur,
    "motion_blur": motion_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "elastic_transform": elastic_transform,
    "speckle_noise": speckle_noise,
    "spatter": spatter,
}
_DETERMINISTIC: dict[str, Callable] = {
    "defocus_blur": defocus_blur,
    "zoom_blur": zoom_blur,
    "brightness": brightness,
    "contrast": contrast,
    "pixelate": pixelate,
    "jpeg_compression": jpeg_compression,
    "gaussian_blur": gaussian_blur,
    "saturate": saturate,
}


def corrupt(
    key: PRNGKeyArray,
    image: Float[Array, "h w c"],
    name: str,
    severity: int,
    *,
    rounding: str = "truncate",
) -> Float[Array, "h w c"]:
    """One of the 19 corruptions, with the published constants for the nearest image size.

    As the published generators do, the image is put on the 8-bit grid, changed, clipped to [0, 1] and put on the grid
    again, there by truncation. Frost textures are drawn by us: numbers with frost differ from those on published sets.

    Args:
      key: of what is random (`corrupt.RANDOM_NAMES`); not used by the others.
      image: gray or color in [0, 1], at least 8 pixels a side. Rounded to the grid if it is not on it.
      name: one of `NAMES` or `EXTRA_NAMES`; static under `jit`.
      severity: 1 to 5; static under `jit`.
      rounding: of the result, "truncate" (as published) or "round".

    Returns:
      An image in [0, 1] on the grid of k / 255.

    Raises:
      ValueError: for an unknown name or severity, a shape that is not (h, w, 1 or 3) with sides of 8 or more, and,
        outside `jit`, values that are not in [0, 1].
      TypeError: for an image of integers.
    """
    require_float_image("image", image)
    height, width, channels = image.shape
    if min(height, width) < SMALLEST_SIDE or channels not in (1, 3):
        raise ValueError(
            f"Corruptions take gray or color images of at least {SMALLEST_SIDE}x{SMALLEST_SIDE} pixels; got shape "
            f"{image.shape}."
        )
    arguments = severities.constants(name, severity, height, width)
    _require_unit_range(image)
    on_grid = quantize(image, rounding="round")
    changed = _RANDOM[name](key, on_grid, *arguments) if name in _RANDOM else _DETERMINISTIC[name](on_grid, *arguments)
    return quantize(jnp.clip(changed, 0.0, 1.0), rounding=rounding)


def corrupt_batch(
    key: PRNGKeyArray,
    images: Float[Array, "n h w c"],
    name: str,
    severity: int,
    *,
    rounding: str = "truncate",
    first_index: int | Integer[Array, ""] = 0,
) -> Float[Array, "n h w c"]:
    """`corrupt` of every image; the draws of an image depend on the key and first_index + its position alone.

    Raises:
      As `corrupt`; ValueError for images without a leading axis.
    """
    checks.rank("images", images, 4, "(n, height, width, channels)")
    _require_unit_range(images)
    index = jnp.asarray(first_index, jnp.uint32) + jnp.arange(len(images), dtype=jnp.uint32)

    def one(i: jax.Array, image: jax.Array) -> jax.Array:
        return corrupt(jax.random.fold_in(key, i), image, name, severity, rounding=rounding)

    return jax.vmap(one)(index, images)


def _require_unit_range(image: Float[Array, "*shape"]) -> None:
    """Raises ValueError for values outside [0, 1], NaN among them, where values are known."""
    if isinstance(image, jax.core.Tracer):
        return
    values = np.asarray(image)
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"Corruptions take images in [0, 1]; got values from {values.min():g} to {values.max():g}. Divide 8-bit "
            "pixels by 255; standardize afterwards."
        )


RANDOM_NAMES = tuple(_RANDOM)
