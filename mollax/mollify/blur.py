"""Blur mollification: heat flow in the cosine basis (eq 5)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mollax import checks
from mollax.image import dct
from mollax.mollify import inputs


def blur(image: Float[Array, "h w c"], scale: float | Float[Array, ""]) -> Float[Array, "h w c"]:
    """x_t = V exp(-tau Lambda) V^T x, tau = scale^2 / 2 (eq 5), as two small products A_H x A_W^T.

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
    blurred = (along_height @ image.reshape(height, width * channels)).reshape(height, width, channels)
    # One product over rows of pixels (height x channels, width) beats a batch of products over rows of
    # colors.
    planes = blurred.transpose(0, 2, 1).reshape(height * channels, width) @ along_width.T
    return planes.reshape(height, channels, width).transpose(0, 2, 1)


def blur_batch(images: Float[Array, "n h w c"], scales: Float[Array, " n"]) -> Float[Array, "n h w c"]:
    """`blur` of every image with its own scale, in the form that suits the platform.

    On CPU images go one by one, so that operators and products stay in cache; elsewhere as one batched
    product.
    """
    return jax.lax.platform_dependent(
        images,
        scales,
        cpu=lambda x, s: jax.lax.map(lambda pair: blur(*pair), (x, s)),
        default=jax.vmap(blur),
    )
