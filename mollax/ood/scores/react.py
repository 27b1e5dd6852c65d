"""ReAct: activations are clipped at a percentile of ID activations before the head (Sun, Guo & Li 2021)."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mollax.ood.head import Head
from mollax.ood.scores.inputs import Host, check_fit, dtype_of
from mollax.ood.scores.shaping import activation_percentile, require_head, shaped_energy

NEEDS = "features"


class State(NamedTuple):
    """What ReAct has to know.

    Attributes:
      limit: activations above it become it.
      head: the last layer.
    """

    limit: Float[Array, ""]
    head: Head


def fit(
    features: Float[Host, "n d"],
    logits: Float[Host, "n k"],
    labels: Int[Host, " n"],
    head: Head | None,
    *,
    percentile: float = 90.0,
) -> State:
    """The limit c: one number, the percentile of all activations of all examples together (section 3 of the paper).

    Raises:
      ValueError: for no head, a percentile outside of (0, 100], or arrays that do not belong together.
    """
    check_fit(features, logits, labels, head)
    dtype = dtype_of(features)
    head = require_head(head, "ReAct", dtype)
    return State(jnp.asarray(activation_percentile(features, percentile), dtype), head)


def score(state: State, features: Float[Array, "n d"], logits: Float[Array, "n k"]) -> Float[Array, " n"]:
    """Energy of the head on min(features, c), high for OOD; the logits of the network itself are not used."""
    return shaped_energy(state.head, jnp.minimum(features, state.limit.astype(features.dtype)))
