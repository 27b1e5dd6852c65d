"""Leave-one-out log-density of the bank's own points: how well theta explains points that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mollax import checks
from mollax.drift.density import BANK_ROWS, QUERY_ROWS, log_sums
from mollax.drift.kernels import Kernel
from mollax.drift.points import Host, check_points

CHUNK = 8192  # points that are queries at a time: they are copied


def leave_one_out(
    bank: Float[Host, "n d"],
    kernel: Kernel,
    *,
    groups: Int[Host, " n"] | None = None,
    rows: Int[Host, " m"] | None = None,
    devices: Sequence[jax.Device] | None = None,
    query_rows: int = QUERY_ROWS,
    bank_rows: int = BANK_ROWS,
) -> Float[Array, " m"]:
    """log p_{-i}(x_i) = log 1/(N-1) sum_{k != i} p_theta(x_i | x_k) of points of the bank, in nats.

    Args:
      bank: points; see `log_density`, also for the other arguments.
      groups: of writers, videos or patients, integers of at least 0; all points of x_i's group are left out with it.
      rows: which points; all by default.

    Raises:
      ValueError: for fewer than two points or groups, identical points (they say nothing about theta), rows that are
        not in the bank, or as `log_density` does.
      TypeError: for points that are not floating-point numbers.
    """
    check_points("bank", bank)
    check_spread("bank", bank)
    count = len(bank)
    if groups is None:
        owners, left = np.arange(count, dtype=np.int32), np.full(count, count - 1.0)
    else:
        owners, left = _groups(groups, count)
    chosen = np.arange(count) if rows is None else _places(rows, count)
    found = [
        log_sums(
            bank[some],
            bank,
            kernel,
            owners=(owners[some], owners),
            devices=devices,
            query_rows=query_rows,
            bank_rows=bank_rows,
        )
        for some in (chosen[low : low + CHUNK] for low in range(0, len(chosen), CHUNK))
    ]
    logs = jnp.concatenate(found)
    return logs - jnp.asarray(np.log(left[chosen]), logs.dtype)


def check_spread(name: str, points: Float[Host, "n d"]) -> None:
    """Raises ValueError unless there are two points that differ. What is being compiled is not looked at."""
    if len(points) < 2:
        raise ValueError(f"{name} must hold at least two points for leave-one-out; got {len(points)}.")
    if isinstance(points, jax.core.Tracer):
        return
    first = points[:1]
    for low in range(0, len(points), CHUNK):
        if bool((points[low : low + CHUNK] != first).any()):
            return
    raise ValueError(
        f"All {len(points)} points of {name} are identical: every narrower kernel explains them better, "
        "so they cannot choose theta. Give a bank of different images."
    )


def _groups(groups: Int[Host, " n"], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Group numbers of the points, and how many points lie outside of each point's group."""
    checks.rank("groups", groups, 1, "(points,)")
    checks.same_length(("groups", "bank"), (groups, range(count)))
    distinct, owners, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    if len(distinct) < 2:
        raise ValueError("groups must name at least two groups: all points are in one, and nothing would be left.")
    return owners.astype(np.int32), (count - sizes[owners]).astype(np.float64)


def _places(rows: Int[Host, " m"], count: int) -> np.ndarray:
    """Places of the points that are asked for."""
    places = np.asarray(rows)
    if places.ndim != 1 or not len(places) or places.min() < 0 or places.max() >= count:
        raise ValueError(f"rows must be a non-empty list of places in a bank of {count} points, 0 to {count - 1}.")
    return places
