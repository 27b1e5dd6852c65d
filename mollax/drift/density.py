"""Log-density of points under the augmented bank, p_theta(x) = 1/N sum_i p_theta(x | x_i) (METHODS section 4).

What float32 can hold: points are centered and the largest Gaussian's exponent is taken from the difference, so where
few points of the bank count the result is right to its last digits, 5e-4 nat at 4,000 nats. The weights of the other
points are rounded by about 1e-7 |q| |b| / sigma^2 nats, q and b being centered.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mollax import checks
from mollax.drift import banks, stream
from mollax.drift.kernels import Kernel
from mollax.drift.points import Host, check_points

QUERY_ROWS, BANK_ROWS = 256, 4096


def log_density(
    queries: Float[Host, "m d"],
    bank: Float[Host, "n d"],
    kernel: Kernel,
    *,
    devices: Sequence[jax.Device] | None = None,
    query_rows: int = QUERY_ROWS,
    bank_rows: int = BANK_ROWS,
) -> Float[Array, " m"]:
    """log 1/N sum_i p_theta(x | x_i) of each query, in nats, in the queries' precision; -inf below its range.

    Differentiable in the queries, the bank and the kernel's numbers if the bank is an array of the device.

    Args:
      queries: points: flattened images in [0, 1] or features.
      bank: points of the same kind. A NumPy array or memmap is read from the host block by block and never copied
        whole, but under jit and vmap, whose programs hold it as a constant; an array of the device is used where it
        lies, under jit too.
      kernel: p_theta(x | x_i), such as `Gaussian(0.1)`.
      devices: splits the bank over these, to which it is copied. One device by default.
      query_rows, bank_rows: at most so many are compared at a time. Memory beyond the arguments: one copy of the
        queries, a block of the bank, and the distances between two blocks.

    Raises:
      ValueError: for points of different widths, none, not finite, a kernel for points of another width, or one that
        is too narrow for the queries' precision.
      TypeError: for points that are not floating-point numbers.
    """
    check_points("queries", queries)
    check_points("bank", bank, width=queries.shape[1])
    sums = log_sums(queries, bank, kernel, devices=devices, query_rows=query_rows, bank_rows=bank_rows)
    return sums - math.log(len(bank))


def log_sums(
    queries: Float[Host, "m d"],
    bank: Float[Host, "n d"],
    kernel: Kernel,
    *,
    owners: tuple[Int[Host, " m"], Int[Host, " n"]] | None = None,
    devices: Sequence[jax.Device] | None = None,
    query_rows: int = QUERY_ROWS,
    bank_rows: int = BANK_ROWS,
) -> Float[Array, " m"]:
    """log sum_i p_theta(x | x_i) over the rows of the bank, without those of the query's own owner.

    Args:
      queries, bank, kernel, devices, query_rows, bank_rows: as for `log_density`; the points are not checked again.
      owners: of queries and of bank rows, integers of at least 0; none by default, and every row counts.

    Raises:
      ValueError: for numbers of rows below 1, no device, or a kernel that the points cannot have.
    """
    checks.positive_int("query_rows", query_rows)
    checks.positive_int("bank_rows", bank_rows)
    if devices is not None and not len(devices):
        raise ValueError("devices must name at least one device; got none. Leave it out for the default one.")
    points = jnp.asarray(queries)
    mixtures, constant = stream.prepare(kernel.groups(points.shape[1]), points.shape[1], points.dtype)
    mine, theirs = (None, None) if owners is None else (jnp.asarray(ids, jnp.int32) for ids in owners)
    rest = (mixtures, mine, theirs)
    if devices is not None:
        logs = banks.on_devices(points, bank, *rest, devices=devices, query_rows=query_rows, bank_rows=bank_rows)
    elif isinstance(bank, np.ndarray) and _known((points, mixtures)):
        logs = banks.on_host(points, bank, *rest, query_rows=query_rows, bank_rows=bank_rows)
    else:
        logs = banks.on_device(points, jnp.asarray(bank), *rest, query_rows=query_rows, bank_rows=bank_rows)
    return logs + jnp.asarray(constant, points.dtype)


def _known(tree: Any) -> bool:
    """Whether there are numbers to compute with now, as there are not under jit and vmap; a gradient alone has them."""
    try:
        for leaf in jax.tree.leaves(tree):
            if isinstance(leaf, jax.core.Tracer) and jnp.issubdtype(leaf.dtype, jnp.floating):
                np.asarray(jnp.argmax(leaf))  # an integer, which gradients do not follow
    except jax.errors.TracerArrayConversionError:
        return False
    return True
