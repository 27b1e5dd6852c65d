"""What a Gaussian kernel's log-density tends to at both ends of sigma (METHODS section 4), on the host in float64.

Both are exponents: what is left of -log p once the terms without the query, d/2 log(2 pi sigma^2) and for narrow
kernels log N, are taken away.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float64

from mollax.drift.kernels import positive
from mollax.drift.points import Host, check_points

ROWS = 4096


def narrow_limit(queries: Float[Host, "m d"], bank: Float[Host, "n d"]) -> Float64[np.ndarray, " m"]:
    """min_i |x - x_i|^2, the limit of -2 sigma^2 log p as sigma -> 0: the drift score is then the first neighbor's.

    Raises:
      ValueError, TypeError: as `log_density` does.
    """
    check_points("queries", queries)
    check_points("bank", bank, width=queries.shape[1])
    points = np.asarray(queries).astype(np.float64)
    center = points.mean(axis=0)
    points -= center
    squares, least = np.square(points).sum(axis=1), np.full(len(points), np.inf)
    for block in _blocks(bank):
        block -= center
        distances = squares[:, None] - 2 * points @ block.T + np.square(block).sum(axis=1)[None, :]
        np.minimum(least, distances.min(axis=1), out=least)
    return np.maximum(least, 0.0)


def wide_limit(queries: Float[Host, "m d"], bank: Float[Host, "n d"], sigma: float) -> Float64[np.ndarray, " m"]:
    """(|x - mean|^2 + tr S) / (2 sigma^2), the exponent once sigma is far above all distances.

    Mean and S, the covariance (divided by N), are the bank's: the score ranks by distance from the mean, and says no
    more.

    Raises:
      ValueError: if sigma is not above 0.
      ValueError, TypeError: as `log_density` does.
    """
    positive("sigma", sigma)
    check_points("queries", queries)
    check_points("bank", bank, width=queries.shape[1])
    mean = sum(block.sum(axis=0) for block in _blocks(bank)) / len(bank)
    trace = sum(np.square(block - mean).sum() for block in _blocks(bank)) / len(bank)
    return (np.square(np.asarray(queries).astype(np.float64) - mean).sum(axis=1) + trace) / (2 * sigma**2)


def _blocks(points: Float[Host, "n d"]) -> Iterator[Float64[np.ndarray, "b d"]]:
    """Blocks of rows in float64."""
    for low in range(0, len(points), ROWS):
        yield np.asarray(points[low : low + ROWS]).astype(np.float64)
