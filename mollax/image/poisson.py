"""Poisson counts for a fixed set of means, by a table: one random word and two reads a draw.

`jax.random.poisson` rejects proposals one by one and is some fifty times slower on CPU. The alias method (Walker
1977, An efficient method for generating discrete random variables) makes a distribution over k values a choice
of one of k equal columns, each of which holds one or two values.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt32
from scipy import special

from mollax import checks
from mollax.image import random

# Mass left out on each side of a distribution.
TAIL = 1e-9
MOST = 1e4  # mean: the width of the table grows with its root


class Table(NamedTuple):
    """Columns of the alias method for m means.

    entries: (m, k), k = 2^b a power of two. The low b bits hold the other value of a column, the high 32 - b the
      share of its first value (its own number), in units of 2^(b - 32).
    start: the count that value 0 stands for.
    """

    entries: UInt32[np.ndarray, "m k"]
    start: Int[np.ndarray, " m"]


@functools.lru_cache(maxsize=32)
def table(means: tuple[float, ...]) -> Table:
    """Tabulates the Poisson distributions of some means, without 1e-9 of mass at most in each tail.

    Shares are rounded to 2^-32 of the whole mass.

    Raises: ValueError for a mean outside [0, 10,000].
    """
    for mean in means:
        checks.in_range("mean", float(mean), 0.0, MOST)
    rates = np.asarray(means, np.float64)[:, None]
    counts = np.arange(int(max(means) + 8 * max(means) ** 0.5) + 16)
    start = (special.pdtr(counts, rates) < TAIL).sum(axis=1)
    stop = (special.pdtrc(counts, rates) > TAIL).sum(axis=1)
    bits = int((stop - start).max()).bit_length()
    values = start[:, None] + np.arange(1 << bits)
    mass = np.exp(special.xlogy(values, rates) - rates - special.gammaln(values + 1))
    share, other = _alias(mass / mass.sum(axis=1, keepdims=True))
    whole = 1 << (32 - bits)
    # A full column needs no second value: its own number stands for both.
    other = np.where(share >= 1, np.arange(1 << bits), other)
    share = np.clip(np.rint(share * whole), 0, whole - 1)
    entries = share.astype(np.uint32) << np.uint32(bits) | other.astype(np.uint32)
    return Table(entries, start.astype(np.int32))


def sample(key: PRNGKeyArray, which: Int[Array, "*shape"], counts: Table) -> Int[Array, "*shape"]:
    """Draws a Poisson count for each entry of `which`, the number of its mean in the table; int32.

    Random: one 32-bit word a draw, from the counter hash of `mollax.image.random`. `which` must be in range.
    """
    columns = counts.entries.shape[1]
    bits = columns.bit_length() - 1
    words = random.hash_bits(key, which.shape)
    own = (words & (columns - 1)).astype(jnp.int32)
    entries = jnp.asarray(counts.entries.reshape(-1)).at[which * columns + own].get(mode="promise_in_bounds")
    other = (entries & (columns - 1)).astype(jnp.int32)
    value = jnp.where(words >> bits < entries >> bits, own, other)
    return jnp.asarray(counts.start).at[which].get(mode="promise_in_bounds") + value


def _alias(mass: Float[np.ndarray, "m k"]) -> tuple[Float[np.ndarray, "m k"], Int[np.ndarray, "m k"]]:
    """For each row, the share of every column's own value and the value that has the rest.

    The column with the least mass is filled up by the one with the most, k - 1 times.
    """
    rows, columns = np.arange(len(mass)), mass.shape[1]
    share = mass * columns
    other = np.tile(np.arange(columns), (len(mass), 1))
    low, high = share.copy(), share.copy()  # of the columns that are not settled
    for _ in range(columns - 1):
        least, most = low.argmin(axis=1), high.argmax(axis=1)
        other[rows, least] = most
        share[rows, most] -= 1 - share[rows, least]
        low[rows, most] = high[rows, most] = share[rows, most]
        low[rows, least], high[rows, least] = np.inf, -np.inf
    # What is left is full, up to rounding.
    share[rows, high.argmax(axis=1)] = 1
    return share, other
