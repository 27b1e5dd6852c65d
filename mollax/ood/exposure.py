"""Outlier Exposure (Hendrycks et al. 2019): predictions for outliers are pulled to the uniform one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mollax import checks


def outlier_exposure(logits_ood: Float[Array, "n k"]) -> Float[Array, ""]:
    """E_out[LSE(f) - mean_c f_c]: cross-entropy of outliers against uniform labels, in nats; at least log K.

    It is KL(uniform || softmax f) + log K. Added to the cross-entropy of ID images with weight 0.5; the authors
    fine-tune for 10 epochs with SGD (rate 0.001 on a cosine, Nesterov 0.9, decay 5e-4), 128 ID and 256 outlier images a
    step.

    Raises:
      ValueError: for logits that are not (examples, classes), or without an example.
    """
    require_logits("logits_ood", logits_ood)
    return jnp.mean(jax.nn.logsumexp(logits_ood, axis=-1) - jnp.mean(logits_ood, axis=-1))


def require_logits(name: str, logits: Float[Array, "n k"]) -> None:
    """Raises ValueError unless there is at least one row of logits: the mean over none is not a number."""
    checks.rank(name, logits, 2, "(examples, classes)")
    if 0 in logits.shape:
        raise ValueError(f"{name} must hold at least one example and one class; got shape {logits.shape}.")
