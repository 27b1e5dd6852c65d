"""Corrupted copies of whole splits, made on all devices."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from mollax import __version__, checks, corrupt, keys
from mollax.data import Split
from mollax.evaluators.predictor import stack
from mollax.parallel import AXIS, parallelize

PyTree = Any


class Corrupter:
    """Corrupts whole splits on all devices, and keeps what it made in a folder if there is one.

    An image's draws depend on corruption, severity and its index alone: every model and seed meets the same images,
    whatever the batch size or number of devices.
    """

    def __init__(self, *, batch_size: int, cache: str | Path = "") -> None:
        devices = jax.device_count()
        self._batch_size = -(-checks.positive_int("eval.batch_size", batch_size) // devices) * devices
        self._cache = Path(cache) if cache else None

    def split(self, split: Split, name: str, severity: int) -> Split:
        """The split with corrupted images, 8-bit as before."""
        images = stack(split, range(len(split)))
        path = self._path(images, name, severity)
        if path is not None and path.exists():
            return Split(np.load(path), split.labels)
        corrupted = self._corrupt(images, name, severity)
        if path is not None and jax.process_index() == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial.npy")
            np.save(partial, corrupted)
            partial.rename(path)  # whole or not there, whenever the program is stopped
        return Split(corrupted, split.labels)

    def _path(self, images: UInt8[np.ndarray, "n h w c"], name: str, severity: int) -> Path | None:
        if self._cache is None:
            return None
        content = hashlib.sha256(images.tobytes()).hexdigest()[:16]
        shape = "x".join(map(str, images.shape))
        return self._cache / f"{__version__}-{shape}-{content}" / f"{name}-{severity}.npy"

    def _corrupt(self, images: UInt8[np.ndarray, "n h w c"], name: str, severity: int) -> UInt8[np.ndarray, "n h w c"]:
        key = jax.random.key_data(keys.stream_key(0, f"corrupt/{name}/{severity}"))
        run = parallelize(_corrupt_function(name, severity))
        size, total = self._batch_size, len(images)
        local, shape = size // jax.process_count(), (jax.local_device_count(), -1)
        parts = []
        for start in range(0, total, size):
            index = start + jax.process_index() * local + np.arange(local)
            batch = images[np.minimum(index, total - 1)]  # the last batch is filled with its last image
            arguments = {
                "image": batch.reshape(*shape, *images.shape[1:]),
                "index": index.astype(np.uint32).reshape(shape),
            }
            parts.append(np.asarray(run(key, arguments, ()))[: total - start])
        return np.concatenate(parts)


def _corrupt_function(name: str, severity: int) -> Callable[..., jax.Array]:
    def run(key_data: jax.Array, batch: PyTree, data: PyTree) -> jax.Array:
        key = jax.random.wrap_key_data(key_data)

        def one(index: jax.Array, image: jax.Array) -> jax.Array:
            return corrupt.corrupt(jax.random.fold_in(key, index), image, name, severity)

        corrupted = jax.vmap(one)(batch["index"], batch["image"].astype(jnp.float32) / 255.0)
        pixels = jnp.round(corrupted * 255.0).astype(jnp.uint8)
        return jax.lax.all_gather(pixels, AXIS, tiled=True)

    return run
