"""Checks that the functions of this package share."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

IMAGE_ADVICE = "Divide 8-bit images by 255 and standardize them first."
LABEL_ADVICE = "Turn class indices into weights first, with jax.nn.one_hot(labels, classes)."


def floating(name: str, array: Any, advice: str) -> None:
    """Raises TypeError unless `array` holds floating-point numbers; `advice` says how to get them.

    Integers would pass through silently: a blur scale cast to uint8 is a whole number of pixels.
    """
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{name} must hold floating-point numbers; got {array.dtype}. {advice}")
