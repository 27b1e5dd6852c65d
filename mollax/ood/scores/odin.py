"""ODIN: largest softmax at a high temperature after a small step of the input (Liang, Li & Srikant 2018).

    x' = x - epsilon sign(d CE(f(x) / T, argmax f(x)) / d x) / std,    S(x) = max softmax(f(x') / T)

with sign(0) = 1 as in the authors' code; std for networks that are given standardised images, so that epsilon is in
pixels of [0, 1]. x' may leave [0, 1], as theirs does. T = 1000 and epsilon = .0014 are theirs for CIFAR-10, chosen on
OOD data (TinyImageNet, crop); `choose_epsilon` uses ID data alone, as Generalised ODIN does. pytorch-ood differs: its
criterion lacks the log-softmax, its last softmax the temperature, and its epsilon is .05.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mollax import checks
from mollax.ood.head import Head
from mollax.ood.scores import perturb
from mollax.ood.scores.inputs import Host, check_fit, dtype_of
from mollax.ood.scores.perturb import Images

NEEDS = "images"
EPSILONS = tuple(round(0.0004 * step, 4) for step in range(13))  # 0 to .0048
Network = Callable[[Images], Float[Array, "n k"]]


class State(NamedTuple):
    """What ODIN has to know.

    Attributes:
      temperature: T.
      epsilon: length of the step.
      deviation: of the channels of standardised images.
    """

    temperature: Float[Array, ""]
    epsilon: Float[Array, ""]
    deviation: Float[Array, " c"]


def fit(
    features: Float[Host, "n d"],
    logits: Float[Host, "n k"],
    labels: Int[Host, " n"],
    head: Head | None,
    *,
    temperature: float = 1000.0,
    epsilon: float = 0.0014,
    deviation: float | Sequence[float] = 1.0,
) -> State:
    """Settings of ODIN; nothing is learned from training data, and the head may be None.

    Args:
      features, logits, labels, head: as for every score.
      temperature: T.
      epsilon: length of the step, in pixels of [0, 1].
      deviation: what the network's images were divided by, one number or one a channel: 1 for images in [0, 1].

    Raises:
      ValueError: for a temperature or deviation that is not positive, a negative epsilon, or arrays that do not belong
        together.
    """
    check_fit(features, logits, labels, head)
    checks.in_range("temperature", temperature, 0, open_low=True)
    checks.in_range("epsilon", epsilon, 0)
    dtype = dtype_of(features)
    deviations = perturb.channel_deviation(deviation)
    return State(jnp.asarray(temperature, dtype), jnp.asarray(epsilon, dtype), jnp.asarray(deviations, dtype))


def score(state: State, images: Images, network: Network) -> Float[Array, " n"]:
    """Minus the largest softmax after the step, high for OOD; in float32 with many classes T costs some digits.

    Args:
      state: of `fit`.
      images: as the network takes them.
      network: from images to logits, in evaluation mode; static under jit.
    """
    step = state.epsilon.astype(images.dtype) * _direction(state, images, network)
    return -_confidence(state, images + step, network)


def choose_epsilon(
    state: State, batches: Iterable[Array], network: Network, *, grid: Sequence[float] = EPSILONS
) -> tuple[State, perturb.Chosen]:
    """The state with the epsilon whose mean confidence is largest on ID validation images, and the means.

    Args:
      state: of `fit`; its epsilon plays no part.
      batches: ID validation images, read once.
      network: from images to logits, in evaluation mode.
      grid: lengths to try.

    Raises:
      ValueError: for no images, an empty grid, a negative length or confidences that are not finite.
    """
    chosen = perturb.choose(
        lambda images: _confidence(state, images, network),
        lambda images: _direction(state, images, network),
        batches,
        grid,
    )
    return state._replace(epsilon=jnp.asarray(chosen.epsilon, state.epsilon.dtype)), chosen


def _confidence(state: State, images: Images, network: Network) -> Float[Array, " n"]:
    logits = network(images)
    return jax.nn.softmax(logits / state.temperature.astype(logits.dtype), axis=-1).max(axis=-1)


def _direction(state: State, images: Images, network: Network) -> Images:
    def loss(values: Images) -> Float[Array, " n"]:
        logits = network(values)
        log_softmax = jax.nn.log_softmax(logits / state.temperature.astype(logits.dtype), axis=-1)
        return -jnp.take_along_axis(log_softmax, logits.argmax(axis=-1, keepdims=True), axis=-1)[:, 0]

    return perturb.direction(loss, images, state.deviation)
