"""Points that are also in the bank: leakage if they are held out, and worth a list if they are new."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from mollax.drift.points import Host, check_points

_VALUES = 2**22
"""Values looked at at once."""


def copies(points: Float[Host, "m d"], bank: Float[Host, "n d"]) -> Bool[np.ndarray, " m"]:
    """Which points equal a row of the bank in every value. A bank in a file is read block by block.

    Rows are compared in the bank's precision: a float64 point counts if it rounds to a float32 row.

    Raises:
      TypeError: for points that are not floats.
      ValueError: for points of different widths, none at all, or not finite.
    """
    check_points("points", points)
    check_points("bank", bank, width=points.shape[1])
    step = max(1, _VALUES // bank.shape[1])
    wanted = _keys(np.asarray(points).astype(bank.dtype))
    found: set[bytes] = set()
    distinct = set(wanted)
    for start in range(0, len(bank), step):
        found.update(distinct.intersection(_keys(np.asarray(bank[start : start + step]))))
    return np.array([key in found for key in wanted])


def _keys(rows: Float[np.ndarray, "n d"]) -> list[bytes]:
    """The bytes of each row; adding 0 turns -0 into 0, which equals it."""
    return [row.tobytes() for row in rows + np.zeros((), rows.dtype)]
