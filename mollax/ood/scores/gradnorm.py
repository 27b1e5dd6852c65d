"""GradNorm: how far one example pulls the last layer away from uniform predictions (Huang, Geng & Li 2021).

With u uniform over K classes and p = softmax(logits / T), d KL(u || p) / d logits = (p - 1/K) / T, and the layer
multiplies features into logits, so that the gradient with respect to its kernel is an outer product and its L1 norm

    |d KL / d kernel|_1 = |features|_1 sum_j |p_j - 1/K| / T

(eq 9 of the paper). That is so of a linear layer alone: other heads are refused. It is high for ID. The authors' script
sums the cross-entropy over classes instead of averaging it: K times this, the same ranks.
"""

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
    """What GradNorm has to know.

    Attributes:
      temperature: T of the softmax.
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
    """The temperature; nothing is learned from training data, and of the head only that it is linear is used.

    Raises:
      ValueError: for no head, a temperature that is not positive, or arrays that do not belong together.
    """
    check_fit(features, logits, labels, head)
    if head is None:
        raise ValueError("GradNorm is the gradient of a linear last layer: give its Head(kernel, bias), not None.")
    checks.in_range("temperature", temperature, 0, open_low=True)
    return State(jnp.asarray(temperature, dtype_of(features)))


def score(state: State, features: Float[Array, "n d"], logits: Float[Array, "n k"]) -> Float[Array, " n"]:
    """Minus the L1 norm of the gradient, high for OOD.

    Raises:
      ValueError: for features and logits of different lengths.
    """
    checks.same_length(("features", "logits"), (features, logits))
    temperature = state.temperature.astype(logits.dtype)
    away = jnp.abs(jax.nn.softmax(logits / temperature, axis=-1) - 1 / logits.shape[-1]).sum(axis=-1)
    return -jnp.abs(features).sum(axis=-1) * away / temperature
