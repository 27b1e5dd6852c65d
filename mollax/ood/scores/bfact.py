"""BFAct: activations pass a low-pass Butterworth gain before the head (Kong & Li 2023, ICCSIP 2022, pp. 115-129).

    x -> x / sqrt(1 + (x / c)^(2 N))

is x times the gain of a Butterworth filter of order N and cut-off c, with the activation in the place of the frequency:
small activations stay, one at the cut-off falls by sqrt(2). For N = 1 it rises towards c, a smooth ReAct; for N > 1 it
falls again, towards 0. We could read the paper's title and references, not its text: the formula is that of a public
reimplementation (class `BFact` of a comparison of activation shaping), and so are N = 2 and the percentile 95, its
settings where nothing is tuned. They are our reading, not known to be the authors'.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mollax import checks
from mollax.ood.head import Head
from mollax.ood.scores.inputs import Host, check_fit, dtype_of
from mollax.ood.scores.shaping import activation_percentile, require_head, shaped_energy

NEEDS = "features"


class State(NamedTuple):
    """What BFAct has to know.

    Attributes:
      cut_off: c, the activation whose gain is 1 / sqrt(2).
      order: N of the filter.
      head: the last layer.
    """

    cut_off: Float[Array, ""]
    order: Int[Array, ""]
    head: Head


def fit(
    features: Float[Host, "n d"],
    logits: Float[Host, "n k"],
    labels: Int[Host, " n"],
    head: Head | None,
    *,
    percentile: float = 95.0,
    order: int = 2,
) -> State:
    """The cut-off c: the percentile of all activations of all examples together.

    Raises:
      ValueError: for no head, a percentile outside of (0, 100] or one at which activations are not positive, an order
        below 1, or arrays that do not belong together.
    """
    check_fit(features, logits, labels, head)
    checks.positive_int("order", order)
    dtype = dtype_of(features)
    head = require_head(head, "BFAct", dtype)
    cut_off = activation_percentile(features, percentile)
    if cut_off <= 0:
        raise ValueError(
            f"BFAct needs a cut-off above 0, but percentile {percentile:g} of the activations is {cut_off:g}: raise it."
        )
    return State(jnp.asarray(cut_off, dtype), jnp.int32(order), head)


def shape(state: State, features: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """The features times the gain."""
    ratio = jnp.square(features / state.cut_off.astype(features.dtype))
    return features * jnp.reciprocal(jnp.sqrt(1 + ratio ** state.order.astype(features.dtype)))


def score(state: State, features: Float[Array, "n d"], logits: Float[Array, "n k"]) -> Float[Array, " n"]:
    """Energy of the head on the filtered features, high for OOD; the logits of the network itself are not used."""
    return shaped_energy(state.head, shape(state, features))
