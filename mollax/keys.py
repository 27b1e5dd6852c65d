"""Random keys as pure functions of (seed, stream, step), then of an example's global index; never stored.

Because nothing random is state, a checkpoint is {state, config}; because an example's key does not depend on its
device, 1, 2 or 4 devices draw the same numbers.
"""

from __future__ import annotations

import zlib

import jax
import jax.numpy as jnp
from jaxtyping import Array, Integer, Key, PRNGKeyArray

from mollax.threefry import unrolled


def stream_key(seed: int, stream: str, step: int | Integer[Array, ""] = 0) -> PRNGKeyArray:
    """The key of one named stream ("mollify", "dropout", ...) at one step.

    The name enters as its CRC-32, so adding a stream never changes another.
    """
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(stream.encode()))
    return jax.random.fold_in(key, jnp.asarray(step, jnp.uint32))


def example_keys(key: PRNGKeyArray, first_index: int | Integer[Array, ""], count: int) -> Key[Array, {count}]:
    """Keys of examples first_index .. first_index + count - 1 (global indices in the batch)."""
    index = jnp.asarray(first_index, jnp.uint32) + jnp.arange(count, dtype=jnp.uint32)
    key = unrolled(key)
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(index)
