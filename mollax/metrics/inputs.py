"""The door of the metrics: host arrays in float64, checked, with messages that name the offending row.

Nothing is repaired here. Half-precision inputs are upcast, not renormalised; a row that is no distribution is
refused.
"""

from __future__ import annotations

import jax
import numpy as np
from jaxtyping import Float, Float64, Int64, Integer

from mollax import checks

Host = np.ndarray | jax.Array
"""What the metrics take: NumPy arrays, or JAX arrays, which are fetched to the host."""


def matrix(name: str, array: Float[Host, "n k"]) -> Float64[np.ndarray, "n k"]:
    """An (examples, classes) array in float64; raises ValueError if it has another rank or no entries."""
    checks.rank(name, array, 2, "(examples, classes)")
    values = np.asarray(array).astype(np.float64)
    if values.size == 0:
        raise ValueError(f"{name} must hold at least one example and one class; got shape {values.shape}.")
    return values


def finite(name: str, array: Float[Host, "n k"]) -> Float64[np.ndarray, "n k"]:
    """`matrix`, and every entry finite; raises ValueError naming the first row that is not."""
    values = matrix(name, array)
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"{name} must be finite; row {row} holds NaN or infinity ({int(bad.sum())} of {len(values)}). "
            "Look for a diverged model or an overflow in half precision."
        )
    return values


def probabilities(probs: Float[Host, "n k"]) -> Float64[np.ndarray, "n k"]:
    """Rows of probabilities: finite, in [0, 1], summing to 1 up to the rounding of the input's own type."""
    values = finite("probs", probs)
    slack = _rounding(probs)
    outside = ((values < 0) | (values > 1 + slack)).any(axis=1)
    if outside.any():
        row = int(outside.argmax())
        raise ValueError(
            f"probs must be in [0, 1]; row {row} spans [{values[row].min():g}, {values[row].max():g}]. "
            "Turn logits into probabilities with np.exp(log_softmax64(logits))."
        )
    _sums_to_one("probs", values.sum(axis=1), slack)
    return values


def log_probabilities(log_probs: Float[Host, "n k"]) -> Float64[np.ndarray, "n k"]:
    """Rows of log-probabilities in nats, no NaN, exponentials summing to 1; -inf is probability 0."""
    values = matrix("log_probs", log_probs)
    slack = _rounding(log_probs)
    bad = (np.isnan(values) | (values > slack)).any(axis=1)
    if bad.any():
        raise ValueError(
            f"log_probs must be at most 0 and not NaN; row {int(bad.argmax())} is not. "
            "Turn logits into log-probabilities with log_softmax64(logits)."
        )
    _sums_to_one("exp(log_probs)", np.exp(values).sum(axis=1), slack)
    return values


def class_labels(labels: Integer[Host, " n"], like: Float64[np.ndarray, "n k"], name: str) -> Int64[np.ndarray, " n"]:
    """Integer labels in 0..k-1, one for each row of `like`, the array called `name` in messages."""
    checks.rank("labels", labels, 1, "(examples,)")
    values = np.asarray(labels)
    if not np.issubdtype(values.dtype, np.integer):
        raise TypeError(f"labels must be integers (class indices, not one-hot rows); got dtype {values.dtype}.")
    checks.same_length((name, "labels"), (like, values))
    classes = like.shape[1]
    bad = (values < 0) | (values >= classes)
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"labels must be in 0..{classes - 1} for {classes} classes; got {values[row]} at row {row}. "
            "Leave out padded and out-of-distribution examples before computing the metric."
        )
    return values.astype(np.int64)


def _rounding(array: Host) -> float:
    """How far a row may be from summing to 1: float16 and bfloat16 softmaxes miss by up to some percent."""
    return 0.05 if array.dtype.itemsize <= 2 else 1e-3


def _sums_to_one(name: str, sums: Float64[np.ndarray, " n"], slack: float) -> None:
    """Raises ValueError naming the worst row unless every sum is within `slack` of 1."""
    gap = np.abs(sums - 1)
    if gap.max() > slack:
        row = int(gap.argmax())
        raise ValueError(
            f"{name} must sum to 1 in every row; row {row} sums to {sums[row]:g}. "
            "Normalise over the classes first: log_softmax64(logits), or drop_extra_class for a noise class."
        )
