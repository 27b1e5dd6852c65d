"""The score of TV-OOD and its variants, from the free outputs of a critic (arXiv 2601.15867; METHODS section 3).

In mollax a score is high for OOD; the paper's S(x) = T(x, y^), y^ the classifier's prediction, is high for ID, so its
sign is turned. In float32 T = tanh(v) / 2 is +-1/2 from |v| about 10, and ties ruin a ranking: scores are increasing
functions of T's that are written in v.

- "prediction", the paper's: -v(x, y^), ordered as -T(x, y^);
- "extra": v(x, K+1), ordered as T(x, K+1), the critic's belief in the extra label (minus the -T(x, K+1) of METHODS);
- "difference": artanh(T(x, K+1) - T(x, y^)), ordered as that difference (differences of v are not).

The last two are ours. For the critics of other divergences the first two order as their T does too; "difference" then
takes tanh of an output that was not trained for it.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mollax import checks
from mollax.ood.head import Head
from mollax.ood.scores.inputs import Host, check_finite

NEEDS = "critic"
VARIANTS = ("prediction", "extra", "difference")


class State(NamedTuple):
    """What the score needs to know.

    Attributes:
      variant: number of the variant in `VARIANTS`.
    """

    variant: Int[Array, ""]


def fit(
    critic: Float[Host, "n c"],
    logits: Float[Host, "n k"],
    labels: Int[Host, " n"],
    head: Head | None,
    *,
    variant: str = "prediction",
) -> State:
    """Nothing is fitted, the critic is trained: chooses the variant and checks that critic and classifier fit.

    Args:
      critic: free outputs (n, K + 1) of the critic on ID training images, in the place of features.
      logits: (n, K) of the classifier.
      labels: not used.
      head: not used.
      variant: one of `VARIANTS`.

    Raises:
      ValueError: for an unknown variant, arrays that do not belong together, or outputs that are not finite.
    """
    checks.one_of("variant", variant, VARIANTS)
    checks.same_length(("critic", "logits", "labels"), (critic, logits, labels))
    _check_widths(critic, logits)
    for name, array in (("critic", critic), ("logits", logits)):
        check_finite(name, array)
    return State(jnp.asarray(VARIANTS.index(variant), jnp.int32))


def score(state: State, critic: Float[Array, "n c"], logits: Float[Array, "n k"]) -> Float[Array, " n"]:
    """High for OOD, in the critic's precision.

    Args:
      state: from `fit`.
      critic: free outputs (n, K + 1) of the critic, before tanh, in the place of features.
      logits: (n, K) of the classifier, for its prediction.

    Raises:
      ValueError: for critic and logits of different lengths, or not one output more than classes.
    """
    _check_widths(critic, logits)
    predicted = jnp.argmax(logits, axis=1)
    own = jnp.take_along_axis(critic[:, :-1], predicted[:, None], axis=1)[:, 0]
    extra = critic[:, -1]
    return jnp.stack([-own, extra, _difference(extra, own)])[state.variant]


def _difference(a: Float[Array, " n"], b: Float[Array, " n"]) -> Float[Array, " n"]:
    """artanh(d) of d = (tanh a - tanh b) / 2, from 1 - d = sigmoid(-2a) + sigmoid(2b) and 1 + d by symmetry."""
    log_sigmoid = jax.nn.log_sigmoid
    above = jnp.logaddexp(log_sigmoid(2 * a), log_sigmoid(-2 * b))
    below = jnp.logaddexp(log_sigmoid(-2 * a), log_sigmoid(2 * b))
    return (above - below) / 2


def _check_widths(critic: Float[Host, "n c"], logits: Float[Host, "n k"]) -> None:
    """Raises unless there is a critic's output for each class and one more, for the same images."""
    checks.rank("critic", critic, 2, "(examples, classes + 1)")
    checks.rank("logits", logits, 2, "(examples, classes)")
    checks.same_length(("critic", "logits"), (critic, logits))
    if critic.shape[1] != logits.shape[1] + 1:
        raise ValueError(
            f"critic must have {logits.shape[1] + 1} outputs, one for each of {logits.shape[1]} classes and the last "
            f"for the extra label; got {critic.shape[1]}. Give its free outputs, not features."
        )
