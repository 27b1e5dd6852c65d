"""Noise mollification (eq 4), on standardized images."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mollax import checks
from mollax.image import random
from mollax.mollify import inputs
from mollax.mollify.schedule import noise_amplitudes


def noise(
    key: PRNGKeyArray, image: Float[Array, "h w c"], t: float | Float[Array, ""], *, generator: str = "hash"
) -> Float[Array, "h w c"]:
    """x_t = cos(pi t/2) x + sin(pi t/2) eps, eps ~ N(0, I) (eq 4).

    Random: eps, from `key`.

    Args:
      key: what makes eps random.
      image: standardized (zero mean, unit variance over the training set), else "equal signal and noise" at
        t = 1/2 does not hold.
      t: temperature in [0, 1]; 0 returns the image, 1 pure noise.
      generator: of the normals, "hash" or "threefry" (`mollax.image.random`).

    Raises:
      ValueError: if `image` does not have three axes, or for an unknown generator.
      TypeError: if `image` does not hold floating-point numbers.
    """
    checks.rank("image", image, 3, "(height, width, channels)")
    inputs.floating("image", image, inputs.IMAGE_ADVICE)
    signal, sigma = noise_amplitudes(jnp.asarray(t, image.dtype))
    return signal * image + sigma * random.normal(key, image.shape, generator=generator).astype(image.dtype)
