"""The smallest excess that so many images can show: what an audit could have seen, said before anything is seen."""

from __future__ import annotations

import math

import numpy as np
import scipy.stats
from jaxtyping import Float

from mollax import checks
from mollax.drift.excess import Groups
from mollax.drift.points import Host
from mollax.drift.samples import log_densities, unit_numbers, units_of


def detectable(
    held_log: Float[Host, " h"],
    m: int,
    *,
    power: float = 0.8,
    level: float = 0.05,
    groups: Groups = None,
) -> float:
    """Smallest |excess| in nats that m new points and these h held-out ones detect with the given power.

    (z_(1 - level/2) + z_power) s sqrt(1/m + 1/h), the normal approximation for the two-sided test of a shift that
    leaves the spread s of the held-out log-densities as it is. With groups the variance of the held-out mean is that
    over whole groups, and the m new points are thought to come in groups of the same kind.

    Args:
      held_log: log p of the held-out points, in nats.
      m: new points, groups' members counted one by one.
      power: probability of detection, in [.5, 1).
      level: of the test, in (0, 1).
      groups: the group of each held-out point.

    Raises:
      ValueError: for fewer than two held-out points or groups, values that are not finite, or options out of range.
    """
    held = log_densities("held_log", held_log)
    checks.positive_int("m", m)
    checks.in_range("power", power, 0.5, 1.0, open_high=True)
    checks.in_range("level", level, 0.0, 1.0, open_low=True, open_high=True)
    units = units_of(held - held.mean(), unit_numbers("groups", len(held), groups))
    count = len(units.sums)
    if count < 2:
        what = "points" if groups is None else "groups"
        raise ValueError(f"A spread needs at least two held-out {what}; got {count}.")
    # sums of deviations: for single points the usual s^2 / h.
    variance = count / (count - 1) * float(np.square(units.sums).sum()) / len(held) ** 2
    quantiles = float(scipy.stats.norm.ppf(1 - level / 2) + scipy.stats.norm.ppf(power))
    return quantiles * math.sqrt(variance * (1 + len(held) / m))
