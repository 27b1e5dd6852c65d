"""The matrix of log-kernels between few points, on the host in float64: what tests that relabel points work on."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int

from mollax.drift.kernels import Group, Kernel
from mollax.drift.points import Host
from mollax.drift.samples import host_points

_ROWS = 256
"""Queries treated at once."""


def log_kernel(queries: Float[Host, "m d"], bank: Float[Host, "n d"], kernel: Kernel) -> Float64[np.ndarray, "m n"]:
    """log p(x_j | x_i) of every query j (row) under the kernel around every bank point i (column), in nats.

    log_density(queries, bank, kernel)[j] is the logsumexp of row j less log n. Versions of bank points are made by JAX
    in its precision, distances and sums in float64. Memory: m x n, and the versions of one kind.

    Raises:
      TypeError: for points that are not floats.
      ValueError: for points of different widths, none at all, or not finite.
    """
    left = host_points("queries", queries)
    width = left.shape[1]
    right = host_points("bank", bank, width=width)
    matrix = np.full((len(left), len(right)), -np.inf)
    for group in kernel.groups(width):
        scale, sigma, log_weight = (
            np.asarray(part).astype(np.float64) for part in (group.scale, group.sigma, group.log_weight)
        )
        weights = log_weight - width * np.log(np.sqrt(2 * np.pi) * sigma)
        for number in range(len(scale)):
            centers = right
            if group.transform is not None:
                centers = np.asarray(_version(group, number, jnp.asarray(right))).astype(np.float64)
            _add(matrix, left, centers, scale[number], sigma[number], weights[number])
    return matrix


@jax.jit
def _version(group: Group, number: int | Int[Array, ""], rows: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """One version of the bank, all rows at once."""
    parameters = jax.tree.map(lambda part: jnp.asarray(part)[number], group.parameters)
    return group.version(parameters, rows, jnp.arange(len(rows), dtype=jnp.int32))


def _add(
    matrix: Float64[np.ndarray, "m n"],
    queries: Float64[np.ndarray, "m d"],
    centers: Float64[np.ndarray, "n d"],
    scale: Float64[np.ndarray, " r"],
    sigma: Float64[np.ndarray, " r"],
    weights: Float64[np.ndarray, " r"],
) -> None:
    """Adds Gaussians about one version of the bank to the densities whose logarithms `matrix` holds, in place."""
    norms = np.square(centers).sum(axis=1)
    for start in range(0, len(queries), _ROWS):
        rows = slice(start, start + _ROWS)
        block = queries[rows]
        products = block @ centers.T
        squares = np.square(block).sum(axis=1)
        for a, s, weight in zip(scale, sigma, weights, strict=True):
            distances = np.maximum(squares[:, None] - 2 * a * products + a**2 * norms[None, :], 0.0)
            np.logaddexp(matrix[rows], weight - distances / (2 * s**2), out=matrix[rows])
