"""ASH: most activations of an example are pruned and the rest rescaled before the head (Djurisic et al. 2023).

On pooled features, as the authors run it; sums and ranks are within an example. It assumes activations after a ReLU.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mollax import checks
from mollax.ood.head import Head, apply_head
from mollax.ood.scores.inputs import Host, check_fit, dtype_of
from mollax.ood.scores.shaping import require_head

NEEDS = "features"
VARIANTS = ("s", "b", "p")
NEGATIVE = ("raise", "clip", "keep")


class State(NamedTuple):
    """What ASH has to know.

    Attributes:
      variant: place in VARIANTS.
      keep: number of activations that stay.
      floor: lower activations are raised to it first: 0, or -inf for no change.
      head: the last layer.
    """

    variant: Int[Array, ""]
    keep: Int[Array, ""]
    floor: Float[Array, ""]
    head: Head


def fit(
    features: Float[Host, "n d"],
    logits: Float[Host, "n k"],
    labels: Int[Host, " n"],
    head: Head | None,
    *,
    variant: str = "s",
    percentile: float = 90.0,
    negative: str = "raise",
) -> State:
    """Settings of ASH; nothing is learned from the training features but whether any is negative.

    Args:
      features, logits, labels: of ID training data.
      head: the last layer.
      variant: "s", the top activations times exp(sum before / sum after); "b", all of them sum before / keep; "p", as
        they are.
      percentile: p; the top d - round(d p / 100) of d activations stay. The authors: 90 for ImageNet (S, ResNet-50), 95
        for CIFAR (S, DenseNet), 99 for ImageNet (DenseNet), 65 as their script's default; OpenOOD: B with 90.
      negative: what to do about negative features, those of a ViT for instance, for which the sums mean little:
        "raise"; "clip", raise them to 0 first; "keep", the formulas on signed numbers. Only training features can be
        refused: a negative one met by `score` is kept.

    Raises:
      ValueError: for no head, features that are negative (with "raise"), a percentile that leaves none, an unknown
        option, or arrays that do not belong together.
    """
    check_fit(features, logits, labels, head)
    dtype = dtype_of(features)
    head = require_head(head, "ASH", dtype)
    index = VARIANTS.index(checks.one_of("variant", variant, VARIANTS))
    checks.one_of("negative", negative, NEGATIVE)
    checks.in_range("percentile", percentile, 0, 100, open_high=True)
    width = features.shape[1]
    keep = width - round(width * percentile / 100)
    if keep == 0:
        raise ValueError(f"percentile={percentile:g} leaves none of {width} features: lower it.")
    if negative == "raise":
        lowest = float(np.min(np.asarray(features)))
        if lowest < 0:
            raise ValueError(
                f"ASH is defined for features that are not negative; the lowest is {lowest:g}. Say negative='clip' to "
                "raise them to 0, or negative='keep' to use them as they are."
            )
    floor = 0.0 if negative == "clip" else -jnp.inf
    return State(jnp.int32(index), jnp.int32(keep), jnp.asarray(floor, dtype), head)


def top(values: Float[Array, "n d"], keep: Int[Array, ""]) -> Bool[Array, "n d"]:
    """Marks the `keep` largest of every row, exactly so many: among equals the first count as larger."""
    sign = -values
    threshold = jnp.take(jnp.sort(sign, axis=1), keep - 1, axis=1)[:, None]
    above, equal = sign < threshold, sign == threshold
    room = keep - above.sum(axis=1, keepdims=True, dtype=jnp.int32)
    return above | (equal & (jnp.cumsum(equal, axis=1, dtype=jnp.int32) <= room))


def prune(state: State, features: Float[Array, "n d"]) -> tuple[Float[Array, "n d"], Float[Array, "n 1"]]:
    """The features after pruning, and the logarithm of what each row is to be multiplied by: up to d / keep for "s"."""
    values = jnp.maximum(features, state.floor.astype(features.dtype))
    mask = top(values, state.keep)
    kept = jnp.where(mask, values, 0.0)
    before, after = values.sum(axis=1, keepdims=True), kept.sum(axis=1, keepdims=True)
    ratio = jnp.where(after == 0, 1.0, before / jnp.where(after == 0, 1.0, after))
    mean = before / state.keep.astype(features.dtype)
    none = jnp.zeros_like(ratio)
    branches = (
        lambda: (kept, ratio),
        lambda: (jnp.where(mask, mean, 0.0), none),
        lambda: (kept, none),
    )
    return jax.lax.switch(state.variant, branches)


def shape(state: State, features: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """The features after pruning and rescaling (algorithms 1 to 3 of the paper).

    A row whose kept features sum to 0 is scaled by e. "s" is as large as exp(d / keep): in float32 it overflows where
    nearly equal features meet a percentile above 98. `score` does not.
    """
    values, scale = prune(state, features)
    return jnp.where(values == 0, 0.0, values * jnp.exp(scale))  # 0 times infinity is 0


def score(state: State, features: Float[Array, "n d"], logits: Float[Array, "n k"]) -> Float[Array, " n"]:
    """Energy of the head on the reshaped features, high for OOD; the logits of the network itself are not used.

    Beyond e^l, with l nine tenths of the logarithm of the largest float (80 for float32), an energy e is given as
    +-e^l (1 + log |e| - l): the order of all energies is kept, and no other value is changed.
    """
    values, scale = prune(state, features)
    limit = 0.9 * math.log(jnp.finfo(values.dtype).max)
    raw = apply_head(state.head._replace(bias=jnp.zeros_like(state.head.bias)), values)
    # The head is linear, so that the scale can wait; below, an infinity is not met by one of the other sign.
    scaled = jnp.where(scale > limit, jnp.sign(raw) * jnp.exp(scale + jnp.log(jnp.abs(raw))), raw * jnp.exp(scale))
    energy = -jax.nn.logsumexp(scaled + state.head.bias.astype(values.dtype)[None], axis=-1)
    largest = raw.max(axis=-1)
    size = scale[:, 0] + jnp.log(jnp.abs(largest))  # of the energy, whose bias and other logits are lost beside it
    beyond = -jnp.sign(largest) * math.exp(limit) * (1 + size - limit)
    return jnp.where(size > limit, beyond, energy)
