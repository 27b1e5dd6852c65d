"""Test-time averaging: one prediction from the predictions for n transforms of an image (eq 6, 7).

Logits of any range, probabilities as natural logarithms; the transforms are the second axis from the end.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mollax import checks
from mollax.invariance.precision import at_least_float32

AVERAGES = ("probs", "logits", "log_probs")


def average_predictions(
    logits: Float[Array, "*b n k"], *, average: str = "probs", keep: Bool[Array, "*b n"] | None = None
) -> Float[Array, "*b k"]:
    """Log-probabilities, normalised, of the average over the n transforms: log E_T[f(C; A_T I)] (eq 7).

    Logits that are dropped by `keep` may hold anything, NaN too, and get no gradient.

    Args:
      average: "probs", the mean of probabilities (eq 7, default); "logits", the softmax of the mean logits;
        "log_probs", the mean of log-probabilities as in Augerino, normalised again. The last two are both the
        normalised geometric mean of the probabilities and differ by rounding alone: there one transform for which a
        class is all but impossible vetoes it, and in the mean of probabilities it does not.
      keep: which transforms count, as from `choose_small`; None for all. A row with none gives NaN: there is no
        prediction to average.

    Returns:
      float32 (float64 for float64 logits), whose exponentials sum to 1.

    Raises:
      ValueError: for an unknown `average`, no transforms, or a mask of another shape.
    """
    checks.one_of("average", average, AVERAGES)
    if logits.ndim < 2 or logits.shape[-2] == 0:
        raise ValueError(f"logits must be (..., transforms, classes) with a transform or more; got {logits.shape}.")
    logits = at_least_float32(logits)
    if keep is None:
        keep = jnp.ones(logits.shape[:-1], bool)
    elif keep.shape != logits.shape[:-1]:
        raise ValueError(f"keep must have the shape of logits without classes, {logits.shape[:-1]}; got {keep.shape}.")
    chosen = keep[..., None]
    # Before the softmax: the gradient of a NaN is NaN even where its value is dropped.
    logits = jnp.where(chosen, logits, 0)
    values = logits if average == "logits" else jax.nn.log_softmax(logits, axis=-1)
    count = jnp.sum(chosen, axis=-2).astype(logits.dtype)
    if average == "probs":
        # The sum of probabilities: normalising divides by the count.
        mean = jax.nn.logsumexp(jnp.where(chosen, values, -jnp.inf), axis=-2)
    else:
        mean = jnp.sum(jnp.where(chosen, values, 0), axis=-2) / count
    return jnp.where(count > 0, jax.nn.log_softmax(mean, axis=-1), jnp.nan)


def choose_small(
    params: Float[Array, "*b m d"], *, radius: float, n: int
) -> tuple[Int[Array, "*b n"], Bool[Array, "*b n"]]:
    """The first n of m transforms with ||w||_2 < radius: the paper's rejection for budgets of 30 or fewer (A.3.12).

    With radius 1 it drops strong combinations and still covers the range of every generator alone. It is meant for
    Lie-algebra coefficients; the zero of a crop's parameters is no identity, and of one-dimensional ones all pass.

    Returns:
      Their places, and which of them are small: where there are fewer than n, the rest are larger ones. Places are in
      the order of drawing, so that the small ones are draws of the distribution given that the norm is below the
      radius.

    Raises:
      ValueError: for a radius that is not positive, or n not in 1 .. m.
    """
    checks.in_range("radius", radius, 0, open_low=True)
    if not 1 <= n <= params.shape[-2]:
        raise ValueError(f"n must be in 1 .. {params.shape[-2]}, the number of transforms; got {n}.")
    small = jnp.linalg.norm(at_least_float32(params), axis=-1) < radius
    places = jnp.argsort(~small, axis=-1, stable=True)[..., :n].astype(jnp.int32)
    return places, jnp.take_along_axis(small, places, axis=-1)
