"""KNN: squared distance to the k-th nearest training feature (Sun et al. 2022), exact.

As in the authors' code the score is the squared distance; the distance itself, which other code takes, has the same
order. Queries and bank are searched in blocks, query_rows x bank_rows distances at a time, and a bank that is a NumPy
memmap (or any NumPy array) is read from the host block by block. See `largest` for what makes it fast.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mollax import checks
from mollax.ood.head import Head
from mollax.ood.scores.inputs import Host, check_fit, dtype_of, pieces

NEEDS = "features"
EPS = 1e-10
QUERY_ROWS, BANK_ROWS = 256, 65536

Best = tuple[Float[Array, "n k"], Int[Array, "n k"]]


class State(NamedTuple):
    """The bank, and what turns its rows b into the points s b - c that are searched, (s, c) = `scales`, `center`.

    Attributes:
      bank: training features as they were given.
      scales: 1 / (|b| + 1e-10) of each row if normalized, else 1.
      center: mean of the scaled rows. Distances do not depend on it; products are rounded less.
      halves: |s b - c|^2 / 2.
      ranks: 1 .. k; its length tells k to a compiled function.
      normalize: whether queries are normalized too.
    """

    bank: Float[Host, "m d"]
    scales: Float[Array, " m"]
    center: Float[Array, " d"]
    halves: Float[Array, " m"]
    ranks: Int[Array, " k"]
    normalize: Bool[Array, ""]


def fit(
    features: Float[Host, "n d"],
    logits: Float[Host, "n c"],
    labels: Int[Host, " n"],
    head: Head | None,
    *,
    k: int = 50,
    normalize: bool = True,
) -> State:
    """Keeps the features as the bank. A NumPy memmap is not read into memory: the state refers to it.

    Args:
      features, logits, labels: of ID training data.
      head: not used.
      k: rank of the neighbor. The authors: 50 for CIFAR-10, 200 for CIFAR-100, 1000 for ImageNet. A point of the bank
        is its own first neighbor.
      normalize: x / (|x| + 1e-10), the authors' choice; a feature of zeros stays zeros. (Their ImageNet script and
        OpenOOD compute x / |x| + 1e-10, a slip of precedence, which divides by 0.)

    Raises:
      ValueError: for k larger than the bank, or arrays that do not belong together.
    """
    check_fit(features, logits, labels, head)
    checks.positive_int("k", k)
    count, width = features.shape
    if k > count:
        raise ValueError(f"k={k} neighbors are asked of a bank of {count} features: give a smaller k or a larger bank.")
    scales, center, halves = np.ones(count), np.zeros(width), np.zeros(count)
    for where, piece in pieces(features):
        if normalize:
            scales[where] = 1 / (np.linalg.norm(piece, axis=1) + EPS)
        center += scales[where] @ piece / count
    for where, piece in pieces(features):
        halves[where] = np.square(scales[where, None] * piece - center).sum(axis=1) / 2
    dtype = dtype_of(features)
    bank = features if isinstance(features, np.memmap) else jnp.asarray(features)
    return State(
        bank=bank,
        scales=jnp.asarray(scales.astype(dtype)),
        center=jnp.asarray(center.astype(dtype)),
        halves=jnp.asarray(halves.astype(dtype)),
        ranks=jnp.arange(1, k + 1, dtype=jnp.int32),
        normalize=jnp.asarray(normalize),
    )


def score(
    state: State,
    features: Float[Host, "n d"],
    logits: Float[Host, "n c"],
    *,
    query_rows: int = QUERY_ROWS,
    bank_rows: int = BANK_ROWS,
) -> Float[Array, " n"]:
    """Squared Euclidean distance to the k-th nearest point of the bank, high for OOD; in [0, 4] if normalized.

    Neighbors are ranked by products in the features' precision; the distance to the one found is then taken from the
    difference, so that it is 0 for equal points and not what rounding leaves of |q|^2 - 2 q b + |b|^2.

    Args:
      state: from `fit`. With a bank in NumPy (a memmap) the function reads it block by block and cannot be jitted
        around: under jit the whole bank becomes an array of the device.
      features: to be scored.
      logits: not used.
      query_rows, bank_rows: at most so many are compared at a time.

    Raises:
      ValueError: for features and logits of different lengths, features as wide as the bank's are not, or no rows.
    """
    checks.same_length(("features", "logits"), (features, logits))
    checks.positive_int("query_rows", query_rows)
    checks.positive_int("bank_rows", bank_rows)
    width = state.bank.shape[1]
    if features.ndim != 2 or features.shape[1] != width:
        raise ValueError(f"features must be (examples, {width}) as the bank's are; got shape {features.shape}.")
    queries = _queries(state, jnp.asarray(features))
    search = _search_host if isinstance(state.bank, np.ndarray) else _search_device
    place = search(state, queries, query_rows, bank_rows)[:, -1]
    rows = state.bank[np.asarray(place)] if isinstance(state.bank, np.ndarray) else state.bank[place]
    points = state.scales[place][:, None] * jnp.asarray(rows) - state.center[None, :]
    return jnp.square(queries - points).sum(axis=1)


def largest(values: Float[Array, "n m"], k: int) -> Best:
    """The k largest of each row in falling order and their places: `lax.top_k`, sooner for long rows.

    The row is cut into groups. The k groups of largest maxima hold the k largest values: a value outside of them is not
    above its group's maximum, thus not above any of those k maxima. So one pass takes maxima, and the two sorts
    are of the maxima and of k groups, about sqrt(m k) numbers each. Ties may give other places of equal values.
    """
    size = values.shape[1]
    group = 2 ** int(math.log2(max(1.0, math.sqrt(size / k))))
    groups = size // group
    if group < 2 or groups < k:
        # Behind a barrier: a slice of top_k's result would turn it into a sort of the whole row.
        return jax.lax.optimization_barrier(tuple(jax.lax.top_k(values, k)))
    # Members of a group lie `groups` apart: their maximum is then one of vectors.
    grouped = values[:, : group * groups].reshape(len(values), group, groups)
    _, chosen = jax.lax.top_k(grouped.max(axis=1), k)
    chosen = jax.lax.optimization_barrier(chosen)[:, None, :]
    places = chosen + groups * jnp.arange(group, dtype=jnp.int32)[None, :, None]
    candidates = jnp.take_along_axis(grouped, chosen, axis=2).reshape(len(values), group * k)
    left = jnp.broadcast_to(jnp.arange(group * groups, size, dtype=jnp.int32), (len(values), size - group * groups))
    candidates = jnp.concatenate([candidates, values[:, group * groups :]], axis=1)
    places = jnp.concatenate([places.reshape(len(values), group * k), left], axis=1)
    top, index = jax.lax.optimization_barrier(tuple(jax.lax.top_k(candidates, k)))
    return top, jnp.take_along_axis(places, index, axis=1)


def _queries(state: State, features: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Queries where the bank's points are: normalized if those are, less the center."""
    norms = jnp.sqrt(jnp.square(features).sum(axis=1, keepdims=True))
    return jnp.where(state.normalize, features / (norms + EPS), features) - state.center[None, :]


