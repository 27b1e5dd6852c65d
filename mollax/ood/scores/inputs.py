"""What the fits of all scores share: checks of concrete arrays before anything is computed, and their precision."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from mollax import checks
from mollax.ood.head import Head

Host = np.ndarray | jax.Array


def check_fit(features: Any, logits: Any, labels: Any, head: Head | None) -> None:
    """Raises unless what a score is fitted on belongs together and is finite.

    Raises:
      ValueError: for wrong axes, lengths that differ, an empty set, values that are not finite, labels that are not
        classes, or a head of other widths.
    """
    checks.rank("features", features, 2, "(examples, features)")
    checks.rank("logits", logits, 2, "(examples, classes)")
    checks.rank("labels", labels, 1, "(examples,)")
    count = checks.same_length(("features", "logits", "labels"), (features, logits, labels))
    if count == 0:
        raise ValueError("A score needs examples to be fitted on; got none.")
    for name, array in (("features", features), ("logits", logits)):
        bad = np.flatnonzero(~np.isfinite(np.asarray(array)).all(axis=1))
        if bad.size:
            raise ValueError(f"{name} of {bad.size} examples are not finite, the first is number {bad[0]}.")
    low, high = int(np.min(labels)), int(np.max(labels))
    if low < 0 or high >= logits.shape[1]:
        raise ValueError(f"labels must be in 0 .. {logits.shape[1] - 1}, as there are logits; got {low} .. {high}.")
    if head is not None and head.kernel.shape != (features.shape[1], logits.shape[1]):
        raise ValueError(
            f"The head maps {head.kernel.shape[0]} features to {head.kernel.shape[1]} logits, but there are "
            f"{features.shape[1]} features and {logits.shape[1]} logits."
        )


def dtype_of(features: Host) -> np.dtype:
    """The dtype that JAX gives to these features: float32 unless they are float64 and that is enabled."""
    return np.dtype(jax.dtypes.canonicalize_dtype(features.dtype))
