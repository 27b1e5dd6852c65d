"""Maximum mean discrepancy of two samples (Gretton et al. 2012), the two-sample test that most know."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64

from mollax import checks
from mollax.drift.permutation import check_resolution, permutation_p_value, relabellings
from mollax.drift.points import Host
from mollax.drift.samples import chosen_rows, host_points

_LABELS = 2**23


class MMD(NamedTuple):
    """Squared maximum mean discrepancy and its test.

    Attributes:
      value: the unbiased estimate of MMD^2; below 0 as often as chance has it.
      p_value: of the permutation test; only large values count as evidence.
      bandwidth: s of the kernel exp(-|x - y|^2 / (2 s^2)).
      held_count, new_count: points that took part.
    """

    value: float
    p_value: float
    bandwidth: float
    held_count: int
    new_count: int


def mmd(
    held: Float[Host, "h d"],
    new: Float[Host, "m d"],
    *,
    bandwidth: float | None = None,
    seed: int = 0,
    permutations: int = 1000,
    level: float = 0.05,
    limit: int = 2000,
) -> MMD:
    """Unbiased MMD^2 with a Gaussian kernel, and the p-value of relabelling the pooled points.

    mean k(x, x') + mean k(y, y') - 2 mean k(x, y) over pairs of different points. The points are taken as independent.

    Args:
      held, new: points as rows.
      bandwidth: s of the kernel; None is the median distance of pairs of different pooled points that are not equal.
      seed: of choice and relabelling.
      permutations: how many.
      level: at which the test will be read; an error if its p-value could never be as small.
      limit: points taken from each side at most, drawn by the seed.

    Raises:
      TypeError: for points that are not floats.
      ValueError: for fewer than two points on a side, different widths, values that are not finite, points that are all
        equal, or options out of range.
    """
    first = host_points("held", held, minimum=2)
    second = host_points("new", new, width=first.shape[1], minimum=2)
    checks.positive_int("limit", limit, minimum=2)
    checks.positive_int("seed", seed, minimum=0)
    generator = np.random.default_rng((seed, 0))
    first, second = (side[chosen_rows(np.arange(len(side)), limit, generator)] for side in (first, second))
    check_resolution(len(first), len(second), permutations=permutations, level=level, units="points")
    squares = squared_distances(np.concatenate([first, second]))
    scale = median_distance(squares) if bandwidth is None else bandwidth
    checks.in_range("bandwidth", scale, 0.0, open_low=True)
    kernel = np.exp(-squares / (2 * scale**2))
    np.fill_diagonal(kernel, 0.0)
    is_new = np.arange(len(kernel)) >= len(first)
    value = float(discrepancies(kernel, is_new[None])[0])
    chunks = relabellings(len(first), len(second), permutations=permutations, seed=seed, chunk=_LABELS)
    permuted = np.concatenate([discrepancies(kernel, labels) for labels in chunks])
    return MMD(
        value=value,
        p_value=permutation_p_value(value, permuted, alternative="greater"),
        bandwidth=float(scale),
        held_count=len(first),
        new_count=len(second),
    )


def squared_distances(points: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n n"]:
    """|x_i - x_j|^2 of all pairs, from one product of centered points; 0 for i = j."""
    centered = points - points.mean(axis=0)
    halves = np.square(centered).sum(axis=1) / 2
    squares = 2 * np.maximum(halves[:, None] + halves[None, :] - centered @ centered.T, 0.0)
    np.fill_diagonal(squares, 0.0)
    return squares


def median_distance(squares: Float64[np.ndarray, "n n"]) -> float:
    """Median distance of the pairs that are not equal; raises ValueError if all are."""
    pairs = squares[np.triu_indices(len(squares), 1)]
    # Rounding leaves 1e-16 of the points' spread between equal ones.
    apart = pairs[pairs > 1e-12 * pairs.max()]
    if not apart.size:
        raise ValueError(f"All {len(squares)} pooled points are equal: there is nothing to compare.")
    return float(np.sqrt(np.median(apart)))


def discrepancies(kernel: Float64[np.ndarray, "n n"], labels: Bool[np.ndarray, "b n"]) -> Float64[np.ndarray, " b"]:
    """Unbiased MMD^2 between the points labeled True and the others, for each row of labels.

    `kernel` has zeros on its diagonal and is symmetric, so that both other sums follow from n' K n and n' K 1.
    """
    new = labels.astype(np.float64)
    m, h = new.sum(axis=1), (1 - new).sum(axis=1)
    inside = np.einsum("bn,bn->b", new @ kernel, new)
    touching = new @ kernel.sum(axis=1)
    across = touching - inside
    outside = kernel.sum() - touching - across
    return inside / (m * (m - 1)) + outside / (h * (h - 1)) - 2 * across / (m * h)
