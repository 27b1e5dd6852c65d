"""The companion of the excess that knows the new points' own entropy (METHODS 4 c).

gap = mean_j [log p_new,-j(x'_j) - log p_held(x'_j)]: how much better the other new points explain a new point than
held-out points do, an estimate of a divergence between the two. A single class, copies of one image or blank images
*lower* the excess but raise this gap. It is signed all the same: points that spread far, such as strong noise under a
small kernel, lie nearer to held-out points than to each other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64

from mollax import checks
from mollax.drift.excess import Groups
from mollax.drift.gap import log_sides, relabelled_gaps, resampled_gaps
from mollax.drift.kernels import Kernel
from mollax.drift.pairwise import log_kernel
from mollax.drift.permutation import check_resolution, permutation_p_value
from mollax.drift.points import Host
from mollax.drift.resample import percentile_interval
from mollax.drift.samples import check_both_or_none, chosen_rows, host_points, unit_numbers


class EntropyAware(NamedTuple):
    """The gap with its interval and its test, in nats.

    Attributes:
      value: own - other.
      low, high: bootstrap interval of it.
      p_value: two-sided, of the permutation test.
      own: mean of log p_new,-j(x'_j), the density that the other new points give.
      other: mean of log p_held(x'_j).
      held_rows, new_rows: which points took part, by row.
      differences: log p_new,-j(x'_j) - log p_held(x'_j) of each of new_rows.
    """

    value: float
    low: float
    high: float
    p_value: float
    own: float
    other: float
    held_rows: Int64[np.ndarray, " h"]
    new_rows: Int64[np.ndarray, " m"]
    differences: Float64[np.ndarray, " m"]


def entropy_aware(
    held: Float[Host, "h d"],
    new: Float[Host, "m d"],
    kernel: Kernel,
    *,
    seed: int = 0,
    resamples: int = 1000,
    permutations: int = 1000,
    confidence: float = 0.95,
    level: float = 0.05,
    limit: int = 2000,
    groups_held: Groups = None,
    groups_new: Groups = None,
) -> EntropyAware:
    """Compares the density that new points give each other with the one that held-out points give them.

    Both densities have equally many points, M - 1: of M new points one is left out, and M - 1 held-out points are
    taken. So the gap has expectation zero if held and new are drawn from one distribution. M is the largest number
    that both sides allow, at most `limit`; the points are drawn by the seed and named in the result.

    The test relabels the pooled points and computes the gap of every relabelling from one matrix of log-kernels:
    p = (1 + #{|permuted| >= |observed|}) / (B + 1); what the null hypothesis is, `mollax.drift.permutation` says.

    The interval draws held and new points anew, and with them both densities, from the same matrix; its quantiles are
    moved so that the replicas' mean is the estimate. Resampling the M differences alone would miss the noise that they
    share: in simulations with 40 points a side such intervals of 95 % covered 32 to 94 %, these 93 to 100 %.

    With groups whole groups are chosen and relabelled, a point's whole group is left out of its own density, and each
    density is the mean over its points, of which there are about M on both sides.

    Args:
      held, new: points as rows.
      kernel: one for both sides.
      seed: of choice, resampling and relabelling.
      resamples, permutations: how many.
      confidence: of the interval, in (0, 1).
      level: at which the test will be read; an error if its p-value could never be as small.
      limit: of M. Time and memory grow as its square: 2000 points take 10 s of one core and half a gigabyte.
      groups_held, groups_new: the group of each point; both or neither.

    Raises:
      TypeError: for points that are not floats.
      ValueError: for points of different widths or not finite, fewer than two on a side, groups that do not match or
        are larger than the limit, fewer units than the level needs, or options out of range.
    """
    first = host_points("held", held, minimum=2)
    second = host_points("new", new, width=first.shape[1], minimum=2)
    checks.positive_int("limit", limit, minimum=2)
    checks.positive_int("seed", seed, minimum=0)
    check_both_or_none(groups_held, groups_new)
    held_rows, new_rows, numbers = _choose(len(first), len(second), limit, seed, groups_held, groups_new)
    of_held = int(numbers[: len(held_rows)].max()) + 1
    sides = of_held, int(numbers.max()) + 1 - of_held
    what = "points" if groups_held is None else "groups"
    check_resolution(*sides, permutations=permutations, level=level, units=what)
    if sides[1] < 2:
        raise ValueError("New points of a single group have no density without it: give at least two groups.")

    pooled = np.concatenate([first[held_rows], second[new_rows]])
    matrix = log_kernel(pooled, pooled, kernel)
    is_new = (np.arange(len(pooled)) >= len(held_rows)).astype(np.float64)[None]
    own, other = (
        side[:, 0] for side in log_sides(matrix, numbers, is_new, 1 - is_new, slice(len(held_rows), len(pooled)))
    )
    differences = own - other
    permuted = relabelled_gaps(matrix, numbers, sides, permutations=permutations, seed=seed)
    replicas = resampled_gaps(matrix, numbers, sides, resamples=resamples, seed=seed)
    value = float(differences.mean())
    low, high = percentile_interval(replicas - replicas.mean() + value, confidence)
    return EntropyAware(
        value=value,
        low=low,
        high=high,
        p_value=permutation_p_value(value, permuted),
        own=float(own.mean()),
        other=float(other.mean()),
        held_rows=held_rows,
        new_rows=new_rows,
        differences=differences,
    )


def _choose(
    held: int, new: int, limit: int, seed: int, groups_held: Groups, groups_new: Groups
) -> tuple[Int64[np.ndarray, " h"], Int64[np.ndarray, " m"], Int64[np.ndarray, " n"]]:
    """(rows of held, rows of new, unit of each of these pooled points as 0 .. units - 1, the held units first)."""
    generator = np.random.default_rng((seed, 0))
    numbers = unit_numbers("groups_held", held, groups_held), unit_numbers("groups_new", new, groups_new)
    if groups_held is None:
        size = min(held + 1, new, limit)
        sizes = size - 1, size
    else:
        sizes = (min(held, new, limit),) * 2
    rows = [chosen_rows(side, size, generator) for side, size in zip(numbers, sizes, strict=True)]
    if min(len(rows[0]), len(rows[1])) == 0:
        raise ValueError(f"No group is small enough for limit={limit} points: give a larger limit.")
    first, second = (
        np.unique(side[chosen], return_inverse=True)[1] for side, chosen in zip(numbers, rows, strict=True)
    )
    return rows[0], rows[1], np.concatenate([first, second + first.max() + 1])
