"""Densities by brute force, in float64: Gaussians about every version of every bank point."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

Mixture = list[tuple[float, float, np.ndarray]]
"""(weight, sigma, centers (n, d)) of every Gaussian about every bank point."""


def log_terms(queries: np.ndarray, mixture: Mixture) -> np.ndarray:
    """log p(x_j | x_i), (m, n), from differences."""
    width = queries.shape[1]
    terms = []
    for weight, sigma, centers in mixture:
        squares = np.square(queries[:, None].astype(np.float64) - centers[None].astype(np.float64)).sum(axis=2)
        terms.append(np.log(weight) - squares / (2 * sigma**2) - width / 2 * np.log(2 * np.pi * sigma**2))
    return logsumexp(np.stack(terms), axis=0)


def log_density(queries: np.ndarray, mixture: Mixture) -> np.ndarray:
    """log 1/n sum_i p(x_j | x_i)."""
    terms = log_terms(queries, mixture)
    return logsumexp(terms, axis=1) - np.log(terms.shape[1])


def by_scipy(queries: np.ndarray, mixture: Mixture) -> np.ndarray:
    """The same by scipy's Gaussians, for few points."""
    width, total = queries.shape[1], np.zeros(len(queries))
    for weight, sigma, centers in mixture:
        for center in centers:
            total += weight / len(centers) * multivariate_normal(center, sigma**2 * np.eye(width)).pdf(queries)
    return np.log(total)


def mass(density, low: float, high: float, width: int, *, points: int) -> float:
    """Integral of density (points (n, d)) -> (n,) over a cube of 1 or 2 dimensions, by the midpoint rule."""
    edges = np.linspace(low, high, points + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    grid = np.stack(np.meshgrid(*[middles] * width, indexing="ij"), axis=-1).reshape(-1, width)
    return float(np.sum(density(grid)) * (edges[1] - edges[0]) ** width)
