"""Likelihoods of soft labels: cross-entropy (eq 14), normalized (appendix C), marginal over draws (D).

Log-probabilities are natural logarithms in float32 or float64.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mollax import checks

MARGINALS = ("jensen", "naive", "corrected", "importance")


def soft_cross_entropy(logits: Float[Array, "*n k"], labels: Float[Array, "*n k"]) -> Float[Array, "*n"]:
    """-sum_k y_k log f_k with f = softmax(logits) (eq 14, 15); labels need not sum to one."""
    return -jnp.sum(labels * jax.nn.log_softmax(logits, axis=-1), axis=-1)


def _log_logarithmic_mean(a: Float[Array, "*n"], b: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """log of (e^a - e^b) / (a - b), e^a where a = b; value and gradient accurate over the whole range.

    With d = |a - b| it is max(a, b) + log((1 - e^-d) / d). Near a tie the series b + d/2 + d^2/24 - ... in
    the signed difference has no corner, so the gradient there does not rest on how |0| is differentiated.
    """
    difference = a - b
    small = jnp.abs(difference) < 0.1
    s = jnp.where(small, difference, 0.0)
    near = b + s * (1 / 2 + s * (1 / 24 - s**2 * (1 / 2880 - s**2 * (1 / 181440))))
    d = jnp.where(small, 1.0, difference)
    far = b + jnp.maximum(d, 0.0) + jnp.log(-jnp.expm1(-jnp.abs(d))) - jnp.log(jnp.abs(d))
    return jnp.where(small, near, far)


def log_normalizer(logits: Float[Array, "*n k"]) -> Float[Array, "*n"]:
    """log Z of appendix C: Z = sum_j (G - f_j) / (log G - log f_j), G the geometric mean of f.

    Each term is the logarithmic mean of G and f_j, the integral over a of f_j^(1-a) G^a, computed in log
    space.
    """
    log_probs = jax.nn.log_softmax(logits, axis=-1)
    # Divided before they are added: the sum of 200 log-probabilities of -1e37 overflows, their mean does not.
    log_mean = jnp.sum(log_probs / logits.shape[-1], axis=-1, keepdims=True)
    return jax.nn.logsumexp(_log_logarithmic_mean(jnp.broadcast_to(log_mean, log_probs.shape), log_probs), axis=-1)


def normalized_cross_entropy(logits: Float[Array, "*n k"], labels: Float[Array, "*n k"]) -> Float[Array, "*n"]:
    """-sum_k y_k log f_k + log Z (appendix C): a likelihood normalized over smoothed labels.

    Finite with finite gradients for logits up to 1e38 in float32. It is *unbounded below* for one-hot labels:
    for the true class's logit 1e1 / 1e4 / 1e30 above nine others it is about -2 / -9 / -69. Labels that mix
    classes (MixUp, CutMix) lie outside its derivation.
    """
    return soft_cross_entropy(logits, labels) + log_normalizer(logits)


def log_marginal(
    log_probs: Float[Array, "*n r"],
    *,
    method: str = "jensen",
    log_weights: Float[Array, "*n r"] | None = None,
) -> Float[Array, "*n"]:
    """Estimates log E[p] from R draws log p_r along the last axis (appendix D).

    - "jensen": mean_r log p_r, the lower bound (eq 22), identical to the geometric form of eq 28;
    - "naive": logsumexp_r log p_r - log R (eq 19);
    - "corrected": naive + (R sum_r w_r^2 - 1) / (2 (R - 1)), w = softmax(log p) (eq 25, 26, no underflow).
      The paper calls it unbiased; it is less biased than naive, not unbiased, and undefined for R = 1;
    - "importance": logsumexp_r (log p_r + log_weights_r) - log R, weights p(phi) / q(phi), draws from q.

    Raises:
      ValueError: for an unknown method, "corrected" with one draw, or weights given with (or missing for) a
        method that does not (does) take them.
    """
    checks.one_of("method", method, MARGINALS)
    draws = log_probs.shape[-1]
    if (log_weights is not None) != (method == "importance"):
        needs = "needs" if method == "importance" else "does not take"
        raise ValueError(f'method {method!r} {needs} log_weights; only "importance" uses them.')
    if method == "jensen":
        return jnp.mean(log_probs, axis=-1)
    if log_weights is not None:
        log_probs = log_probs + log_weights
    naive = jax.nn.logsumexp(log_probs, axis=-1) - math.log(draws)
    if method != "corrected":
        return naive
    if draws < 2:
        raise ValueError(
            'method "corrected" needs at least 2 draws per image (their variance); got 1. '
            'Raise the number of repeats, or use "naive" or "jensen".'
        )
    weights = jax.nn.softmax(log_probs, axis=-1)
    return naive + (draws * jnp.sum(weights**2, axis=-1) - 1.0) / (2.0 * (draws - 1))
