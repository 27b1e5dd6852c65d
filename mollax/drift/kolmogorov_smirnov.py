"""Kolmogorov-Smirnov tests of every dimension by itself, corrected for how many there are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float, Float64

from mollax import checks
from mollax.drift.points import Host
from mollax.drift.samples import host_points

_VALUES = 2**22
"""Values sorted at once."""


class KolmogorovSmirnov(NamedTuple):
    """Tests of single dimensions and what they say together.

    Attributes:
      p_value: of all dimensions together: the smallest one times their number (Bonferroni), at most 1.
      statistics: the largest distance of the two distribution functions, by dimension.
      p_values: uncorrected, by dimension.
      tested: dimensions that are not constant over both samples; the others have p-value 1 and do not count.
      bonferroni: which dimensions differ at the level, none of them falsely with probability 1 - level.
      benjamini_hochberg: which differ if a share `level` of those named may be false (in expectation).
    """

    p_value: float
    statistics: Float64[np.ndarray, " d"]
    p_values: Float64[np.ndarray, " d"]
    tested: int
    bonferroni: Bool[np.ndarray, " d"]
    benjamini_hochberg: Bool[np.ndarray, " d"]


def kolmogorov_smirnov(held: Float[Host, "h d"], new: Float[Host, "m d"], *, level: float = 0.05) -> KolmogorovSmirnov:
    """Two-sided two-sample tests, one for each dimension, with asymptotic p-values (`scipy.stats.ks_2samp`, "asymp").

    Ties, as of pixels of one value, make the test conservative. The points are taken as independent.

    Args:
      held, new: points as rows.
      level: of the two corrections, in (0, 1).

    Raises:
      TypeError: for points that are not floats.
      ValueError: for empty sets, different widths, values that are not finite, points that are all equal, or a level
        outside (0, 1).
    """
    first = host_points("held", held)
    second = host_points("new", new, width=first.shape[1])
    checks.in_range("level", level, 0.0, 1.0, open_low=True, open_high=True)
    varies = (first != first[0]).any(axis=0) | (second != first[0]).any(axis=0)
    tested = int(varies.sum())
    if tested == 0:
        raise ValueError(f"All {len(first) + len(second)} pooled points are equal: there is nothing to compare.")
    step = max(1, _VALUES // (len(first) + len(second)))
    columns = range(0, first.shape[1], step)
    statistics = np.concatenate([_distances(first[:, c : c + step], second[:, c : c + step]) for c in columns])
    effective = round(len(first) * len(second) / (len(first) + len(second)))
    p_values = np.where(varies, scipy.stats.kstwo.sf(statistics, max(1, effective)), 1.0)
    discoveries = np.zeros(len(varies), bool)
    discoveries[varies] = scipy.stats.false_discovery_control(p_values[varies]) <= level
    return KolmogorovSmirnov(
        p_value=min(1.0, tested * float(p_values.min())),
        statistics=statistics,
        p_values=p_values,
        tested=tested,
        bonferroni=varies & (tested * p_values <= level),
        benjamini_hochberg=discoveries,
    )


def _distances(first: Float64[np.ndarray, "h d"], second: Float64[np.ndarray, "m d"]) -> Float64[np.ndarray, " d"]:
    """The largest distance of the two empirical distribution functions in each column."""
    pooled = np.concatenate([first, second])
    order = np.argsort(pooled, axis=0)
    values = np.take_along_axis(pooled, order, axis=0)
    steps = np.where(order < len(first), 1 / len(first), -1 / len(second))
    difference = np.abs(np.cumsum(steps, axis=0))
    # Functions are compared behind the last of equal values only.
    last = np.concatenate([values[1:] != values[:-1], np.ones((1, values.shape[1]), bool)])
    return np.where(last, difference, 0.0).max(axis=0)
