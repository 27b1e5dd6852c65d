"""How much of an image is left at a temperature t in [0, 1]: noise amplitudes, SNR, blur scale (eq 4, 6)."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from mollax import checks

MIN_BLUR_SCALE = 0.3


def noise_amplitudes(t: Float[Array, "*n"]) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """alpha_t = cos(pi t / 2) and sigma_t = sin(pi t / 2), the variance-preserving cosine schedule (eq 4)."""
    angle = t * (math.pi / 2)
    return jnp.cos(angle), jnp.sin(angle)


def snr(t: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Signal-to-noise ratio alpha_t^2 / sigma_t^2 of a standardized image; infinite at t = 0, 0 at t = 1."""
    # Each end from its own side: 1 - t would lose the digits of a small t, and pi / 2 rounded has a tangent.
    early = 1.0 / jnp.tan(t * (math.pi / 2)) ** 2
    late = jnp.tan((1.0 - t) * (math.pi / 2)) ** 2
    return jnp.where(t < 0.5, early, late)


def blur_scale(t: Float[Array, "*n"], width: int, *, min_scale: float = MIN_BLUR_SCALE) -> Float[Array, "*n"]:
    """sigma_B(t) = exp((1 - t) log min_scale + t log width) in pixels (eq 6).

    At t = 0 the blur is 0.3 pixels, not the identity; at t = 1 it is the image's width.

    Args:
      t: temperature in [0, 1].
      width: image width in pixels.
      min_scale: scale at t = 0, in pixels.

    Raises:
      ValueError: for a width below 1 or a scale that is not positive.
    """
    checks.positive_int("width", width)
    checks.in_range("min_scale", min_scale, 0.0, open_low=True)
    return jnp.exp((1.0 - t) * math.log(min_scale) + t * math.log(width))
