"""The gap between two densities from a matrix of log-kernels: of the samples as they are, relabelled and resampled.

gap = mean over new points j of [log p_new,-j(x_j) - log p_held(x_j)], each density the mean of kernels around the
points of one side, without the unit (the point itself, or its group) that x_j belongs to. Relabelling and resampling
only change how often a point counts on which side, so all sums are products of one matrix with such counts.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64

from mollax import checks
from mollax.drift.log_product import log_product
from mollax.drift.permutation import relabellings

_ROWS = 256
"""Points treated at once."""
_COUNTS = 2**22
"""Counts held at once, for each side: 32 MB."""


def log_sides(
    matrix: Float64[np.ndarray, "n n"],
    numbers: Int64[np.ndarray, " n"],
    new: Float64[np.ndarray, "b n"],
    held: Float64[np.ndarray, "b n"],
    rows: slice,
) -> tuple[Float64[np.ndarray, "r b"], Float64[np.ndarray, "r b"]]:
    """(log p_new without the own unit, log p_held) of some of the points, for each row of counts.

    A point with no new point outside of its own unit has -inf for the first.

    Args:
      matrix: log K(row | column) of the pooled points.
      numbers: the unit of each point; all points of a unit count alike.
      new, held: how often each point counts on which side.
      rows: the points to speak of.
    """
    exponents = np.where(numbers[rows, None] == numbers[None, :], -np.inf, matrix[rows])
    own, other = np.split(log_product(exponents, np.concatenate([new, held]).T), 2, axis=1)
    mates = np.bincount(numbers)[numbers][rows, None] * new.T[rows]
    left = new.sum(axis=1)[None, :] - mates
    return own - np.log(np.where(left > 0, left, 1.0)), other - np.log(held.sum(axis=1))[None, :]


def gaps(
    matrix: Float64[np.ndarray, "n n"],
    numbers: Int64[np.ndarray, " n"],
    new: Float64[np.ndarray, "b n"],
    held: Float64[np.ndarray, "b n"],
) -> Float64[np.ndarray, " b"]:
    """The gap for each row of counts, which also weigh the mean over new points; arguments as `log_sides`."""
    total = np.zeros(len(new))
    for start in range(0, len(matrix), _ROWS):
        rows = slice(start, start + _ROWS)
        if not new[:, rows].any():
            continue
        own, other = log_sides(matrix, numbers, new, held, rows)
        weights = new.T[rows]
        # A point that does not count as new may have no held density: its own unit may be all there is.
        with np.errstate(invalid="ignore"):
            total += np.where(weights > 0, weights * (own - other), 0.0).sum(axis=0)
    return total / new.sum(axis=1)


def relabelled_gaps(
    matrix: Float64[np.ndarray, "n n"],
    numbers: Int64[np.ndarray, " n"],
    sides: tuple[int, int],
    *,
    permutations: int = 1000,
    seed: int = 0,
) -> Float64[np.ndarray, " b"]:
    """The gap after each random relabelling of whole units, of which the first sides[0] are held, sides[1] new."""
    found = []
    for labels in relabellings(*sides, permutations=permutations, seed=seed, chunk=_COUNTS):
        new = labels[:, numbers].astype(np.float64)
        found.append(gaps(matrix, numbers, new, 1 - new))
    return np.concatenate(found)


def resampled_gaps(
    matrix: Float64[np.ndarray, "n n"],
    numbers: Int64[np.ndarray, " n"],
    sides: tuple[int, int],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Float64[np.ndarray, " r"]:
    """The gap of units drawn with replacement, held and new separately; copies of a unit are left out with it.

    Both densities are drawn anew, not only the points that they are compared at: what those share is most of the gap's
    noise where kernels are wide. Draws of one new unit alone have no gap and are drawn again.

    Raises:
      ValueError: on a number of resamples or a seed out of range.
    """
    checks.positive_int("resamples", resamples)
    checks.positive_int("seed", seed, minimum=0)
    generator = np.random.default_rng((seed, 1))
    chunk = max(1, _COUNTS // len(numbers))
    found = []
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        held = generator.multinomial(sides[0], np.full(sides[0], 1 / sides[0]), size)
        new = generator.multinomial(sides[1], np.full(sides[1], 1 / sides[1]), size)
        while (alone := np.flatnonzero((new > 0).sum(axis=1) == 1)).size:
            new[alone] = generator.multinomial(sides[1], np.full(sides[1], 1 / sides[1]), alone.size)
        of_held, of_new = (np.zeros((size, sum(sides))) for _ in range(2))
        of_held[:, : sides[0]], of_new[:, sides[0] :] = held, new
        found.append(gaps(matrix, numbers, of_new[:, numbers], of_held[:, numbers]))
    return np.concatenate(found)
