"""Bootstrap of means over units: a percentile interval of what another sample of the same size would give."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from mollax import checks
from mollax.drift.samples import Units

_CHUNK = 2_000_000
"""Draws held in memory at once."""


class Interval(NamedTuple):
    """The two ends of a confidence interval."""

    low: float
    high: float


def resampled_means(units: Units, *, resamples: int, seed: int, stream: int) -> Float64[np.ndarray, " r"]:
    """Means of the values in units drawn with replacement, as many as there are.

    The same (units, resamples, seed, stream) gives the same draws; give every sample a stream of its own. Groups of
    different sizes make the mean a ratio of two sums.

    Raises:
      ValueError: on a number of resamples or a seed out of range.
    """
    checks.positive_int("resamples", resamples)
    checks.positive_int("seed", seed, minimum=0)
    generator = np.random.default_rng((seed, stream))
    count = len(units.sums)
    rows = max(1, _CHUNK // count)
    means = []
    for start in range(0, resamples, rows):
        drawn = generator.integers(0, count, (min(rows, resamples - start), count))
        means.append(units.sums[drawn].sum(axis=1) / units.counts[drawn].sum(axis=1))
    return np.concatenate(means)


def percentile_interval(replicas: Float64[np.ndarray, " r"], confidence: float) -> Interval:
    """Quantiles (1 - confidence) / 2 and (1 + confidence) / 2; raises ValueError for a confidence outside (0, 1)."""
    checks.in_range("confidence", confidence, 0.0, 1.0, open_low=True, open_high=True)
    low, high = np.quantile(replicas, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))
