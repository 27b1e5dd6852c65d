"""The door of the tests: points and log-densities on the host in float64, and the units that are independent.

A unit is a point, or a group of them (the images of one writer, the frames of one video, the scans of one patient):
what is drawn independently, and therefore what is resampled and relabelled as a whole.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64

from mollax import checks
from mollax.drift.points import VALUES, Host, check_points


class Units(NamedTuple):
    """What is exchanged as a whole.

    Attributes:
      sums: of the values in each unit.
      counts: how many values each holds; 1 where no groups are given.
    """

    sums: Float64[np.ndarray, " g"]
    counts: Float64[np.ndarray, " g"]


def log_densities(name: str, values: Float[Host, " n"]) -> Float64[np.ndarray, " n"]:
    """One log-density per point, in float64.

    Raises:
      ValueError: if there is none, another rank, or some are not finite.
    """
    checks.rank(name, values, 1, "(points,)")
    array = np.asarray(values).astype(np.float64)
    if len(array) == 0:
        raise ValueError(f"{name} must hold at least one point; got none.")
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise ValueError(
            f"{name} must be finite; {bad.size} of {len(array)} are not, the first is {array[bad[0]]} "
            f"at point {bad[0]}."
        )
    return array


def host_points(
    name: str, array: Float[Host, "n d"], *, width: int | None = None, minimum: int = 1
) -> Float64[np.ndarray, "n d"]:
    """Points as rows, in float64.

    Raises:
      TypeError: if the numbers are not floats.
      ValueError: for another rank or width, fewer than `minimum` rows, or numbers that are not finite.
    """
    check_points(name, array, width=width)
    if len(array) < minimum:
        raise ValueError(f"{name} must hold at least {minimum} points; got {len(array)}.")
    return np.asarray(array).astype(np.float64)


def unit_numbers(name: str, count: int, groups: Any) -> Int64[np.ndarray, " n"]:
    """The unit of each point as 0 .. units - 1; every point is its own if `groups` is None.

    Raises:
      ValueError: unless there is one group name (a number or a string) per point.
    """
    if groups is None:
        return np.arange(count)
    names = np.asarray(groups)
    checks.rank(name, names, 1, "(points,)")
    if len(names) != count:
        raise ValueError(f"{name} must name a group for each of the {count} points; got {len(names)}.")
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def units_of(values: Float64[np.ndarray, " n"], numbers: Int64[np.ndarray, " n"]) -> Units:
    """Sums and counts by unit."""
    sums = np.bincount(numbers, weights=values)
    return Units(sums, np.bincount(numbers).astype(np.float64))


def check_both_or_none(held: Any, new: Any) -> None:
    """Raises ValueError if only one side is grouped: points and groups are not exchangeable."""
    if (held is None) != (new is None):
        given, missing = ("held", "new") if new is None else ("new", "held")
        raise ValueError(f"Groups are given for the {given} points only; give the {missing} ones theirs, or neither.")


def is_constant(array: Float[Host, "n d"]) -> bool:
    """Whether all rows are the same."""
    first = np.asarray(array[0])
    rows = max(1, VALUES // max(1, array.shape[1]))
    starts = range(0, len(array), rows)
    return all(bool(np.equal(np.asarray(array[start : start + rows]), first).all()) for start in starts)


def chosen_rows(
    numbers: Int64[np.ndarray, " n"], limit: int, generator: np.random.Generator
) -> Int64[np.ndarray, " k"]:
    """Rows of randomly chosen whole units, at most `limit` rows, in rising order; all rows if they are no more.

    Units that would exceed the limit are passed over.
    """
    counts = np.bincount(numbers)
    if len(numbers) <= limit:
        return np.arange(len(numbers))
    taken, left = [], limit
    for unit in generator.permutation(len(counts)):
        if counts[unit] <= left:
            taken.append(unit)
            left -= counts[unit]
        if left == 0:
            break
    return np.flatnonzero(np.isin(numbers, taken))
