"""What the tests of all augmentation policies do: many draws, and the contract of `(key, image) -> image`."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from mollax import augment
from mollax.augment import chain, operations, warps

HEIGHT, WIDTH = 24, 32


def many_keys(count: int, seed: int = 20) -> jax.Array:
    """Keys as raw data: making them on the device would compile a program for every count."""
    data = np.stack([np.full(count, seed), np.arange(count)], axis=1).astype(np.uint32)
    return jax.random.wrap_key_data(jnp.asarray(data))


def draws_of(draw: Callable, count: int, seed: int = 20) -> tuple[np.ndarray, ...]:
    """Results of `draw(key)` for many keys."""
    return tuple(np.asarray(values) for values in jax.jit(jax.vmap(draw))(many_keys(count, seed)))


def uniform(values: np.ndarray, count: int) -> bool:
    """Whether integers are alike in [0, count), by a chi-squared test."""
    assert values.min() >= 0
    assert values.max() < count
    return stats.chisquare(np.bincount(values.ravel(), minlength=count)).pvalue > 0.005


@functools.cache
def elementary(name: str, interpolation: str = "nearest") -> Callable:
    """An operation by its public function, jitted, of (image, magnitude); their own files test them against PIL."""
    if name == "identity":
        return lambda image, m: image
    operation = getattr(augment, name)
    if name in warps.GEOMETRIC:
        return jax.jit(lambda image, m: operation(image, m, interpolation=interpolation))
    if name in operations.ENHANCEMENTS:
        return jax.jit(lambda image, m: operation(image, 1 + m))
    if name == "posterize":
        return jax.jit(lambda image, m: operation(image, m.astype(jnp.int32)))
    return jax.jit(operation if name == "solarize" else lambda image, m: operation(image))


def pixels_of(rng: np.random.Generator, count: int) -> np.ndarray:
    """Random bytes of one shape for all policies, so that the operations are compiled once."""
    return rng.integers(0, 256, (count, HEIGHT, WIDTH, 3), np.uint8)


def images_of(pixels: np.ndarray) -> jax.Array:
    """Bytes to [0, 1]."""
    return jnp.asarray(pixels / 255, jnp.float32)


def check_contract(policy: Callable, pixels: np.ndarray, seed: int = 7) -> np.ndarray:
    """Shape, range, determinism by key, independence of the rest of the batch; returns the results."""
    images, keys = images_of(pixels), many_keys(len(pixels), seed)
    mapped = jax.jit(jax.vmap(policy))
    batch = np.asarray(mapped(keys, images))
    assert batch.shape == images.shape
    assert batch.dtype == np.float32
    assert batch.min() >= 0
    assert batch.max() <= 1
    np.testing.assert_array_equal(batch, mapped(keys, images))
    np.testing.assert_array_equal(batch[::-1], mapped(keys[::-1], images[::-1]))
    other = np.asarray(mapped(keys[::-1], images))
    assert (np.abs(other - batch).max(axis=(1, 2, 3)) == 0).mean() < 0.6
    return batch


def check_chains(policy: Callable, draw: Callable, space: chain.Space, pixels: np.ndarray, seed: int = 7) -> None:
    """The contract, and that each result is what the operations that its key draws make of the image in turn."""
    results = check_contract(policy, pixels, seed)
    indices, magnitudes = draws_of(draw, len(pixels), seed)
    assert len(np.unique(indices)) > 5
    for image, result, chosen, amounts in zip(np.asarray(images_of(pixels)), results, indices, magnitudes, strict=True):
        names = [space.names[index] for index in chosen]
        for name, amount in zip(names, amounts, strict=True):
            image = np.asarray(elementary(name)(image, jnp.float32(amount)))
        # A rounding error at the edge of a level, or a read half way between two pixels, moves a few pixels.
        assert (np.abs(result - image) > 1e-5).mean() < 0.01, (names, amounts)