def _blocks(count: int, rows: int) -> tuple[int, int]:
    """(number of blocks, rows in each), as even as they get: the last may lack less than one row a block."""
    number = max(1, math.ceil(count / rows))
    return number, math.ceil(count / number)


@partial(jax.jit, static_argnames=("query_rows", "bank_rows"))
def _search_device(state: State, queries: Float[Array, "n d"], query_rows: int, bank_rows: int) -> Int[Array, "n k"]:
    """Places of the nearest, the bank being an array of the device."""
    count = len(state.bank)
    number, rows = _blocks(count, bank_rows)
    best = _nothing(state, queries)
    if number == 1:
        return _update(best, queries, state.bank, state.scales, state.halves, 0, query_rows=query_rows)[1]

    def step(i: Int[Array, ""], best: Best) -> Best:
        low = jnp.minimum(i * rows, count - rows)
        bank, scales, halves = (
            jax.lax.dynamic_slice_in_dim(part, low, rows) for part in (state.bank, state.scales, state.halves)
        )
        # The last block overlaps the one before it; what was seen must not count twice.
        halves = jnp.where(low + jnp.arange(rows) < i * rows, jnp.inf, halves)
        return _update(best, queries, bank, scales, halves, low, query_rows=query_rows)

    return jax.lax.fori_loop(0, number, step, best)[1]


def _search_host(state: State, queries: Float[Array, "n d"], query_rows: int, bank_rows: int) -> Int[Array, "n k"]:
    """The same with a bank on the host, of which one block is on the device."""
    number, rows = _blocks(len(state.bank), bank_rows)
    best = _nothing(state, queries)
    for start in range(0, number * rows, rows):
        where = slice(start, start + rows)
        bank = jnp.asarray(state.bank[where])
        best = _update(best, queries, bank, state.scales[where], state.halves[where], start, query_rows=query_rows)
    return best[1]


def _nothing(state: State, queries: Float[Array, "n d"]) -> Best:
    """What is known before anything was searched."""
    shape = (len(queries), len(state.ranks))
    return jnp.full(shape, -jnp.inf, queries.dtype), jnp.zeros(shape, jnp.int32)


@partial(jax.jit, static_argnames="query_rows")
def _update(
    best: Best,
    queries: Float[Array, "n d"],
    bank: Float[Array, "m d"],
    scales: Float[Array, " m"],
    halves: Float[Array, " m"],
    start: int | Int[Array, ""],
    *,
    query_rows: int,
) -> Best:
    """The k best of what was known and of one block of the bank, whose first row is number `start`.

    The largest s q b - |s b - c|^2 / 2 belongs to the smallest |q - (s b - c)|^2: they differ by a factor of -2 and by
    what depends on q only.
    """
    k = best[0].shape[1]
    number, rows = _blocks(len(queries), query_rows)
    pad = number * rows - len(queries)

    def of_block(block: tuple[Float[Array, "b d"], Best]) -> Best:
        queries, (values, places) = block
        product = jnp.matmul(queries, bank.T, precision=jax.lax.Precision.HIGHEST)
        here, there = largest(scales[None, :] * product - halves[None, :], min(k, len(bank)))
        values, places = jnp.concatenate([values, here], axis=1), jnp.concatenate([places, there + start], axis=1)
        values, order = largest(values, k)
        return values, jnp.take_along_axis(places, order, axis=1)

    blocks = jax.tree.map(
        lambda part: jnp.pad(part, ((0, pad), (0, 0))).reshape(number, rows, part.shape[1]), (queries, best)
    )
    found = jax.lax.map(of_block, blocks)
    return jax.tree.map(lambda part: part.reshape(number * rows, k)[: len(queries)], found)
