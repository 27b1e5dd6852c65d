"""Expected KL divergence under random transforms (eKLD): how invariant a classifier is, class by class.

After Zhou et al. 2022 ("Do deep networks transfer invariances across classes?"), as in fig 9. Log-probabilities are
natural logarithms, divergences nats; everything is computed on the host in float64.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
import scipy.special
from jaxtyping import Float, Integer

from mollax import checks

Host = np.ndarray | jax.Array


class PerClass(NamedTuple):
    """Means over the examples of each true class.

    Attributes:
      means: NaN for a class without examples, where there is none.
      counts: examples of each class.
    """

    means: Float[np.ndarray, " k"]
    counts: Integer[np.ndarray, " k"]


def expected_kl(log_probs: Float[Host, "n k"], transformed_log_probs: Float[Host, "n m k"]) -> Float[np.ndarray, " n"]:
    """1/m sum_T KL(p(.|x) || p(.|A_T x)) = 1/m sum_T sum_c p_c(x) (log p_c(x) - log p_c(A_T x)) per image, in nats.

    The transforms are the caller's: rotations within +-180 degrees for RotMNIST-LT, +-10 for CIFAR-10-LT (A.3.10). It
    is 0 where all predictions agree, and infinite if a class that is possible for x is impossible for one of its
    transforms. Rounding of the given rows is undone: they are normalised in float64.

    Args:
      log_probs: for the images as they are; -inf is probability 0.
      transformed_log_probs: for m transforms of each.

    Raises:
      ValueError: for empty arrays, shapes that do not fit, NaN, or rows whose exponentials do not sum to 1.
    """
    log_p = _log_probabilities("log_probs", log_probs, 2, "(images, classes)")
    log_q = _log_probabilities("transformed_log_probs", transformed_log_probs, 3, "(images, transforms, classes)")
    if (len(log_p), log_p.shape[1]) != (len(log_q), log_q.shape[2]):
        raise ValueError(
            "transformed_log_probs must have the images and classes of log_probs, (n, m, k) for (n, k); "
            f"got {log_q.shape} for {log_p.shape}."
        )
    log_p = log_p[:, None, :]
    possible = log_p > -np.inf
    # In logarithms, as a probability of e^-800 is not 0 and its divergence is finite.
    ratio = np.subtract(log_p, log_q, out=np.zeros_like(log_q), where=np.broadcast_to(possible, log_q.shape))
    return (np.exp(log_p) * ratio).sum(axis=-1).mean(axis=-1)


def per_class(values: Float[Host, " n"], labels: Integer[Host, " n"], *, classes: int) -> PerClass:
    """Means of `values`, one an example, over the examples of each class: what is drawn against class size.

    Raises:
      ValueError: for empty or unequal arrays, or labels outside 0..classes-1.
      TypeError: for labels that are no integers.
    """
    checks.positive_int("classes", classes)
    checks.rank("values", values, 1, "(examples,)")
    truth = _labels(labels, classes)
    given = np.asarray(values).astype(np.float64)
    if checks.same_length(("values", "labels"), (given, truth)) == 0:
        raise ValueError("values must hold at least one example; got none.")
    counts = np.bincount(truth, minlength=classes)
    sums = np.bincount(truth, weights=given, minlength=classes)
    return PerClass(np.divide(sums, counts, out=np.full(classes, np.nan), where=counts > 0), counts)


def per_class_accuracy(log_probs: Float[Host, "n k"], labels: Integer[Host, " n"]) -> PerClass:
    """Share of the examples of each class whose first largest class is the label, in [0, 1].

    Raises:
      ValueError: for NaN, rows that are no log-probabilities, empty or unequal arrays, labels outside 0..k-1.
      TypeError: for labels that are no integers.
    """
    values = _log_probabilities("log_probs", log_probs, 2, "(examples, classes)")
    truth = _labels(labels, values.shape[1])
    checks.same_length(("log_probs", "labels"), (values, truth))
    return per_class((values.argmax(axis=1) == truth).astype(np.float64), truth, classes=values.shape[1])


def _log_probabilities(name: str, array: Host, ndim: int, meaning: str) -> np.ndarray:
    """Rows of log-probabilities, normalised in float64; refused unless they already were, up to rounding."""
    checks.rank(name, array, ndim, meaning)
    values = np.asarray(array).astype(np.float64)
    if values.size == 0:
        raise ValueError(f"{name} must hold at least one row and one class; got shape {values.shape}.")
    if np.isnan(values).any() or (values == np.inf).any():
        raise ValueError(f"{name} must hold no NaN and no +infinity. Look for a diverged model.")
    sums = np.exp(scipy.special.logsumexp(values, axis=-1))
    worst = float(sums.flat[np.abs(sums - 1).argmax()])
    if not abs(worst - 1) < 1e-3:
        raise ValueError(
            f"{name} must be logarithms of rows that sum to 1; one sums to {worst:g}. Apply log_softmax in float32."
        )
    return scipy.special.log_softmax(values, axis=-1)


def _labels(labels: Integer[Host, " n"], classes: int) -> np.ndarray:
    """Integer labels in 0..classes-1."""
    truth = np.asarray(labels)
    if not np.issubdtype(truth.dtype, np.integer):
        raise TypeError(f"labels must be integers (class indices, not one-hot rows); got dtype {truth.dtype}.")
    outside = (truth < 0) | (truth >= classes)
    if outside.any():
        row = int(outside.argmax())
        raise ValueError(f"labels must be in 0..{classes - 1} for {classes} classes; got {truth[row]} at row {row}.")
    return truth
