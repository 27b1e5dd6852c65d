"""Log-densities of queries under a mixture about every row of a bank, one block of both at a time.

One pass does all: a block of distances, its Gaussians' running maximum and the running sum of exponentials. Of the
largest Gaussian of each query the place is kept, and its exponent is taken from the difference at the end: that is what
rounding of |q|^2 - 2 q b + |b|^2 would spoil for a near point and a small sigma.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from mollax.drift.kernels import Group, Transform

HIGHEST = jax.lax.Precision.HIGHEST


@struct.dataclass
class Mixture:
    """A kernel's group of Gaussians as the pass needs it; v versions, r Gaussians about each.

    Attributes:
      scale: a, (v, r).
      precision: 1 / s^2, (v, r).
      offset: log w - d log s, less their maximum over the kernel, (v, r).
      first: number of the group's first Gaussian in the kernel.
    """

    scale: Any
    precision: Any
    offset: Any
    parameters: Any
    first: int = struct.field(pytree_node=False)
    transform: Transform | None = struct.field(pytree_node=False)

    def version(self, parameters: Any, rows: Float[Array, "n d"], places: Int[Array, " n"]) -> Float[Array, "n d"]:
        """As `Group.version`."""
        return rows if self.transform is None else self.transform(parameters, rows, places)


class Running(NamedTuple):
    """What is known of each query so far.

    Attributes:
      peak: the largest logarithm of a Gaussian.
      total: sum of all Gaussians over the largest.
      place: bank row of the largest.
      member: its number among the kernel's Gaussians.
    """

    peak: Float[Array, "*n"]
    total: Float[Array, "*n"]
    place: Int[Array, "*n"]
    member: Int[Array, "*n"]


class Block(NamedTuple):
    """Rows of the bank: points, places in the bank, whether they count (0 or -inf), and the group each belongs to."""

    rows: Float[Array, "n d"]
    places: Int[Array, " n"]
    counts: Float[Array, " n"]
    owners: Int[Array, " n"] | None


class Queries(NamedTuple):
    """Points less `center`, half their squared lengths, their products with the center, and their own groups."""

    points: Float[Array, "*n d"]
    halves: Float[Array, "*n"]
    products: Float[Array, "*n"]
    owners: Int[Array, "*n"] | None


def prepare(groups: tuple[Group, ...], width: int, dtype: Any) -> tuple[tuple[Mixture, ...], Any]:
    """Mixtures in the pass's precision and the constant they leave out; in float64 where numbers are known.

    Raises:
      ValueError: for a sigma, if it is known, whose 1 / sigma^2 is beyond the precision.
    """
    for group in groups:
        _check_sigma(group.sigma, dtype)
    traced = any(isinstance(leaf, jax.Array) for g in groups for leaf in (g.scale, g.sigma, g.log_weight))
    module: Any = jnp if traced else np
    offsets = [module.asarray(g.log_weight) - width * module.log(g.sigma) for g in groups]
    top = offsets[0].max()
    for offset in offsets[1:]:
        top = module.maximum(top, offset.max())
    mixtures, first = [], 0
    for group, offset in zip(groups, offsets, strict=True):
        scale, precision, offset = (
            jnp.asarray(part, dtype) for part in (group.scale, 1 / module.square(group.sigma), offset - top)
        )
        mixtures.append(Mixture(scale, precision, offset, group.parameters, first, group.transform))
        first += offset.size
    return tuple(mixtures), top - width / 2 * math.log(2 * math.pi)


def _check_sigma(sigma: Any, dtype: Any) -> None:
    if isinstance(sigma, jax.core.Tracer):
        return
    least, smallest = 1 / math.sqrt(float(jnp.finfo(dtype).max)), float(np.min(np.asarray(sigma).astype(np.float64)))
    if not smallest > least:
        name = jnp.dtype(dtype).name
        raise ValueError(
            f"The kernel's sigma must be above {least:.2g}, or 1 / sigma^2 is beyond {name}; got {smallest:g}. Give a "
            "larger sigma, or points of a higher precision."
        )


def even(count: int, rows: int) -> tuple[int, int]:
    """(number of blocks, rows in each), as even as they get: the last may lack less than one row a block."""
    number = max(1, math.ceil(count / rows))
    return number, math.ceil(count / number)


def tree_sum(values: Float[Array, "n d"]) -> Float[Array, " n"]:
    """Sum of each row in pairs of pairs: its rounding grows with log d, which thousands of nats ask for."""
    width = 1 << max(0, math.ceil(math.log2(values.shape[1])))
    values = jnp.pad(values, ((0, 0), (0, width - values.shape[1])))
    while width > 1:
        width //= 2
        values = values[:, :width] + values[:, width:]
    return values[:, 0]


@partial(jax.jit, static_argnames="query_rows")
def start(
    queries: Float[Array, "n d"],
    center: Float[Array, " d"],
    owners: Int[Array, " n"] | None,
    *,
    query_rows: int,
) -> tuple[Queries, Running]:
    """Queries less the center in blocks (k, query rows, d), and what is known before anything was seen."""
    number, rows = even(len(queries), query_rows)
    pad = number * rows - len(queries)
    points = jnp.pad(queries - center[None, :], ((0, pad), (0, 0))).reshape(number, rows, queries.shape[1])
    halves = jnp.square(points).sum(axis=2) / 2
    products = jnp.matmul(points, center, precision=HIGHEST)
    own = None if owners is None else jnp.pad(owners, (0, pad), constant_values=-1).reshape(number, rows)
    zeros = jnp.zeros((number, rows), jnp.int32)
    # A finite floor: -inf less -inf would be no number.
    floor = jnp.full((number, rows), jnp.finfo(points.dtype).min / 4, points.dtype)
    return Queries(points, halves, products, own), Running(floor, jnp.zeros_like(floor), zeros, zeros)


def over_blocks(
    running: Running, queries: Queries, block: Block, center: Float[Array, " d"], mixtures: tuple[Mixture, ...]
) -> Running:
    """What is known after one block of the bank."""
    for mixture in mixtures:
        size = mixture.scale.shape[1]
        numbers = mixture.first + size * jnp.arange(len(mixture.scale), dtype=jnp.int32)
        leaves = (mixture.parameters, mixture.scale, mixture.precision, mixture.offset, numbers)

        def of_version(running: Running, leaves: Any, mixture: Mixture = mixture) -> tuple[Running, None]:
            parameters, *gaussians = leaves
            points = mixture.version(parameters, block.rows, block.places) - center[None, :]
            halves = jnp.square(points).sum(axis=1) / 2
            products = jnp.matmul(points, center, precision=HIGHEST)
            of_queries = partial(_of_queries, points, halves, products, block, jnp.square(center).sum() / 2, gaussians)
            return jax.lax.map(of_queries, (queries, running)), None

        if len(mixture.scale) == 1:
            running, _ = of_version(running, jax.tree.map(lambda leaf: leaf[0], leaves))
        else:
            running, _ = jax.lax.scan(of_version, running, leaves)
    return running


def _of_queries(
    points: Float[Array, "n d"],
    halves: Float[Array, " n"],
    products: Float[Array, " n"],
    block: Block,
    center_half: Float[Array, ""],
    gaussians: Any,
    pair: tuple[Queries, Running],
) -> Running:
    """What a block of queries knows after one version of a block of the bank: one product, r passes of exponentials.

    With c the center, q' = q - c, b' = b - c and h the half squared lengths,
    |q - a b|^2 / 2 = h(q') + (1-a) q'c + (1-a)^2 h(c) + a^2 h(b') - a (q'b' + (1-a) b'c).
    """
    queries, running = pair
    product = jnp.matmul(queries.points, points.T, precision=HIGHEST)
    counts = block.counts[None, :]
    if queries.owners is not None and block.owners is not None:
        counts = jnp.where(queries.owners[:, None] == block.owners[None, :], -jnp.inf, counts)
    scales, precisions, offsets, number = gaussians

    def of_gaussian(running: Running, gaussian: Any) -> tuple[Running, None]:
        scale, precision, offset, number = gaussian
        rest = 1 - scale
        own = queries.halves + rest * queries.products + rest**2 * center_half
        theirs = scale**2 * halves - scale * rest * products
        half = jnp.maximum(own[:, None] + (theirs[None, :] - scale * product), 0)
        logs = (offset - precision * half) + counts
        # The maximum only scales: its own gradient would cancel, and computed anew it may equal none of the values.
        top = jax.lax.stop_gradient(logs).max(axis=1)
        nearest = jnp.argmax(jax.lax.stop_gradient(logs), axis=1)
        peak = jnp.maximum(running.peak, top)
        here = jnp.exp(logs - peak[:, None]).sum(axis=1)
        total = running.total * jnp.exp(running.peak - peak) + here
        nearer = top > running.peak
        place = jnp.where(nearer, block.places[nearest], running.place)
        return Running(peak, total, place, jnp.where(nearer, number, running.member)), None

    size = len(scales)
    if size == 1:
        return of_gaussian(running, (scales[0], precisions[0], offsets[0], number))[0]
    numbers = number + jnp.arange(size, dtype=jnp.int32)
    return jax.lax.scan(of_gaussian, running, (scales, precisions, offsets, numbers))[0]


def largest_exponents(
    queries: Float[Array, "n d"],
    rows: Float[Array, "n d"],
    places: Int[Array, " n"],
    members: Int[Array, " n"],
    mixtures: tuple[Mixture, ...],
) -> Float[Array, " n"]:
    """Logarithm of the one Gaussian of each query that `places` and `members` name, from the difference.

    `rows` are the bank's rows at those places.
    """
    found = jnp.zeros(len(queries), queries.dtype)
    for mixture in mixtures:
        size = mixture.scale.shape[1]
        local = jnp.clip(members - mixture.first, 0, mixture.scale.size - 1)
        ours = (members >= mixture.first) & (members - mixture.first < mixture.scale.size)
        versions, numbers = local // size, local % size
        points = rows
        if mixture.transform is not None:
            parameters = jax.tree.map(lambda leaf, v=versions: leaf[v], mixture.parameters)
            points = jax.vmap(lambda p, row, place, m=mixture: m.version(p, row[None], place[None])[0])(
                parameters, rows, places
            )
        scale, precision, offset = (
            part[versions, numbers] for part in (mixture.scale, mixture.precision, mixture.offset)
        )
        distance = tree_sum(jnp.square(queries - scale[:, None] * points))
        found = jnp.where(ours, offset - precision / 2 * distance, found)
    return found
