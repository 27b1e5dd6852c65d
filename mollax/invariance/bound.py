"""Approximate invariance of one-dimensional transforms that add up: how far a transform can move the prediction.

Transforms compose additively, A_T(A_dT(I)) = A_{T+dT}(I), when they are all multiples of one generator: rotations, or
translations along one axis. Densities and predictions are given on a grid of T; quadrature on the host in float64.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from mollax import checks

Host = np.ndarray | jax.Array

# How far an integral over the grid may be from 1, and how much of a density may be moved off the grid.
_MASS, _LOST = 0.02, 1e-4


class InvarianceBound(NamedTuple):
    """Both sides of the bound for k classes.

    Attributes:
      prediction: p(C|I) = int g(T; I) f(C; A_T I) dT.
      moved_prediction: p(C|I'), for I' = A_dT(I).
      change: the left side, |p(C|I) - p(C|I')|.
      variation: M - m, how far f ranges over what I and I' see.
      distance: TV between g(T - dT; I') and g(T; I), in [0, 1]; 0 for an equivariant augmenter.
      sharp: (M - m) TV, attained where f is M wherever one density is the larger and m elsewhere.
      loose: 2 (M - m) TV, as the paper prints it.
    """

    prediction: Float[np.ndarray, " k"]
    moved_prediction: Float[np.ndarray, " k"]
    change: Float[np.ndarray, " k"]
    variation: Float[np.ndarray, " k"]
    distance: float
    sharp: Float[np.ndarray, " k"]
    loose: Float[np.ndarray, " k"]


def cell_centers(low: float, high: float, *, cells: int) -> Float[np.ndarray, " t"]:
    """The centers of equal cells that fill [low, high]: a grid for `invariance_bound`, with neither end on it.

    Raises:
      ValueError: unless low < high and there are two cells or more.
    """
    checks.positive_int("cells", cells, minimum=2)
    if not low < high:
        raise ValueError(f"low must be below high; got {low} and {high}.")
    return low + (high - low) * (np.arange(cells) + 0.5) / cells


def invariance_bound(
    grid: Float[Host, " t"],
    density: Float[Host, " t"],
    moved_density: Float[Host, " t"],
    predictions: Float[Host, "t k"],
    *,
    shift: float,
    period: float | None = None,
) -> InvarianceBound:
    """|p(C|I) - p(C|I')| <= (M - m) TV[g(T - dT; I') || g(T; I)], I' = A_dT(I) (section 3; METHODS section 2).

    A transform T of I' shows what T + dT of I shows, so p(C|I') = int g(T; I') f(C; A_{T+dT} I) dT
    = int g(T - dT; I') f(C; A_T I) dT: the density of I' moves by +dT. Both densities integrate to 1, hence a constant
    may be taken from f, and with the middle (M + m) / 2 the change is at most (M - m)/2 int |g' - g| = (M - m) TV. M
    and m are the extremes of f over supp g(.; I) and supp g(.; I') + dT (the paper forgets this dT), the support being
    where a density is positive.

    On the grid the densities are normalised, and between its points they are interpolated linearly, which keeps their
    mass; the inequality then holds but for rounding, and the error of the grid is that of the quadrature.

    Args:
      grid: T at the centers of equal cells, increasing, as from `cell_centers`; in the units of the parameters.
      density: g(T; I) at `grid`, exp(log_prob); 0 outside the range of the flow.
      moved_density: g(T; I') at `grid`, not yet moved by dT.
      predictions: f(C; A_T I) for T at `grid`, for the original image alone.
      shift: dT.
      period: after which transforms repeat, 2 for the parameter of a rotation: the grid must be one period, and
        densities move around it. None: on an interval, which must be wide enough for the moved density too. (On an
        interval longer than a period the bound holds also for rotations, only less tightly.)

    Raises:
      ValueError: for a grid that is not increasing and even, or not one period; densities that are negative, not finite
        or do not integrate to 1 on the grid; predictions that are not finite; a density that moves off the interval.
    """
    points, cell = _grid(grid, period)
    checks.rank("predictions", predictions, 2, "(grid, classes)")
    values = np.asarray(predictions).astype(np.float64)
    checks.same_length(("grid", "predictions"), (points, values))
    if not np.isfinite(values).all():
        raise ValueError("predictions must be finite. Look for a diverged classifier.")
    checks.in_range("shift", shift)
    here = _weights("density", density, points, cell)
    there = _weights("moved_density", moved_density, points, cell)
    moved = _move(there, shift / cell, around=period is not None)
    if 1 - moved.sum() > _LOST:
        raise ValueError(
            f"A shift of {shift:g} moves {1 - moved.sum():.2%} of moved_density off the grid [{points[0]:g}, "
            f"{points[-1]:g}]. Widen the grid by the shift on both sides, or give the period of the transforms."
        )
    moved = moved / moved.sum()
    seen = values[(here > 0) | (moved > 0)]
    variation = seen.max(axis=0) - seen.min(axis=0)
    distance = float(np.abs(moved - here).sum() / 2)
    before, after = here @ values, moved @ values
    sharp = variation * distance
    return InvarianceBound(before, after, np.abs(before - after), variation, distance, sharp, 2 * sharp)


def _grid(grid: Float[Host, " t"], period: float | None) -> tuple[Float[np.ndarray, " t"], float]:
    """Grid points and the size of their cells."""
    checks.rank("grid", grid, 1, "(grid,)")
    points = np.asarray(grid).astype(np.float64)
    if len(points) < 2:
        raise ValueError(f"grid must hold two points or more; got {len(points)}.")
    cell = float(points[-1] - points[0]) / (len(points) - 1)
    if not (cell > 0 and np.abs(np.diff(points) - cell).max() < 0.01 * cell):
        raise ValueError("grid must increase in equal steps. Make it with cell_centers.")
    if period is not None and not abs(len(points) * cell - period) < 0.01 * cell:
        raise ValueError(
            f"grid must cover one period of {period:g}, without its end twice; its {len(points)} cells cover "
            f"{len(points) * cell:g}. Make it with cell_centers(low, low + period, cells=...)."
        )
    return points, cell


def _weights(name: str, density: Float[Host, " t"], points: np.ndarray, cell: float) -> Float[np.ndarray, " t"]:
    """Probabilities of the cells."""
    checks.rank(name, density, 1, "(grid,)")
    values = np.asarray(density).astype(np.float64)
    checks.same_length(("grid", name), (points, values))
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(f"{name} must be finite and not negative: exp(log_prob), 0 outside the flow's range.")
    mass = float(values.sum() * cell)
    if abs(mass - 1) > _MASS:
        raise ValueError(
            f"{name} must integrate to 1 on the grid; it integrates to {mass:.4g}. Cover its whole support, "
            "with more cells if it is peaked."
        )
    return values / values.sum()


def _move(weights: Float[np.ndarray, " t"], cells: float, *, around: bool) -> Float[np.ndarray, " t"]:
    """Weights moved right by a number of cells, whole or not; what leaves an interval is gone."""
    nearest = round(cells)
    if abs(cells - nearest) < 1e-4:  # grids in float32 miss whole cells by this much
        cells = float(nearest)
    whole = int(np.floor(cells))
    part = cells - whole
    source = np.arange(len(weights)) - whole

    def read(at: np.ndarray) -> np.ndarray:
        if around:
            return weights[at % len(weights)]
        return np.where((at >= 0) & (at < len(weights)), weights[np.clip(at, 0, len(weights) - 1)], 0.0)

    return (1 - part) * read(source) + part * read(source - 1)
