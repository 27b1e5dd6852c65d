"""Blur mollification: heat flow in the cosine basis (eq 5)."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mollax import checks
from mollax.image import dct
from mollax.mollify import inputs

GROUP_VALUES = 8 * 32 * 32 * 3  # pixel values that CPUs blur at a time: small images in groups, large ones singly


def blur(image: Float[Array, "h w c"], scale: float | Float[Array, ""]) -> Float[Array, "h w c"]:
    """x_t = V exp(-tau Lambda) V^T x, tau = scale^2 / 2 (eq 5), as two small products A_H (x A_W^T).

    Keeps each channel's mean and never adds energy; boundaries are reflecting.

    Args:
      image: any range.
      scale: standard deviation in pixels (`blur_scale` gives it for a temperature); 0 is the identity.

    Raises:
      ValueError: if `image` does not have three axes.
      TypeError: if `image` does not hold floating-point numbers.
    """
    checks.rank("image", image, 3, "(height, width, channels)")
    inputs.floating("image", image, inputs.IMAGE_ADVICE)
    height, width, channels = image.shape
    scale = jnp.asarray(scale, image.dtype)
    along_width = dct.heat_operator(scale, width)
    along_height = along_width if height == width else dct.heat_operator(scale, height)
    # With colors before columns both products are plain ones; as pixels lie, one would be a batch of rows of colors.
    rows = image.transpose(0, 2, 1).reshape(height * channels, width)
    blurred = along_height @ (rows @ along_width.T).reshape(height, channels * width)
    return blurred.reshape(height, channels, width).transpose(0, 2, 1)


def blur_batch(images: Float[Array, "n h w c"], scales: Float[Array, " n"]) -> Float[Array, "n h w c"]:
    """`blur` of every image with its own scale, in the form that suits the platform.

    On CPU images go in small groups, so that operators and products stay in cache; elsewhere as one batched product.
    """

    def in_groups(images: jax.Array, scales: jax.Array) -> jax.Array:
        group = GROUP_VALUES // max(1, math.prod(images.shape[1:]))
        return jax.lax.map(lambda pair: blur(*pair), (images, scales), batch_size=group if group > 1 else None)

    return jax.lax.platform_dependent(images, scales, cpu=in_groups, default=jax.vmap(blur))
