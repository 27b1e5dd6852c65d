"""Permutation tests of two samples: random relabellings of the pooled units and what they say about a statistic.

The null hypothesis is that the labels "held" and "new" carry no information: the pooled units are exchangeable, as they
are when both samples were drawn independently from one distribution. It assumes no shape of that distribution; and it
is more than equal means, so the tests do not assume equal variances: different spreads are a way for it to be false.
Then p = (1 + #{relabellings at least as extreme}) / (B + 1) is valid for any number B: P(p <= level) <= level.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float64

from mollax import checks

_CHUNK = 2_000_000
"""Labels held in memory at once."""


def relabellings(
    held: int, new: int, *, permutations: int = 1000, seed: int = 0, chunk: int = _CHUNK
) -> Iterator[Bool[np.ndarray, "rows units"]]:
    """Random relabellings of held + new units, in chunks of at most `chunk` labels (but at least one row).

    True stands for "new", which as many units are in each row as are new. The same (held, new, seed) gives the same
    rows, whatever the chunk.

    Raises:
      ValueError: if a side has no unit, or on a bad count or seed.
    """
    for name, number in (("held", held), ("new", new), ("permutations", permutations)):
        checks.positive_int(name, number)
    checks.positive_int("seed", seed, minimum=0)
    generator = np.random.default_rng((seed, 2))
    labels = np.arange(held + new) >= held
    rows = max(1, chunk // (held + new))
    for start in range(0, permutations, rows):
        repeated = np.repeat(labels[None], min(rows, permutations - start), axis=0)
        yield generator.permuted(repeated, axis=1)


def permutation_p_value(
    observed: float, permuted: Float64[np.ndarray, " b"], *, alternative: str = "two-sided"
) -> float:
    """p = (1 + #{permuted at least as extreme as observed}) / (B + 1).

    Args:
      observed: the statistic of the samples as they are.
      permuted: of B relabellings.
      alternative: "two-sided" compares absolute values, "greater" the values.

    Values that rounding alone tells apart, by 1e-10 of the largest, count as equal.

    Raises:
      ValueError: if there are no permuted values, or values are not finite.
    """
    checks.one_of("alternative", alternative, ("two-sided", "greater"))
    if len(permuted) == 0 or not (np.isfinite(permuted).all() and math.isfinite(observed)):
        raise ValueError("the statistic must be finite, on the samples and on at least one relabelling.")
    tolerance = 1e-10 * max(abs(observed), float(np.abs(permuted).max()))
    if alternative == "two-sided":
        observed, permuted = abs(observed), np.abs(permuted)
    extreme = int((permuted >= observed - tolerance).sum())
    return (1 + extreme) / (len(permuted) + 1)


def check_resolution(held: int, new: int, *, permutations: int, level: float, units: str) -> None:
    """Raises ValueError if no outcome could have a p-value of `level` or less.

    There are C(held + new, new) relabellings, one of which is the samples themselves; with equal sizes exchanging the
    sides only turns the sign. So p is not below 1 / C, or 2 / C with equal sizes, and never below 1 / (B + 1).

    Args:
      held, new: units on each side.
      permutations: B.
      level: in (0, 1).
      units: what they are, for the message: "points" or "groups".
    """
    checks.in_range("level", level, 0.0, 1.0, open_low=True, open_high=True)
    checks.positive_int("permutations", permutations)
    if 1 / (permutations + 1) > level:
        raise ValueError(
            f"{permutations} permutations give no p-value below {1 / (permutations + 1):.3g}, so none reaches the "
            f"level {level:g}: ask for at least {math.ceil(1 / level - 1e-9) - 1}."
        )
    least = (2 if held == new else 1) / math.comb(held + new, new)
    if least > level:
        raise ValueError(
            f"{held} held and {new} new {units} are too few: they have {math.comb(held + new, new)} relabellings "
            f"and no p-value is below {least:.3g}, so none reaches the level {level:g}. Give more {units}."
        )
