"""Generalised ODIN: the numerator of a decomposed confidence after a small step of the input (Hsu et al. 2020).

    S(x) = max_i h_i(x),    x' = x - epsilon sign(-dS(x)/dx) / std,    score -S(x')

with h of a network trained with the head `mollax.ood.decomposed.DecomposedConfidence` (DeConf-C, -E or -I), and
epsilon chosen on ID validation images alone. The variant with the divisor has S = g(x).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mollax import checks
from mollax.ood.head import Head
from mollax.ood.scores import perturb
from mollax.ood.scores.inputs import Host, check_fit, dtype_of
from mollax.ood.scores.perturb import Images

NEEDS = "images"
EPSILONS = (0.0, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08)
Network = Callable[[Images], Float[Array, "n k"]]


class State(NamedTuple):
    """What Generalised ODIN has to know.

    Attributes:
      epsilon: length of the step.
      deviation: of the channels of standardised images.
    """

    epsilon: Float[Array, ""]
    deviation: Float[Array, " c"]


def fit(
    features: Float[Host, "n d"],
    logits: Float[Host, "n k"],
    labels: Int[Host, " n"],
    head: Head | None,
    *,
    epsilon: float = 0.0,
    deviation: float | Sequence[float] = 1.0,
) -> State:
    """Settings; nothing is learned from training features, and the head may be None.

    Args:
      features, logits, labels, head: as for every score.
      epsilon: length of the step, in pixels of [0, 1]; 0 until `choose_epsilon` has found one.
      deviation: what the network's images were divided by, one number or one a channel: 1 for images in [0, 1].

    Raises:
      ValueError: for a negative epsilon, a deviation that is not positive, or arrays that do not belong together.
    """
    check_fit(features, logits, labels, head)
    checks.in_range("epsilon", epsilon, 0)
    dtype = dtype_of(features)
    return State(jnp.asarray(epsilon, dtype), jnp.asarray(perturb.channel_deviation(deviation), dtype))


def score(state: State, images: Images, network: Network) -> Float[Array, " n"]:
    """Minus the largest output after the step, high for OOD.

    Args:
      state: of `fit` or `choose_epsilon`.
      images: as the network takes them.
      network: from images to `similarities` (n, k), or to `domain` as (n, 1) for the variant with g, in evaluation
        mode; static under jit.
    """
    step = state.epsilon.astype(images.dtype) * _direction(state, images, network)
    return -network(images + step).max(axis=-1)


def choose_epsilon(
    state: State, batches: Iterable[Array], network: Network, *, grid: Sequence[float] = EPSILONS
) -> tuple[State, perturb.Chosen]:
    """The state with the epsilon whose mean confidence is largest on ID validation images, and the means.

    The grid is the one public reimplementations search, with 0 for no step.

    Args:
      state: of `fit`; its epsilon plays no part.
      batches: ID validation images, read once.
      network: as for `score`.
      grid: lengths to try.

    Raises:
      ValueError: for no images, an empty grid, a negative length or confidences that are not finite.
    """
    chosen = perturb.choose(
        lambda images: network(images).max(axis=-1),
        lambda images: _direction(state, images, network),
        batches,
        grid,
    )
    return state._replace(epsilon=jnp.asarray(chosen.epsilon, state.epsilon.dtype)), chosen


def _direction(state: State, images: Images, network: Network) -> Images:
    return perturb.direction(lambda values: -network(values).max(axis=-1), images, state.deviation)
