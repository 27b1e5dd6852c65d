"""What the fits of all scores share: checks of concrete arrays before anything is computed, and their precision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Float64

from mollax import checks
from mollax.ood.head import Head

Host = np.ndarray | jax.Array
ROWS = 8192
"""Examples that are read at once from an array that may be larger than memory."""


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
        check_finite(name, array)
    low, high = int(np.min(labels)), int(np.max(labels))
    if low < 0 or high >= logits.shape[1]:
        raise ValueError(f"labels must be in 0 .. {logits.shape[1] - 1}, as there are logits; got {low} .. {high}.")
    if head is not None and head.kernel.shape != (features.shape[1], logits.shape[1]):
        raise ValueError(
            f"The head maps {head.kernel.shape[0]} features to {head.kernel.shape[1]} logits, but there are "
            f"{features.shape[1]} features and {logits.shape[1]} logits."
        )


def check_finite(name: str, array: Float[Host, "n d"]) -> None:
    """Raises ValueError with the first of the rows that are not finite; reads the array piece by piece."""
    found = [where.start + np.flatnonzero(~np.isfinite(piece).all(axis=1)) for where, piece in pieces(array)]
    bad = np.concatenate(found) if found else np.zeros(0, np.int64)
    if bad.size:
        raise ValueError(f"{name} of {bad.size} examples are not finite, the first is number {bad[0]}.")


def pieces(
    features: Float[Host, "n d"], *, rows: int | None = None
) -> Iterator[tuple[slice, Float64[np.ndarray, "m d"]]]:
    """(where, features[where] in float64) for at most `rows` rows at a time, `ROWS` of them by default."""
    host, step = np.asanyarray(features), ROWS if rows is None else rows  # asanyarray keeps a memmap one
    for start in range(0, len(host), step):
        where = slice(start, min(start + step, len(host)))
        yield where, np.asarray(host[where], np.float64)


def dtype_of(features: Host) -> np.dtype:
    """The dtype that JAX gives to these features: float32 unless they are float64 and that is enabled."""
    return np.dtype(jax.dtypes.canonicalize_dtype(features.dtype))
