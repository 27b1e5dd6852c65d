"""Means and second moments of features in float64, piece by piece: a NumPy memmap may be larger than memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

from mollax.ood.scores.inputs import Host, pieces


class ClassMoments(NamedTuple):
    """Moments of n features of d dimensions in k classes.

    Attributes:
      counts: examples of each class.
      means: mean of each class.
      within: sum over examples of the outer product of (feature - mean of its class), divided by n.
    """

    counts: Float64[np.ndarray, " k"]
    means: Float64[np.ndarray, "k d"]
    within: Float64[np.ndarray, "d d"]


def class_moments(
    features: Float[Host, "n d"], labels: Int[Host, " n"], classes: int, *, rows: int | None = None
) -> ClassMoments:
    """Class means and the tied covariance about them, in two passes.

    The second pass subtracts the means before it multiplies: sum x x^T - n mean mean^T would cancel where features are
    far from 0.

    Raises:
      ValueError: for a class without examples, which has no mean.
    """
    labels = np.asarray(labels)
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    empty = np.flatnonzero(counts == 0)
    if empty.size:
        raise ValueError(
            f"Every class needs an example; {empty.size} of {classes} have none, the first is class {empty[0]}. "
            f"There are {len(labels)} examples: fit on training data of all classes."
        )
    means = np.zeros((classes, features.shape[1]))
    for where, piece in pieces(features, rows=rows):
        np.add.at(means, labels[where], piece)
    means /= counts[:, None]
    within = np.zeros((features.shape[1],) * 2)
    for where, piece in pieces(features, rows=rows):
        piece = piece - means[labels[where]]
        within += piece.T @ piece
    return ClassMoments(counts, means, within / len(labels))


def second_moment(
    features: Float[Host, "n d"], origin: Float64[np.ndarray, " d"], *, rows: int | None = None
) -> Float64[np.ndarray, "d d"]:
    """Mean of (x - origin)(x - origin)^T over examples; about an origin that is not the mean, it is no covariance."""
    total = np.zeros((features.shape[1],) * 2)
    for _, piece in pieces(features, rows=rows):
        piece = piece - origin
        total += piece.T @ piece
    return total / len(features)
