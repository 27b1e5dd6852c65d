"""Relative Mahalanobis: how much farther an input is from its class than from the features at large (Ren et al. 2021).

Both distances are equal but for the space that the class means span, once features are whitened within classes. So the
difference is computed there, in k dimensions instead of d: nothing large is subtracted from something large.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mollax import checks
from mollax.ood.head import Head
from mollax.ood.scores.inputs import Host, check_fit, dtype_of
from mollax.ood.scores.mahalanobis import nearest_mean, project, whiten

NEEDS = "features"


class State(NamedTuple):
    """What the difference of distances has to know; r = min(k, d).

    Attributes:
      center: mean of all training features, subtracted first.
      directions: whitening within classes, then orthonormal directions that span the whitened means.
      means: class means in these directions.
      variances: of all training features in these directions: 1 within classes, plus that of the means.
    """

    center: Float[Array, " d"]
    directions: Float[Array, "d r"]
    means: Float[Array, "k r"]
    variances: Float[Array, " r"]


def fit(
    features: Float[Host, "n d"],
    logits: Float[Host, "n k"],
    labels: Int[Host, " n"],
    head: Head | None,
    *,
    shrinkage: float = 0.0,
) -> State:
    """Class means, their tied covariance C, and the covariance C0 of all training features about their mean.

    C0 = C + sum_c (n_c / n) (mean_c - mean)(mean_c - mean)^T, both divided by n. In float64 by `eigh` and the singular
    values of the whitened means. Features may be a NumPy memmap.

    Args:
      features, logits, labels: of ID training data; every class needs an example.
      head: not used.
      shrinkage: of C, as in `mahalanobis.fit`; C0 takes the shrunk C, which is our reading: the paper shrinks nothing.

    Raises:
      ValueError: for a class without examples (named), a shrinkage out of range, arrays that do not belong together.
      SingularCovarianceError: for a covariance without an inverse.
    """
    check_fit(features, logits, labels, head)
    center, whitening, means, shares = whiten(features, labels, logits.shape[1], shrinkage=shrinkage)
    _, deviations, span = np.linalg.svd(np.sqrt(shares)[:, None] * means, full_matrices=False)
    parts = (center, whitening @ span.T, means @ span.T, 1 + np.square(deviations))
    dtype = dtype_of(features)
    return State(*(jnp.asarray(part.astype(dtype)) for part in parts))


def score(state: State, features: Float[Array, "n d"], logits: Float[Array, "n k"]) -> Float[Array, " n"]:
    """min_c (x - mean_c)^T C^-1 (x - mean_c) - (x - mean)^T C0^-1 (x - mean), high for OOD; often negative.

    Raises:
      ValueError: for features and logits of different lengths.
    """
    checks.same_length(("features", "logits"), (features, logits))
    points = project(features - state.center[None, :], state.directions)
    return nearest_mean(points, state.means) - (jnp.square(points) / state.variances[None, :]).sum(axis=1)
