"""Batches as a pure function of (seed, step): from arrays kept on the device, or streamed by worker processes.

Training examples form one endless sequence of shuffled epochs; step s takes positions s * batch to (s + 1) * batch of
it, so a batch may end one epoch and begin the next, and nothing is dropped. A resumed run continues at its step.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grain
import jax
import numpy as np
from absl import flags
from jaxtyping import Int

from mollax import checks
from mollax.data.dataset import LazyImages, Split
from mollax.parallel import replicate

PyTree = Any


@functools.lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, examples: int) -> Int[np.ndarray, {examples}]:
    """The order of one epoch: a permutation that depends on (seed, epoch) only."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(examples)


def order(seed: int, start: int, stop: int, examples: int) -> Int[np.ndarray, " n"]:
    """Example indices at positions start .. stop - 1 of the endless shuffled sequence."""
    epochs = range(start // examples, (stop - 1) // examples + 1)
    whole = np.concatenate([epoch_order(seed, epoch, examples) for epoch in epochs])
    offset = epochs[0] * examples
    return whole[start - offset : stop - offset]


def _shape_for_devices(array: np.ndarray, count: int) -> np.ndarray:
    """(count, batch of this process, ...) -> (local devices, count, per device, ...)."""
    devices = jax.local_device_count()
    split = array.reshape(count, devices, -1, *array.shape[2:])
    return np.ascontiguousarray(np.moveaxis(split, 1, 0))


def _local_slice(batch_size: int) -> slice:
    """The part of a global batch that this process feeds."""
    if checks.positive_int("train.batch_size", batch_size) % jax.device_count():
        raise ValueError(
            f"train.batch_size must be a multiple of the number of devices, {jax.device_count()}; got {batch_size}."
        )
    local = batch_size // jax.process_count()
    return slice(jax.process_index() * local, (jax.process_index() + 1) * local)


class ResidentBatches:
    """A split small enough to keep on every device as uint8; a batch is a list of indices.

    Attributes:
      data: arrays on the device that batches index into.
    """

    def __init__(self, split: Split, *, batch_size: int, seed: int) -> None:
        images = split.images
        if isinstance(images, LazyImages):
            images = np.stack([images[i] for i in range(len(images))])
        self.data: PyTree = replicate({"image": images, "label": split.labels})
        self._examples, self._batch_size, self._seed = len(split), batch_size, seed
        self._slice = _local_slice(batch_size)

    def take(self, step: int, count: int) -> PyTree:
        """The batches of steps step .. step + count - 1: leaves (local devices, count, examples per device)."""
        size = self._batch_size
        index = order(self._seed, step * size, (step + count) * size, self._examples).astype(np.int32)
        return {"index": _shape_for_devices(index.reshape(count, size)[:, self._slice], count)}


@dataclass(frozen=True)
class _Fetch:
    """Position in the endless sequence -> example; runs in worker processes, so it holds plain data only."""

    split: Split
    batch_size: int
    seed: int
    local: slice

    def __call__(self, position: int) -> dict[str, np.ndarray]:
        local = self.local.stop - self.local.start
        step, within = divmod(position, local)
        place = step * self.batch_size + self.local.start + within
        index = int(order(self.seed, place, place + 1, len(self.split))[0])
        return {"image": self.split.images[index], "label": self.split.labels[index]}


class StreamedBatches:
    """A split too large for the device: decoded and batched by grain, in worker processes when asked.

    Attributes:
      data: empty, for batches bring their images along.
    """

    def __init__(self, split: Split, *, batch_size: int, seed: int, workers: int = 0) -> None:
        self.data: PyTree = {}
        self._workers = checks.positive_int("data.workers", workers, minimum=0)
        self._fetch = _Fetch(split, batch_size, seed, _local_slice(batch_size))
        self._local = self._fetch.local.stop - self._fetch.local.start
        self._iterator: Iterator[dict[str, np.ndarray]] | None = None
        self._next_step = -1

    def _open(self, step: int) -> Iterator[dict[str, np.ndarray]]:
        # 2^62 positions stand for "endless": a range object costs nothing.
        positions = grain.MapDataset.source(range(2**62)).slice(slice(step * self._local, None))
        # Whole batches are dealt out to workers: batching after `to_iter_dataset` would batch every n-th example.
        batches = positions.map(self._fetch).batch(self._local, drop_remainder=True).to_iter_dataset()
        if self._workers:
            if not flags.FLAGS.is_parsed():  # grain reads absl flags, which a notebook has never parsed
                flags.FLAGS.mark_as_parsed()
            batches = batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=self._workers))
        return iter(batches)

    def take(self, step: int, count: int) -> PyTree:
        """The batches of steps step .. step + count - 1: leaves (local devices, count, examples per device, ...)."""
        if self._iterator is None or step != self._next_step:
            self._iterator = self._open(step)
        taken = [next(self._iterator) for _ in range(count)]
        self._next_step = step + count
        return {
            name: _shape_for_devices(np.stack([batch[name] for batch in taken]), count) for name in ("image", "label")
        }


class PairedBatches:
    """Batches of labelled images, each with outliers from another set beside them, under "outlier".

    Attributes:
      data: of both, what they keep on the device.
    """

    def __init__(self, images: ResidentBatches | StreamedBatches, outliers: ResidentBatches | StreamedBatches) -> None:
        self._images, self._outliers = images, outliers
        self.data: PyTree = {**images.data, "outlier": outliers.data}

    def take(self, step: int, count: int) -> PyTree:
        """The batches of steps step .. step + count - 1; leaves as of the two kinds of batches."""
        return {**self._images.take(step, count), "outlier": self._outliers.take(step, count)}


Batches = ResidentBatches | StreamedBatches | PairedBatches


def create_batches(
    split: Split, *, batch_size: int, seed: int, memory: str = "auto", limit_mib: int = 1024, workers: int = 0
) -> ResidentBatches | StreamedBatches:
    """Resident or streamed batches of a training split.

    Args:
      split: what to train on.
      batch_size: examples of a step over all devices and processes.
      seed: of the order.
      memory: "device", "stream", or "auto": on the device up to `limit_mib` MiB.
      limit_mib: for "auto".
      workers: processes that decode streamed images; 0 decodes in this one.

    Raises:
      ValueError: for an unknown `memory` or a batch size that devices cannot share.
    """
    checks.one_of("data.memory", memory, ("auto", "device", "stream"))
    fits = split.images.nbytes <= limit_mib * 2**20
    if memory == "device" or (memory == "auto" and fits):
        return ResidentBatches(split, batch_size=batch_size, seed=seed)
    return StreamedBatches(split, batch_size=batch_size, seed=seed, workers=workers)
