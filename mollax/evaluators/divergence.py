"""How much of a divergence the critic finds on images it has not learned from, beside the most there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mollax import checks, ood
from mollax.data import Dataset
from mollax.evaluators.predictor import Predictor
from mollax.image import standardize

PyTree = Any
Progress = Callable[[str, int, int], None]


class DivergenceEvaluator:
    """The objective of a trained critic on test images against the same with their blocks shuffled (METHODS section 3).

    Args:
      model: a classifier with its critic.
      dataset: whose test images are taken.
      name: of the divergence.
      class_freq: shares of the classes in the training split.
      id_share: m.
      mean, std: per channel, of the training split.
      grid: blocks a side.
      clip: of "reverse_kl" in training; None for none, and then no maximum.
      batch_size: images at a time.

    Raises:
      ValueError: for an unknown divergence.
    """

    def __init__(
        self,
        model: ood.CriticClassifier,
        dataset: Dataset,
        *,
        name: str,
        class_freq: Float[np.ndarray, " k"],
        id_share: float,
        mean: Float[Array, " c"],
        std: Float[Array, " c"],
        grid: int = 4,
        clip: float | None = ood.REVERSE_KL_CLIP,
        batch_size: int = 500,
    ) -> None:
        self._name = checks.one_of("ood.method", name, ood.DIVERGENCES)
        self._test, self._shares, self._id_share, self._clip = dataset.test, class_freq, id_share, clip
        apply: Callable[..., Any] = model.apply

        def clean(key: Array, image: Array) -> Array:
            return standardize(image, mean, std)

        def shuffled(key: Array, image: Array) -> Array:
            return clean(key, ood.block_shuffle(key, image, grid=grid))

        def judge(variables: PyTree, keys: Array, images: Array) -> Array:
            features = apply(variables, images, train=False, method="features")
            return apply(variables, features, method="judge")

        stresses = {"clean": clean, "shuffled": shuffled}
        self._predictor = Predictor(judge, stresses, batch_size=batch_size, seed=0)

    def run(self, variables: PyTree, *, progress: Progress | None = None) -> dict[str, Any]:
        """The block "divergence" of results.json: the value on the test split and, where it is bounded, the maximum.

        The product has the label shares of training, as in the objective that the critic learned by, whatever those of
        the test split are; the maximum is that of the same mean over test images, so that no critic exceeds it.
        """
        outputs = {}
        for number, stress in enumerate(("clean", "shuffled")):
            outputs[stress] = self._predictor.logits(variables, self._test, stress=stress)
            if progress is not None:
                progress("critic on shuffled blocks", number + 1, 2)
        shares = jnp.asarray(self._shares, jnp.float32)
        labels = jnp.asarray(self._test.labels, jnp.int32)
        pair = jnp.asarray(outputs["clean"]), jnp.asarray(outputs["shuffled"])
        objective = jax.jit(
            lambda known, strange: ood.divergence_objective(
                self._name, known, labels, strange, shares, self._id_share, clip=self._clip
            )
        )
        return {
            "name": self._name,
            "outliers": "block_shuffle",
            "images": len(self._test),
            "test": float(objective(*pair)),
            "maximum": self._maximum(),
        }

    def _maximum(self) -> float | None:
        """The largest value on the test split; None where there is none."""
        if self._name == "reverse_kl" and self._clip is None:
            return None
        counts = np.bincount(np.asarray(self._test.labels), minlength=len(self._shares))
        most = ood.divergence_maximum(
            self._name, self._shares, self._id_share, seen_freq=counts / counts.sum(), clip=self._clip
        )
        return most if np.isfinite(most) else None
