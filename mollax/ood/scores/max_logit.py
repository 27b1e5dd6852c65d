"""Max-logit: minus the largest logit (Hendrycks et al. 2022, "Scaling out-of-distribution detection")."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Array, Float, Int

from mollax import checks
from mollax.ood.head import Head
from mollax.ood.scores.inputs import Host, check_fit

NEEDS = "features"


class State(NamedTuple):
    """Empty: the score has nothing to know."""


def fit(features: Float[Host, "n d"], logits: Float[Host, "n k"], labels: Int[Host, " n"], head: Head | None) -> State:
    """Nothing is learned; the arrays of ID training data are only checked.

    Raises:
      ValueError: for arrays that do not belong together.
    """
    check_fit(features, logits, labels, head)
    return State()


def score(state: State, features: Float[Array, "n d"], logits: Float[Array, "n k"]) -> Float[Array, " n"]:
    """-max_c f_c, high for OOD.

    Raises:
      ValueError: for features and logits of different lengths.
    """
    checks.same_length(("features", "logits"), (features, logits))
    return -logits.max(axis=1)
