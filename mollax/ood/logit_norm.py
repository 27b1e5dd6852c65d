"""LogitNorm (Wei et al. 2022): cross-entropy that cannot be lowered by longer logits."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from mollax import checks


def logit_norm(logits: Float[Array, "*n k"], *, temperature: float = 0.04) -> Float[Array, "*n k"]:
    """f / ((|f| + 1e-7) tau) with the Euclidean norm: logits of length 1 / tau, to put into the cross-entropy.

    For training alone: predictions and scores use the network's logits, whose ranks are the same. The loss cannot fall
    below log(1 + (K - 1) exp(-sqrt(K / (K - 1)) / tau)), so a tau near 1 keeps a network of many classes from fitting.

    Args:
      logits: f, one row an example.
      temperature: tau; the authors' is 0.04 for CIFAR-10 and networks as theirs, 0.01 in the README of their code.

    Raises:
      ValueError: for a temperature not above 0.
    """
    checks.in_range("temperature", temperature, 0.0, open_low=True)
    squares = jnp.sum(jnp.square(logits), axis=-1, keepdims=True)
    # The square root's slope at 0 is infinite; its value there is 0, and the slope of f / (0 + 1e-7) is finite.
    zero = squares == 0
    length = jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, squares)))
    return logits / ((length + 1e-7) * temperature)
