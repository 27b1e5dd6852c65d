"""The same pass over a bank on the host, on one device, or split over several."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from mollax.drift import stream
from mollax.drift.points import Host
from mollax.drift.stream import Block, Mixture, Queries, Running

AXIS = "bank"


def on_host(
    queries: Float[Array, "m d"],
    bank: Float[np.ndarray, "n d"],
    mixtures: tuple[Mixture, ...],
    mine: Int[Array, " m"] | None,
    theirs: Int[Array, " n"] | None,
    *,
    query_rows: int,
    bank_rows: int,
) -> Float[Array, " m"]:
    """Log-sum of Gaussians, less the constant of `stream.prepare`; one block of the bank is on the device at a time."""
    center = queries.mean(axis=0)
    prepared, running = stream.start(queries, center, mine, query_rows=query_rows)
    number, rows = stream.even(len(bank), bank_rows)
    for i in range(number):
        low = min(i * rows, len(bank) - rows)  # the last block overlaps the one before it
        part = jnp.asarray(bank[low : low + rows], queries.dtype)
        owners = None if theirs is None else theirs[low : low + rows]
        running = _update(running, prepared, part, owners, center, mixtures, low, i * rows, len(bank))
        jax.block_until_ready(running)  # or every block of the bank would wait in memory for its turn
    known = Running(*(part.reshape(-1)[: len(queries)] for part in running))
    found = []
    for low in range(0, len(queries), query_rows):
        where = slice(low, low + query_rows)
        nearest = jnp.asarray(bank[np.asarray(known.place[where])], queries.dtype)
        found.append(_finish(queries[where], nearest, Running(*(part[where] for part in known)), mixtures))
    return jnp.concatenate(found)


@partial(jax.jit, static_argnames=("query_rows", "bank_rows"))
def on_device(
    queries: Float[Array, "m d"],
    bank: Float[Array, "n d"],
    mixtures: tuple[Mixture, ...],
    mine: Int[Array, " m"] | None,
    theirs: Int[Array, " n"] | None,
    *,
    query_rows: int,
    bank_rows: int,
) -> Float[Array, " m"]:
    """The same of a bank that is an array of the device."""
    return _scan(queries, bank, mixtures, mine, theirs, 0, len(bank), query_rows, bank_rows)


def on_devices(
    queries: Float[Array, "m d"],
    bank: Float[Host, "n d"],
    mixtures: tuple[Mixture, ...],
    mine: Int[Array, " m"] | None,
    theirs: Int[Array, " n"] | None,
    *,
    devices: Sequence[jax.Device],
    query_rows: int,
    bank_rows: int,
) -> Float[Array, " m"]:
    """The same of a bank that is split over devices, each of which sums its part."""
    compiled, whole, split = _split(tuple(devices), query_rows, bank_rows)
    pad = -len(bank) % len(devices)
    module: Any = np if isinstance(bank, np.ndarray) else jnp
    padded = module.pad(bank, ((0, pad), (0, 0))) if pad else bank
    owners = None if theirs is None else jax.device_put(jnp.pad(theirs, (0, pad), constant_values=-1), split)
    arguments = jax.device_put((queries, mixtures, mine, jnp.int32(len(bank))), whole)
    return compiled(arguments, jax.device_put(padded, split), owners)


@lru_cache(maxsize=8)
def _split(devices: tuple[jax.Device, ...], query_rows: int, bank_rows: int) -> tuple[Any, Any, Any]:
    """The compiled function and the layouts of what every device has and of what is split."""
    mesh = Mesh(np.array(devices), (AXIS,))
    whole, cut = PartitionSpec(), PartitionSpec(AXIS)

    def on_one(arguments: Any, bank: Any, theirs: Any) -> Any:
        queries, mixtures, mine, end = arguments
        first = jax.lax.axis_index(AXIS) * len(bank)
        logs = _scan(queries, bank, mixtures, mine, theirs, first, end, query_rows, bank_rows)
        peak = jax.lax.pmax(jax.lax.stop_gradient(logs), AXIS)
        # A device may hold nothing but padding: then its sum is log 0.
        return peak + jnp.log(jax.lax.psum(jnp.exp(logs - peak), AXIS))

    sharded = jax.shard_map(on_one, mesh=mesh, in_specs=(whole, cut, cut), out_specs=whole, check_vma=False)
    return jax.jit(sharded), NamedSharding(mesh, whole), NamedSharding(mesh, cut)


def _scan(
    queries: Float[Array, "m d"],
    bank: Float[Array, "n d"],
    mixtures: tuple[Mixture, ...],
    mine: Int[Array, " m"] | None,
    theirs: Int[Array, " n"] | None,
    first: int | Int[Array, ""],
    end: int | Int[Array, ""],
    query_rows: int,
    bank_rows: int,
) -> Float[Array, " m"]:
    """Of rows `first`, first + 1, ... of a bank of `end` rows; those beyond do not count."""
    center = jax.lax.stop_gradient(queries.mean(axis=0))
    prepared, running = stream.start(queries, center, mine, query_rows=query_rows)
    number, rows = stream.even(len(bank), bank_rows)

    @jax.checkpoint  # the gradient computes a block's distances again: those of all blocks would not fit
    def step(running: Running, i: Int[Array, ""]) -> tuple[Running, None]:
        low = jnp.minimum(i * rows, len(bank) - rows)
        part = jax.lax.dynamic_slice_in_dim(bank, low, rows).astype(queries.dtype)
        owners = None if theirs is None else jax.lax.dynamic_slice_in_dim(theirs, low, rows)
        return _update(running, prepared, part, owners, center, mixtures, first + low, first + i * rows, end), None

    running, _ = jax.lax.scan(step, running, jnp.arange(number, dtype=jnp.int32))
    blocks, size = running.peak.shape
    points = jnp.pad(queries, ((0, blocks * size - len(queries)), (0, 0))).reshape(blocks, size, -1)

    def finish(pair: tuple[Any, Running]) -> Float[Array, " b"]:
        points, running = pair
        return _finish(points, bank[running.place - first].astype(points.dtype), running, mixtures)

    return jax.lax.map(finish, (points, running)).reshape(-1)[: len(queries)]


@jax.jit
def _update(
    running: Running,
    queries: Queries,
    rows: Float[Array, "n d"],
    owners: Int[Array, " n"] | None,
    center: Float[Array, " d"],
    mixtures: tuple[Mixture, ...],
    low: int | Int[Array, ""],
    new: int | Int[Array, ""],
    end: int | Int[Array, ""],
) -> Running:
    """What is known after the bank's rows from number `low` on; those from `new` to `end` count."""
    places = (low + jnp.arange(len(rows), dtype=jnp.int32)).astype(jnp.int32)
    counts = jnp.where((places >= new) & (places < end), 0.0, -jnp.inf).astype(rows.dtype)
    return stream.over_blocks(running, queries, Block(rows, places, counts, owners), center, mixtures)


@jax.jit
def _finish(
    queries: Float[Array, "b d"], nearest: Float[Array, "b d"], running: Running, mixtures: tuple[Mixture, ...]
) -> Float[Array, " b"]:
    """The largest exponent anew, and the sum of all relative to it, which has the gradient."""
    largest = stream.largest_exponents(queries, nearest, running.place, running.member, mixtures)
    return jax.lax.stop_gradient(largest) + jnp.log(running.total)
