"""Agreement of a network's predictions for several versions of one image."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def jensen_shannon(logits: Float[Array, "v n k"]) -> Float[Array, " n"]:
    """Jensen-Shannon divergence of the v predictions for each of n images, in nats, from 0 to log v.

    JS = 1/v sum_i KL(p_i || m) with m = 1/v sum_i p_i: the consistency loss of AugMix (Hendrycks et al. 2020, section
    3) for v = 3, there with weight 12. Taken in log space, where the authors' code clips m at 1e-7.
    """
    log_p = jax.nn.log_softmax(logits, axis=-1)
    log_m = jax.nn.logsumexp(log_p, axis=0) - jnp.log(jnp.float32(len(logits)))
    return jnp.mean(jnp.sum(jnp.exp(log_p) * (log_p - log_m[None]), axis=-1), axis=0)
