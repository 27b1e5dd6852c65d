"""The precision in which parameters and densities are computed."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def at_least_float32(array: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """In float32, or float64 as it is: half precision has three digits, too few for densities and angles."""
    return jnp.asarray(array) if array.dtype == jnp.float64 else jnp.asarray(array, jnp.float32)
