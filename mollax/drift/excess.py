"""Excess cross-entropy: how much less likely new points are than held-out ones under one augmented bank (METHODS 4 b).

excess = mean_j -log p(x'_j) - mean_i -log p(held_i), in nats. It equals KL(new || p) - KL(held || p) + H(new) -
H(held): noise and large rotations raise it; blur, low contrast, blank images, a single class or copies of one image
lower it. So it is signed, and both signs are drift.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from mollax.drift.permutation import check_resolution, permutation_p_value, relabellings
from mollax.drift.points import Host
from mollax.drift.resample import percentile_interval, resampled_means
from mollax.drift.samples import Units, check_both_or_none, log_densities, unit_numbers, units_of

Groups = Sequence[Any] | np.ndarray | None
"""The group of each point, by number or name; None where every point is a group of its own."""


class Excess(NamedTuple):
    """Excess cross-entropy with its interval and its test, in nats.

    Attributes:
      value: new - held.
      low, high: bootstrap interval of it.
      p_value: two-sided, of the permutation test.
      held, new: cross-entropies, the means of -log p.
      held_units, new_units: what was resampled and relabelled: points, or groups where they were given.
    """

    value: float
    low: float
    high: float
    p_value: float
    held: float
    new: float
    held_units: int
    new_units: int


def excess(
    held_log: Float[Host, " h"],
    new_log: Float[Host, " m"],
    *,
    seed: int = 0,
    resamples: int = 1000,
    permutations: int = 1000,
    confidence: float = 0.95,
    level: float = 0.05,
    groups_held: Groups = None,
    groups_new: Groups = None,
) -> Excess:
    """Excess cross-entropy of new over held-out points, from their log-densities under the *same* bank and kernel.

    The interval is a percentile bootstrap that resamples held and new separately, conditional on the bank. The null
    hypothesis of the p-value is that held and new log-densities are exchangeable, drawn from one distribution; see
    `mollax.drift.permutation`. p = (1 + #{|permuted| >= |observed|}) / (B + 1) over B random relabellings. It holds
    only if the held-out points are in neither the bank, the network's training, nor the choice of kernel and theta.

    With groups (writer, video, patient) whole groups are resampled and relabelled; means stay those over points. A
    group
    lies on one side: equal names on both sides mean two groups.

    Args:
      held_log, new_log: log p of each point, in nats.
      seed: of resampling and relabelling.
      resamples, permutations: how many.
      confidence: of the interval, in (0, 1).
      level: at which the test will be read; an error if its p-value could never be as small.
      groups_held, groups_new: the group of each point; both or neither.

    Raises:
      ValueError: on empty or non-finite log-densities, groups that do not match, fewer units or permutations than the
        level needs, or options out of range.
    """
    check_both_or_none(groups_held, groups_new)
    held, new = log_densities("held_log", held_log), log_densities("new_log", new_log)
    # Relative to the median, so that sums lose no digits to a common offset and equal values are exactly 0.
    center = float(np.median(np.concatenate([held, new])))
    held_units = units_of(center - held, unit_numbers("groups_held", len(held), groups_held))
    new_units = units_of(center - new, unit_numbers("groups_new", len(new), groups_new))
    sizes = len(held_units.sums), len(new_units.sums)
    what = "points" if groups_held is None else "groups"
    check_resolution(*sizes, permutations=permutations, level=level, units=what)

    sides = [
        resampled_means(units, resamples=resamples, seed=seed, stream=stream)
        for stream, units in enumerate((held_units, new_units))
    ]
    low, high = percentile_interval(sides[1] - sides[0], confidence)
    value = float(new_units.sums.sum() / len(new) - held_units.sums.sum() / len(held))
    permuted = relabelled_differences(held_units, new_units, permutations=permutations, seed=seed)
    return Excess(
        value=value,
        low=low,
        high=high,
        p_value=permutation_p_value(value, permuted),
        held=-float(held.mean()),
        new=-float(new.mean()),
        held_units=sizes[0],
        new_units=sizes[1],
    )


def relabelled_differences(
    held: Units, new: Units, *, permutations: int = 1000, seed: int = 0
) -> Float64[np.ndarray, " b"]:
    """Mean of new - mean of held after each random relabelling of whole units."""
    sums = np.concatenate([held.sums, new.sums])
    counts = np.concatenate([held.counts, new.counts])
    pooled = np.stack([sums, counts], axis=1)
    differences = []
    for labels in relabellings(len(held.sums), len(new.sums), permutations=permutations, seed=seed):
        inside = labels.astype(np.float64) @ pooled
        outside = pooled.sum(axis=0) - inside
        differences.append(inside[:, 0] / inside[:, 1] - outside[:, 0] / outside[:, 1])
    return np.concatenate(differences)
