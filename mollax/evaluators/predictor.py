"""Logits of whole splits, under any stress, on all devices; the last batch is padded and nothing is dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Integer

from mollax import checks, keys
from mollax.data import Split
from mollax.evaluators.stress import Stress
from mollax.parallel import AXIS, parallelize

PyTree = Any
Predict = Callable[[PyTree, jax.Array, jax.Array], jax.Array]


class Predictor:
    """Runs a model over splits. One compiled program serves every stress.

    `predict` takes (variables, a key for each image, stressed and standardised images) and gives logits; a model does,
    by `apply`, and needs no keys.

    The random draws of a stress and a prediction depend on (seed, stress name, index of the image) unless `logits` is
    told otherwise, so that models are compared on the same noise whatever the batch size or number of devices.
    """

    def __init__(
        self, predict: nn.Module | Predict, stresses: Mapping[str, Stress], *, batch_size: int, seed: int
    ) -> None:
        checks.positive_int("eval.batch_size", batch_size)
        devices = jax.device_count()
        # Rounded up: an evaluation batch has no influence on the result, so any number of devices may share it.
        self._batch_size = -(-batch_size // devices) * devices
        self._names, self._seed = tuple(stresses), seed
        self._predict = parallelize(_predict_function(predict, tuple(stresses.values())))

    def logits(
        self,
        variables: PyTree,
        split: Split,
        *,
        stress: str = "clean",
        draws: str = "",
        progress: Callable[[int], None] | None = None,
    ) -> Float32[np.ndarray, "n k"]:
        """Logits of every image of the split, in order.

        Args:
          variables: of the model, such as `state.evaluated()`.
          split: what to predict.
          stress: a name given at construction.
          draws: name of the stress whose keys the prediction draws by; its own by default. Two stresses that share it
            differ in nothing but the images.
          progress: called with the number of images done.
        """
        own, drawn = (
            jax.random.key_data(keys.stream_key(self._seed, f"evaluate/{name}")) for name in (stress, draws or stress)
        )
        shared = (variables, own, drawn, np.int32(self._names.index(stress)))
        total, size = len(split), self._batch_size
        rows = []
        for start in range(0, total, size):
            count = min(size, total - start)
            batch = self._batch(split, start, count)
            rows.append(np.asarray(self._predict(shared, batch, ()))[:count])
            if progress is not None:
                progress(start + count)
        return np.concatenate(rows)

    def _batch(self, split: Split, start: int, count: int) -> dict[str, np.ndarray]:
        """This process's share of images start .. start + count - 1, padded with black to a whole batch."""
        local = self._batch_size // jax.process_count()
        first = jax.process_index() * local
        index = start + first + np.arange(local)
        images = np.zeros((local, *split.images.shape[1:]), np.uint8)
        within = max(0, min(local, count - first))
        if within:
            images[:within] = stack(split, range(start + first, start + first + within))
        shape = (jax.local_device_count(), -1)
        return {
            "image": images.reshape(*shape, *images.shape[1:]),
            "index": index.astype(np.uint32).reshape(shape),
        }


def stack(split: Split, indices: Sequence[int] | Integer[np.ndarray, " n"]) -> np.ndarray:
    """The images at `indices` as one array, decoded where they are lazy."""
    if isinstance(split.images, np.ndarray):
        return split.images[np.asarray(indices)]
    return np.stack([split.images[i] for i in indices])


def _predict_function(predict: nn.Module | Predict, stresses: Sequence[Stress]) -> Callable[..., jax.Array]:
    def stressed_logits(shared: tuple[PyTree, ...], batch: PyTree, data: PyTree) -> jax.Array:
        variables, key_data, draw_data, number = shared

        def of_images(words: jax.Array) -> jax.Array:
            key = jax.random.wrap_key_data(words)
            return jax.vmap(lambda i: jax.random.fold_in(key, i))(batch["index"])

        image_keys = of_images(key_data)
        images = batch["image"].astype(jnp.float32) / 255.0
        branches = [jax.vmap(stress) for stress in stresses]
        stressed = jax.lax.switch(number, branches, image_keys, images)
        if isinstance(predict, nn.Module):
            logits = predict.apply(variables, stressed, train=False)
        else:
            draw_keys = jax.vmap(lambda image_key: jax.random.fold_in(image_key, 1))(of_images(draw_data))
            logits = predict(variables, draw_keys, stressed)
        return jax.lax.all_gather(logits, AXIS, tiled=True)

    return stressed_logits
