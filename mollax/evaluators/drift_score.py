"""Drift's contribution as a score: -log p of an image's features under the bank of training features (METHODS 4 d).

Gaussian kernels on features as they are: with sigma going to 0 images are ranked by the squared distance to their
nearest training feature, which is KNN with k = 1. In the form of the modules of `mollax.ood.scores`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mollax import checks, drift
from mollax.ood.head import Head
from mollax.ood.scores.inputs import Host, check_fit, dtype_of

NEEDS = "features"


class State(NamedTuple):
    """The bank and the kernel's scale.

    Attributes:
      bank: training features.
      sigma: of the Gaussian kernels, in units of the features.
    """

    bank: Float[Array, "n d"]
    sigma: Float[Array, ""]


def fit(
    features: Float[Host, "n d"],
    logits: Float[Host, "n k"],
    labels: Int[Host, " n"],
    head: Head | None,
    *,
    sigma: float | None = None,
) -> State:
    """Keeps the features as the bank.

    Args:
      features, logits, labels: of ID training data.
      head: not used.
      sigma: of the kernels; None chooses it by leave-one-out likelihood of 2,000 points of the bank.

    Raises:
      ValueError: for a sigma that is not above 0, arrays that do not belong together, or copies among the features, for
        which no likelihood chooses a sigma.
    """
    check_fit(features, logits, labels, head)
    bank = np.asarray(features)
    if sigma is None:
        sigma = drift.choose_theta(drift.Gaussian, bank).theta
    checks.in_range("sigma", sigma, 0.0, open_low=True)
    return State(jnp.asarray(bank), jnp.asarray(sigma, dtype_of(features)))


def score(state: State, features: Float[Host, "n d"], logits: Float[Host, "n k"]) -> Float[Array, " n"]:
    """-log p(x) in nats, high for OOD.

    Args:
      state: from `fit`.
      features: to be scored.
      logits: not used.

    Raises:
      ValueError: for features and logits of different lengths, or features as wide as the bank's are not.
    """
    checks.same_length(("features", "logits"), (features, logits))
    return -drift.log_density(jnp.asarray(features), state.bank, drift.Gaussian(state.sigma))
