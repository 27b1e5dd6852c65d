"""What the scores that reshape activations share: the head behind them and the energy it gives."""

from __future__ import annotations

import jax
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from mollax import checks
from mollax.ood.head import Head, apply_head
from mollax.ood.scores.inputs import Host


def shaped_energy(head: Head, features: Float[Array, "n d"]) -> Float[Array, " n"]:
    """Energy -log sum exp (features @ kernel + bias) of changed features (Liu et al. 2020, T = 1), high for OOD."""
    return -jax.nn.logsumexp(apply_head(head, features), axis=-1)


def require_head(head: Head | None, score: str, dtype: DTypeLike) -> Head:
    """The head in the dtype of the features. Raises ValueError naming the score if there is none."""
    if head is None:
        raise ValueError(f"{score} sends changed features through the last layer: give its Head, not None.")
    kernel, bias = (jax.numpy.asarray(leaf, dtype) for leaf in head)
    return Head(kernel, bias)


def activation_percentile(features: Host, percentile: float) -> float:
    """The percentile (linear interpolation, NumPy's default) of all activations together: n d numbers, not per unit.

    Raises:
      ValueError: for a percentile outside of (0, 100].
    """
    checks.in_range("percentile", percentile, 0, 100, open_low=True)
    return float(np.percentile(np.asarray(features), percentile))
