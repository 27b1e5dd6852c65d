"""Mahalanobis: squared distance to the nearest class, all classes sharing one covariance (Lee et al. 2018).

On penultimate features, without input noise: the last layer alone of the paper's ensemble, as energy_ood and OpenOOD
have it. The paper joins all layers by a regression that is fitted on OOD data, which mollax does not do.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int

from mollax import checks
from mollax.ood.head import Head
from mollax.ood.scores.inputs import Host, check_fit, dtype_of
from mollax.ood.scores.moments import class_moments

NEEDS = "features"


class SingularCovarianceError(ValueError):
    """The covariance has directions without variance, so that it has no inverse."""


class State(NamedTuple):
    """What the distance has to know.

    Attributes:
      center: mean of all training features, subtracted first.
      whitening: V L^(-1/2) of the covariance V L V^T: whitened features have unit covariance within a class.
      means: class means, centred and whitened.
    """

    center: Float[Array, " d"]
    whitening: Float[Array, "d d"]
    means: Float[Array, "k d"]


class Whitened(NamedTuple):
    """The same in float64 on the host, with the share of examples in each class."""

    center: Float64[np.ndarray, " d"]
    whitening: Float64[np.ndarray, "d d"]
    means: Float64[np.ndarray, "k d"]
    shares: Float64[np.ndarray, " k"]


def fit(
    features: Float[Host, "n d"],
    logits: Float[Host, "n k"],
    labels: Int[Host, " n"],
    head: Head | None,
    *,
    shrinkage: float = 0.0,
) -> State:
    """Class means and the tied covariance (1/n) sum_i (x_i - mean_{y_i}) (x_i - mean_{y_i})^T, whitened.

    In float64 by `eigh`, never by the inverse of the covariance. Features are read in pieces, twice: they may be a
    NumPy memmap.

    Args:
      features, logits, labels: of ID training data; every class needs an example.
      head: not used.
      shrinkage: s in [0, 1]: the covariance becomes (1 - s) C + s (trace C / d) I (scikit-learn's
        `shrunk_covariance`).

    Raises:
      ValueError: for a class without examples (named), a shrinkage out of range, arrays that do not belong together.
      SingularCovarianceError: for a covariance without an inverse, as with a feature that never changes or less than
        d + k examples.
    """
    check_fit(features, logits, labels, head)
    whitened = whiten(features, labels, logits.shape[1], shrinkage=shrinkage)
    dtype = dtype_of(features)
    center, whitening, means = (jnp.asarray(part.astype(dtype)) for part in whitened[:3])
    return State(center, whitening, means)


def whiten(features: Float[Host, "n d"], labels: Int[Host, " n"], classes: int, *, shrinkage: float) -> Whitened:
    """The map to features of unit covariance within classes, and what it makes of the class means.

    Raises:
      ValueError: for a class without examples or a shrinkage out of range.
      SingularCovarianceError: if the covariance has no inverse.
    """
    checks.in_range("shrinkage", shrinkage, 0, 1)
    counts, means, within = class_moments(features, labels, classes)
    d = len(within)
    covariance = (1 - shrinkage) * within
    covariance[np.diag_indices(d)] += shrinkage * np.trace(within) / d
    variances, directions = np.linalg.eigh(covariance)
    # Whatever is below is rounding error of the sums, and may be negative.
    floor = d * np.finfo(np.float64).eps * variances[-1]
    flat = int((variances <= floor).sum())
    if flat:
        raise SingularCovarianceError(
            f"The covariance of {len(labels)} features of {d} dimensions in {classes} classes is singular: it has rank "
            f"{d - flat}. Some features are constant within classes, or depend on others, or there are fewer than "
            f"{d + classes} examples. Say shrinkage=0.01 or more (it was {shrinkage:g}), or remove constant features."
        )
    whitening = directions / np.sqrt(variances)
    shares = counts / counts.sum()
    center = shares @ means
    return Whitened(center, whitening, (means - center) @ whitening, shares)


def score(state: State, features: Float[Array, "n d"], logits: Float[Array, "n k"]) -> Float[Array, " n"]:
    """min_c (x - mean_c)^T C^-1 (x - mean_c), about d for ID, high for OOD.

    Lee et al. take max_c of minus this, some code of minus half of it: the same order.

    Raises:
      ValueError: for features and logits of different lengths.
    """
    checks.same_length(("features", "logits"), (features, logits))
    return nearest_mean(project(features - state.center[None, :], state.whitening), state.means)


def project(features: Float[Array, "n d"], directions: Float[Array, "d r"]) -> Float[Array, "n r"]:
    """features @ directions in full precision on accelerators too."""
    return jnp.matmul(features, directions, precision=jax.lax.Precision.HIGHEST)


def nearest_mean(points: Float[Array, "n r"], means: Float[Array, "k r"]) -> Float[Array, " n"]:
    """Squared Euclidean distance of each point to the nearest mean.

    Which mean it is follows from one product; its distance is then taken from differences, since |z|^2 - 2 z m + |m|^2
    cancels where classes are far apart.
    """
    proximity = 2 * project(points, means.T) - jnp.square(means).sum(axis=1)[None, :]
    nearest = means[jnp.argmax(proximity, axis=1)]
    return jnp.square(points - nearest).sum(axis=1)
