"""The noises: Gaussian, shot, impulse and speckle, drawn for each pixel and channel by itself.

Hendrycks and Dietterich (ICLR 2019). Images are (height, width, channels) floats in [0, 1] on the 8-bit grid; the
results are neither clipped nor put back on the grid. The constants after the image are Python numbers, static
under `jit`: one row of `mollax.corrupt.severity` each.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mollax import checks
from mollax.image import poisson, random
from mollax.image.color import require_float_image

_LEVELS = 256
# Where n / photons is a gray level, the product of float32 n and 1 / photons may fall short of it, and truncation
# would make that a whole level. Division is no way out: compilers turn it into this product.
_UP = 2.0**-22


def gaussian_noise(key: PRNGKeyArray, image: Float[Array, "h w c"], sd: float) -> Float[Array, "h w c"]:
    """Returns x + sd e, e standard normal.

    Args:
      key: what makes e random.
      image: in [0, 1].
      sd: standard deviation in units of the image's range; >= 0.

    Raises:
      ValueError: for a wrong rank or a negative `sd`.
      TypeError: for an integer image.
    """
    require_float_image("image", image)
    checks.in_range("sd", sd, 0.0)
    return image + float(sd) * random.normal(key, image.shape).astype(image.dtype)


def shot_noise(key: PRNGKeyArray, image: Float[Array, "h w c"], photons: float) -> Float[Array, "h w c"]:
    """Returns Poisson(photons x) / photons: light that arrives in grains, from 0 on without an upper end.

    Args:
      key: what makes the counts random.
      image: in [0, 1]; values between the 256 gray levels count as the nearest level.
      photons: expected number at white; in (0, 10,000]. Fewer photons, more noise.

    Raises:
      ValueError: for a wrong rank or `photons` outside its range.
      TypeError: for an integer image.
    """
    require_float_image("image", image)
    checks.in_range("photons", photons, 0.0, poisson.MOST, open_low=True)
    levels = poisson.table(tuple(level / (_LEVELS - 1) * photons for level in range(_LEVELS)))
    gray = jnp.round(jnp.clip(image, 0, 1) * (_LEVELS - 1)).astype(jnp.int32)
    counts = poisson.sample(key, gray, levels).astype(image.dtype)
    return counts * ((1 + _UP) / photons)


def impulse_noise(key: PRNGKeyArray, image: Float[Array, "h w c"], amount: float) -> Float[Array, "h w c"]:
    """Returns x with a share `amount` of its values replaced by 0 or 1, half of them each.

    Values are struck one by one: a pixel rarely loses all of its channels at once.

    Args:
      key: what makes the places and their values random.
      image: in [0, 1].
      amount: probability that a value is replaced; in [0, 1].

    Raises:
      ValueError: for a wrong rank or an `amount` outside [0, 1].
      TypeError: for an integer image.
    """
    require_float_image("image", image)
    checks.in_range("amount", amount, 0.0, 1.0)
    dice = random.uniform(key, image.shape)
    black, white = jnp.zeros_like(image), jnp.ones_like(image)
    return jnp.where(dice < amount / 2, black, jnp.where(dice < amount, white, image))


def speckle_noise(key: PRNGKeyArray, image: Float[Array, "h w c"], sd: float) -> Float[Array, "h w c"]:
    """Returns x + x sd e, e standard normal: noise in proportion to the light.

    Args:
      key: what makes e random.
      image: in [0, 1].
      sd: standard deviation at white; >= 0.

    Raises:
      ValueError: for a wrong rank or a negative `sd`.
      TypeError: for an integer image.
    """
    require_float_image("image", image)
    checks.in_range("sd", sd, 0.0)
    return image + image * (float(sd) * random.normal(key, image.shape).astype(image.dtype))
