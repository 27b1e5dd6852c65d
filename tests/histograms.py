"""Do samples follow a density? Its integral and the total-variation distance of a histogram, in 1-d or 2-d."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np


def cells(low: float, high: float, *, bins: int, dimension: int, fine: int = 8) -> tuple[np.ndarray, float]:
    """Midpoints, (points, dimension), of `fine` parts an axis of all bins, bin after bin; and a part's volume."""
    edges = np.linspace(low, high, bins * fine + 1)
    ticks = (edges[:-1] + edges[1:]) / 2
    grid = np.stack(np.meshgrid(*[ticks] * dimension, indexing="ij"), -1)
    grid = grid.reshape(*[bins, fine] * dimension, dimension)
    order = [*range(0, 2 * dimension, 2), *range(1, 2 * dimension, 2), 2 * dimension]
    return grid.transpose(order).reshape(-1, dimension).astype(np.float32), float((edges[1] - edges[0]) ** dimension)


def compare(
    samples: np.ndarray,
    log_prob: Callable[[np.ndarray], jax.Array],
    low: float,
    high: float,
    *,
    bins: int,
    fine: int = 8,
) -> tuple[float, float, float]:
    """Total-variation distance of the samples' histogram, (n, d), from exp(log_prob) of points (m, d).

    Returns it, what samples of the density would give on average, and the density's integral over the box. Samples and
    mass outside of the box are a bin of their own.
    """
    n, dimension = samples.shape
    points, volume = cells(low, high, bins=bins, dimension=dimension, fine=fine)
    density = np.exp(np.asarray(log_prob(jnp.asarray(points)), np.float64))
    mass = density.reshape(bins**dimension, -1).sum(1) * volume
    counts = np.histogramdd(samples, bins=[np.linspace(low, high, bins + 1)] * dimension)[0].ravel()
    outside = abs(n - counts.sum()) / n
    distance = 0.5 * (np.abs(counts / n - mass).sum() + abs(outside - max(0.0, 1 - mass.sum())))
    # Mean absolute error of a frequency, in the normal approximation.
    expected = 0.5 * np.sqrt(2 * mass * np.clip(1 - mass, 0, 1) / (np.pi * n)).sum()
    return float(distance), float(expected), float(mass.sum())
