"""Fast random fields: normals and uniforms from a counter hash, or from JAX's threefry.

On CPU most of a threefry normal is the cipher. Augmentation noise needs good statistics, not cryptography, so
the default hashes (key, position) with two rounds of a 32-bit mixer and inverts the normal distribution
function. Every value depends on the key and its own position only: draws do not change with the batch or the
number of devices.

`tests/image_random_test.py` holds the hash to Kolmogorov-Smirnov, four moments, lag and cross-key
correlations at 1e7 draws and more. Pass `generator="threefry"` for JAX's own generator.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, UInt32

from mollax import checks

GENERATORS = ("hash", "threefry")

# Giles (2010), "Approximating the erfinv function", single precision: central (w < 5) and tail coefficients,
# highest power first.
_CENTRAL = (
    2.81022636e-08,
    3.43273939e-07,
    -3.5233877e-06,
    -4.39150654e-06,
    0.00021858087,
    -0.00125372503,
    -0.00417768164,
    0.246640727,
    1.50140941,
)
_TAIL = (
    -0.000200214257,
    0.000100950558,
    0.00134934322,
    -0.00367342844,
    0.00573950773,
    -0.0076224613,
    0.00943887047,
    1.00167406,
    2.83297682,
)


def _mix(x: UInt32[Array, "*shape"]) -> UInt32[Array, "*shape"]:
    """A bijection of 32-bit words in which every input bit flips every output bit about half the time."""
    x = x ^ (x >> 16)
    x = x * jnp.uint32(0x21F0AAAD)
    x = x ^ (x >> 15)
    x = x * jnp.uint32(0x735A2D97)
    return x ^ (x >> 15)


def hash_bits(key: PRNGKeyArray, shape: tuple[int, ...]) -> UInt32[Array, "*shape"]:
    """Random 32-bit words of the given shape, a hash of (key, position).

    word_i = mix(mix(i + k_0) ^ k_1) with the key's two words run through one threefry block first, so that
    keys that differ in one bit are unrelated. Within a key no word repeats.

    Raises:
      ValueError: for more than 2^32 words, where positions would repeat.
    """
    if math.prod(shape) > 2**32:
        raise ValueError(f"One key gives at most 2^32 values; got shape {shape}. Split the key.")
    words = jax.random.bits(key, (2,), jnp.uint32)
    position = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    return _mix(_mix(position + words[0]) ^ words[1])


def _normal_from_bits(bits: UInt32[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Standard normals sqrt(2) erfinv(u), u the centres of 2^24 equal cells of (-1, 1)."""
    cell = (bits >> 8).astype(jnp.int32).astype(jnp.float32)
    u = (cell - (2.0**23 - 0.5)) * (2.0**-23)
    w = -jnp.log((1.0 - u) * (1.0 + u))
    central = w < 5.0
    v = jnp.where(central, w - 2.5, jnp.sqrt(w) - 3.0)
    p = jnp.where(central, _CENTRAL[0], _TAIL[0])
    for a, b in zip(_CENTRAL[1:], _TAIL[1:], strict=True):
        p = jnp.where(central, a, b) + p * v
    return p * u * math.sqrt(2.0)


def normal(key: PRNGKeyArray, shape: tuple[int, ...], *, generator: str = "hash") -> Float[Array, "*shape"]:
    """Standard normal float32 values; |x| <= 5.4 with the hash generator (its uniforms have 24 bits).

    Args:
      key: what makes the draw random.
      shape: of the result.
      generator: "hash" (fast) or "threefry" (`jax.random.normal`).

    Raises:
      ValueError: for another generator name.
    """
    if checks.one_of("generator", generator, GENERATORS) == "threefry":
        return jax.random.normal(key, shape, jnp.float32)
    return _normal_from_bits(hash_bits(key, shape))


def uniform(key: PRNGKeyArray, shape: tuple[int, ...], *, generator: str = "hash") -> Float[Array, "*shape"]:
    """Uniform float32 values in [0, 1), multiples of 2^-24.

    Args:
      key: what makes the draw random.
      shape: of the result.
      generator: "hash" (fast) or "threefry" (`jax.random.uniform`).

    Raises:
      ValueError: for another generator name.
    """
    if checks.one_of("generator", generator, GENERATORS) == "threefry":
        return jax.random.uniform(key, shape, jnp.float32)
    return (hash_bits(key, shape) >> 8).astype(jnp.int32).astype(jnp.float32) * jnp.float32(2.0**-24)
