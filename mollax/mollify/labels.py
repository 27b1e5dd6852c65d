"""How labels degrade with the image: decay schedules (eq 12, 13) and the forms of degraded labels (eq 7, 8).

Labels are weights over K classes along the last axis, one-hot or already soft; gamma in [0, 1] is the share
of label lost, one value per label vector.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Float

from mollax import checks
from mollax.mollify.compression import TINY_IMAGENET_PNG_LOSS

FORMS = ("smooth", "temper", "extra", "extra_keep", "none")
BLUR_DECAYS = ("power", "measured")


def noise_label_decay(t: Float[Array, "*n"], k: float = 1.0) -> Float[Array, "*n"]:
    """gamma = (1 / (1 + SNR(t)))^k = sin(pi t / 2)^(2k), eq 12.

    With k = 1 half the label is left at t = 1/2, where signal equals noise.

    Raises:
      ValueError: if k is not positive.
    """
    checks.in_range("k", k, 0.0, open_low=True)
    return jnp.sin(t * (math.pi / 2)) ** (2 * k)


def blur_label_decay(t: Float[Array, "*n"], k: float = 1.0, *, form: str = "power") -> Float[Array, "*n"]:
    """gamma = (1 - size(x_t) / size(x_0))^k in bytes of PNG, or its approximation t^k (eq 13).

    The paper's eq 13 prints the ratio without "1 -"; a label must be whole at t = 0.

    Args:
      t: temperature in [0, 1].
      k: slope; below 1 labels decay early.
      form: "power" for t^k, "measured" for the mean PNG curve of TinyImageNet (`mollify.compression`), which
        ends at 0.97: a PNG keeps its headers.

    Raises:
      ValueError: if k is not positive or `form` is unknown.
    """
    checks.in_range("k", k, 0.0, open_low=True)
    if checks.one_of("form", form, BLUR_DECAYS) == "measured":
        lost = jnp.asarray(TINY_IMAGENET_PNG_LOSS, t.dtype)
        t = jnp.interp(t, jnp.linspace(0.0, 1.0, len(TINY_IMAGENET_PNG_LOSS), dtype=t.dtype), lost)
    return t**k


def smooth_labels(labels: Float[Array, "*n k"], gamma: Float[Array, "*n"]) -> Float[Array, "*n k"]:
    """y_LS = (1 - gamma) y + gamma / K (eq 8): mixes with the uniform label and keeps the sum."""
    share = gamma[..., None].astype(labels.dtype)
    return (1.0 - share) * labels + share / labels.shape[-1]


def temper_labels(labels: Float[Array, "*n k"], gamma: Float[Array, "*n"]) -> Float[Array, "*n k"]:
    """y_temp = (1 - gamma) y (eq 7): the likelihood f_y^(1 - gamma).

    The paper's eq 9 prints the exponent as gamma; eq 7 is what it computes.
    """
    return (1.0 - gamma[..., None].astype(labels.dtype)) * labels


def extra_class_labels(
    labels: Float[Array, "*n k"], gamma: Float[Array, "*n"], *, keep: bool = False
) -> Float[Array, "*n k+1"]:
    """Adds a "noise" class that holds gamma, taken from the other classes or, with `keep`, on top of them.

    From the authors' code, not the paper. Models then have K + 1 outputs; evaluation drops the last one.
    """
    kept = labels if keep else temper_labels(labels, gamma)
    return jnp.concatenate([kept, gamma[..., None].astype(labels.dtype)], axis=-1)


def degrade_labels(labels: Float[Array, "*n k"], gamma: Float[Array, "*n"], *, form: str) -> Float[Array, "*n m"]:
    """One of the forms by name: "smooth", "temper", "extra", "extra_keep" or "none" (labels stay whole).

    Raises:
      ValueError: for another name.
    """
    match checks.one_of("form", form, FORMS):
        case "smooth":
            return smooth_labels(labels, gamma)
        case "temper":
            return temper_labels(labels, gamma)
        case "none":
            return labels
        case extra:
            return extra_class_labels(labels, gamma, keep=extra == "extra_keep")


def dirichlet_log_density(probs: Float[Array, "*n k"], labels: Float[Array, "*n k"]) -> Float[Array, "*n"]:
    """log Dir(f | 1 + y) = sum_k y_k log f_k - log B(1 + y): cross-entropy as a density over f (eq 10, 11).

    Its mode is y / sum(y): a corner for one-hot and tempered labels, inside the simplex for smoothed ones
    (fig 4).
    """
    concentration = 1.0 + labels
    log_beta = jnp.sum(gammaln(concentration), -1) - gammaln(jnp.sum(concentration, -1))
    # 0 log 0 = 0: a class without label mass does not matter, even where f gives it nothing.
    terms = jnp.where(labels > 0, labels * jnp.log(jnp.where(labels > 0, probs, 1.0)), 0.0)
    return jnp.sum(terms, -1) - log_beta


def dirichlet_mode(labels: Float[Array, "*n k"]) -> Float[Array, "*n k"]:
    """The most likely prediction under `dirichlet_log_density`: y / sum(y)."""
    return labels / jnp.sum(labels, -1, keepdims=True)
