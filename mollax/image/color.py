"""Values of pixels: contrast, luminance, the 8-bit grid, standardization.

Images are (height, width, channels) floats in [0, 1] unless said; nothing clips but `quantize`, whose purpose
it is.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mollax import checks

ROUNDINGS = ("truncate", "round")

# ITU-R BT.601 luma, the weights of PIL's convert("L").
_LUMA = (0.299, 0.587, 0.114)

Statistics = Float[Array, " c"] | Float[np.ndarray, " c"] | tuple[float, ...] | list[float]


def require_float_image(name: str, image: Any) -> None:
    """Raises ValueError unless `image` is (height, width, channels), TypeError unless it holds floats."""
    checks.rank(name, image, 3, "(height, width, channels)")
    _require_float(name, image)


def _require_float(name: str, values: Any) -> None:
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise TypeError(f"{name} must be floats, not {values.dtype}. Divide 8-bit values by 255 to get [0, 1].")


def adjust_contrast(image: Float[Array, "h w c"], factor: Float[Array, ""] | float | int) -> Float[Array, "h w c"]:
    """Scales the distance to each channel's own image mean: (x - mean_c) factor + mean_c.

    `factor` 1 changes nothing, 0 leaves the mean color, above 1 strengthens; the result is not clipped. This
    is the "contrast" of CIFAR-10-C, whose mean is taken per channel (not over gray values as in PIL or
    torchvision).
    """
    require_float_image("image", image)
    mean = jnp.mean(image, axis=(0, 1), keepdims=True)
    return (image - mean) * jnp.asarray(factor, image.dtype) + mean


def to_gray(image: Float[Array, "h w c"]) -> Float[Array, "h w 1"]:
    """Returns the luminance 0.299 R + 0.587 G + 0.114 B (BT.601); one channel is returned as it is.

    Raises: ValueError unless there are 1 or 3 channels.
    """
    require_float_image("image", image)
    channels = image.shape[-1]
    if channels == 1:
        return image
    if channels != 3:
        raise ValueError(f"image must have 1 or 3 channels to become gray; got shape {image.shape}.")
    red, green, blue = (weight * image[..., i : i + 1] for i, weight in enumerate(_LUMA))
    return red + green + blue


def quantize(values: Float[Array, "*shape"], *, rounding: str = "truncate") -> Float[Array, "*shape"]:
    """Puts values in [0, 1] on the 8-bit grid {0, 1/255, ..., 1}, as storing and loading an image would.

    "truncate" is floor(255 x) / 255, what `np.uint8(255 * x)` in the reference corruption code does; "round"
    takes the nearest level. Values outside [0, 1] are clipped first. Grid values stay where they are. The
    gradient is zero.

    Raises: ValueError for an unknown `rounding`, TypeError for integers.
    """
    _require_float("values", values)
    checks.one_of("rounding", rounding, ROUNDINGS)
    levels = jnp.clip(values, 0, 1) * 255
    return (jnp.floor(levels) if rounding == "truncate" else jnp.round(levels)) / 255


def standardize(images: Float[Array, "*b c"], mean: Statistics, std: Statistics) -> Float[Array, "*b c"]:
    """Returns (x - mean) / std per channel, the last axis; mean and std are those of the training split.

    Raises: ValueError unless there are one mean and one positive deviation for each channel; TypeError for
    integers.
    """
    mean, std = _per_channel("mean", mean, images), _per_channel("std", std, images)
    return (images - mean) / std


def unstandardize(images: Float[Array, "*b c"], mean: Statistics, std: Statistics) -> Float[Array, "*b c"]:
    """Returns x std + mean per channel, which undoes `standardize`; not clipped.

    Raises: ValueError unless there are one mean and one positive deviation for each channel; TypeError for
    integers.
    """
    mean, std = _per_channel("mean", mean, images), _per_channel("std", std, images)
    return images * std + mean


def _per_channel(name: str, value: Statistics, images: Float[Array, "*b c"]) -> Float[Array, "*ones c"]:
    """Shapes per-channel numbers so that they broadcast against `images`, in its dtype."""
    _require_float("images", images)
    channels = images.shape[-1]
    array = jnp.asarray(value, images.dtype)
    if array.shape != (channels,):
        raise ValueError(f"{name} must hold one number a channel, {channels} here; got shape {array.shape}.")
    # Values on the device may be traced; those on the host can be looked at.
    if name == "std" and not isinstance(value, jax.Array) and min(value) <= 0:
        raise ValueError(f"std must be positive in every channel; got {tuple(value)}. Is a channel constant?")
    return array.reshape((1,) * (images.ndim - 1) + (channels,))
