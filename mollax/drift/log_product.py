"""log(exp(A) B) for B of zeros and ones, where no single stabilizer serves all columns.

A column may pick only entries that lie hundreds of nats below the largest of a row, as small kernels in thousands of
dimensions do; divided by the row's maximum they all underflow. So each row is treated in tiers: a product stabilized by
the maximum settles every column that holds an entry within `_WINDOW` nats of it, what is left is stabilized by the
largest entry below that, and so on.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
from jaxtyping import Float64

_WINDOW = 200.0
"""A column is settled if its sum is above exp(-200) times the stabilizer ..."""
_MARGIN = 40.0
"""... and what is below exp(-240) times it is left out: 2e-17 of that sum for each entry."""
_SPARSE = 0.02
"""Share of non-zero weights under which a sparse product is sooner."""


def log_product(
    exponents: Float64[np.ndarray, "r n"], members: Float64[np.ndarray, "n c"]
) -> Float64[np.ndarray, "r c"]:
    """log sum_i exp(exponents[j, i]) members[i, c], exact to rounding for exponents of any size.

    Args:
      exponents: finite or -inf (an entry that never counts).
      members: zeros and ones. A column without a member, or with members of -inf alone, gives -inf.
    """
    result = np.full((len(exponents), members.shape[1]), -np.inf)
    pending = np.ones(result.shape, bool)
    rows = np.arange(len(exponents))
    ceiling = np.full(len(exponents), np.inf)
    while len(rows):
        block = exponents[rows]
        # Entries above the ceiling are in no pending column: those are settled or hold no such entry.
        below = np.where(block <= ceiling[rows, None], block, -np.inf)
        top = below.max(axis=1)
        alive = top > -np.inf
        rows, below, top = rows[alive], below[alive], top[alive]
        if not len(rows):
            break
        relative = below - top[:, None]
        inside = relative > -(_WINDOW + _MARGIN)
        weights = np.where(inside, np.exp(np.maximum(relative, -(_WINDOW + _MARGIN))), 0.0)
        if inside.mean() < _SPARSE:
            product = np.asarray(scipy.sparse.csr_array(weights) @ members)
        else:
            product = weights @ members
        settled = pending[rows] & (product >= np.exp(-_WINDOW))
        logs = top[:, None] + np.log(np.where(settled, product, 1.0))
        result[rows] = np.where(settled, logs, result[rows])
        pending[rows] &= ~settled
        ceiling[rows] = np.nextafter(top - _WINDOW, -np.inf)
        rows = rows[pending[rows].any(axis=1)]
    return result
