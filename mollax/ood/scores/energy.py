"""Energy: minus the log-sum-exp of the logits (Liu et al. 2020, eq 4)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mollax import checks
from mollax.ood.head import Head
from mollax.ood.scores.inputs import Host, check_fit, dtype_of

NEEDS = "features"


class State(NamedTuple):
    """What the energy has to know.

    Attributes:
      temperature: T, that logits are divided by.
    """

    temperature: Float[Array, ""]


def fit(
    features: Float[Host, "n d"],
    logits: Float[Host, "n k"],
    labels: Int[Host, " n"],
    head: Head | None,
    *,
    temperature: float = 1.0,
) -> State:
    """Keeps the temperature; nothing is learned.

    Args:
      features, logits, labels: of ID training data; only checked.
      head: not used.
      temperature: above 0; the authors recommend 1. As T -> 0 the score becomes max-logit.

    Raises:
      ValueError: for a temperature that is not positive, or arrays that do not belong together.
    """
    check_fit(features, logits, labels, head)
    checks.in_range("temperature", temperature, 0, open_low=True)
    return State(jnp.asarray(temperature, dtype_of(logits)))


def score(state: State, features: Float[Array, "n d"], logits: Float[Array, "n k"]) -> Float[Array, " n"]:
    """E(f) = -T log sum_c exp(f_c / T), the free energy, high for OOD; in the logits' unit, of any sign.

    Raises:
      ValueError: for features and logits of different lengths.
    """
    checks.same_length(("features", "logits"), (features, logits))
    temperature = state.temperature.astype(logits.dtype)
    return -temperature * jax.nn.logsumexp(logits / temperature, axis=1)
