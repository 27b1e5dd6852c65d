"""MSP: how little probability is on the predicted class (Hendrycks and Gimpel 2017)."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mollax import checks
from mollax.ood.head import Head
from mollax.ood.scores.inputs import Host, check_fit, dtype_of

NEEDS = "features"


class State(NamedTuple):
    """What MSP has to know.

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
      temperature: above 0; 1 is the authors' score, a large one ODIN's without its perturbation.

    Raises:
      ValueError: for a temperature that is not positive, or arrays that do not belong together.
    """
    check_fit(features, logits, labels, head)
    checks.in_range("temperature", temperature, 0, open_low=True)
    return State(jnp.asarray(temperature, dtype_of(logits)))


def score(state: State, features: Float[Array, "n d"], logits: Float[Array, "n k"]) -> Float[Array, " n"]:
    """1 - max_c softmax(f / T)_c, in [0, 1 - 1/k], high for OOD.

    It is summed from the other classes' probabilities, s / (1 + s) with s = sum_{c other} exp((f_c - max f) / T): the
    difference 1 - p would be 0 for all sure predictions and lose their order.

    Raises:
      ValueError: for features and logits of different lengths.
    """
    checks.same_length(("features", "logits"), (features, logits))
    others = jnp.arange(logits.shape[1])[None, :] != jnp.argmax(logits, axis=1)[:, None]
    below = (logits - logits.max(axis=1, keepdims=True)) / state.temperature.astype(logits.dtype)
    rest = jnp.where(others, jnp.exp(below), 0.0).sum(axis=1)
    return rest / (1 + rest)
