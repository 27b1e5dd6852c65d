"""What a network says of whole splits beside its logits: features, critic, and what scores need images for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from mollax import ood
from mollax.data import Split
from mollax.evaluators.predictor import Predictor, stack
from mollax.image import standardize
from mollax.ood.scores import generalized_odin

PyTree = Any
Progress = Callable[[int], None]


class Pass(NamedTuple):
    """One pass over the images of a split.

    Attributes:
      features: (n, d), of the classifier's penultimate layer.
      logits: (n, k).
      critic: (n, k + 1), free outputs, or (n, 1) of a critic on logits; None without a critic.
    """

    features: Float32[np.ndarray, "n d"]
    logits: Float32[np.ndarray, "n k"]
    critic: Float32[np.ndarray, "n c"] | None


def is_decomposed(model: nn.Module) -> bool:
    """Whether the classifier, alone or beside an augmenter or a critic, has a head that is not linear."""
    return getattr(getattr(model, "classifier", model), "confidence", None) is not None


class FeaturePass:
    """Features, logits and critic of every image in one pass, and a second one for scores of images themselves.

    Args:
      model: a classifier of `mollax.models`, alone or beside an augmenter or a critic; images are seen as they are.
      image_shape: (height, width, channels).
      mean, std: per channel, of the training split.
      batch_size: images at a time.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        image_shape: tuple[int, int, int],
        mean: Float[Array, " c"],
        std: Float[Array, " c"],
        batch_size: int,
    ) -> None:
        self.model, self._shape = model, image_shape
        self._mean, self._std, self._batch_size = mean, std, batch_size
        self._critic = isinstance(model, ood.CriticClassifier)
        self.decomposed = is_decomposed(model)
        apply: Callable[..., Any] = model.apply

        def everything(variables: PyTree, keys: Array, images: Array) -> Array:
            # One array, as the predictor gathers one: cut apart on the host.
            features = apply(variables, images, train=False, method="features")
            parts = [features, apply(variables, features, method="head")]
            if self._critic:
                parts.append(apply(variables, features, method="judge"))
            return jnp.concatenate(parts, axis=1)

        self._all = self._predictor(everything)

    def _predictor(self, predict: Callable[..., Array]) -> Predictor:
        def clean(key: Array, image: Array) -> Array:
            return standardize(image, self._mean, self._std)

        return Predictor(predict, {"clean": clean}, batch_size=self._batch_size, seed=0)

    def run(self, variables: PyTree, split: Split, *, progress: Progress | None = None) -> Pass:
        """Everything that pooled-feature scores need of a split."""
        rows = self._all.logits(variables, split, progress=progress)
        width, classes = self._widths(variables)
        features, logits, critic = np.split(rows, [width, width + classes], axis=1)
        return Pass(features, logits, critic if self._critic else None)

    def head(self, variables: PyTree) -> ood.Head | None:
        """The classifier's last layer as arrays, by what it does to a basis; None if it is not linear."""
        if self.decomposed:
            return None
        apply: Callable[..., Any] = self.model.apply
        width = self._widths(variables)[0]
        bias = apply(variables, jnp.zeros((1, width), jnp.float32), method="head")
        kernel = apply(variables, jnp.eye(width, dtype=jnp.float32), method="head") - bias
        return ood.Head(kernel, bias[0])

    def _widths(self, variables: PyTree) -> tuple[int, int]:
        """Numbers of features and of logits."""
        apply: Callable[..., Any] = self.model.apply

        def both(v: PyTree, x: Array) -> tuple[Array, Array]:
            features = apply(v, x, train=False, method="features")
            return features, apply(v, features, method="head")

        features, logits = jax.eval_shape(both, variables, jax.ShapeDtypeStruct((1, *self._shape), jnp.float32))
        return features.shape[1], logits.shape[1]

    def network(self, variables: PyTree, score: ModuleType) -> Callable[[Array], Array]:
        """From standardised images to what a score takes the gradient of: logits, or the head's similarities."""
        apply: Callable[..., Any] = self.model.apply
        method = "similarities" if score is generalized_odin and self.decomposed else "__call__"
        return lambda images: apply(variables, images, train=False, method=method)

    def batches(self, split: Split) -> Iterator[Float[Array, "n h w c"]]:
        """Standardised images of a split, some at a time."""
        for start in range(0, len(split), self._batch_size):
            images = stack(split, range(start, min(start + self._batch_size, len(split))))
            yield standardize(jnp.asarray(images, jnp.float32) / 255.0, self._mean, self._std)

    def image_score(self, score: ModuleType) -> Callable[[PyTree, PyTree, Split], Float32[np.ndarray, " n"]]:
        """(variables, state, split) -> scores by a module that needs images or feature maps; compiled once."""
        apply: Callable[..., Any] = self.model.apply

        def predict(both: PyTree, keys: Array, images: Array) -> Array:
            variables, state = both
            if score.NEEDS == "feature_maps":
                maps = apply(variables, images, train=False, method="feature_maps")
                return score.score(state, maps)[:, None]
            return score.score(state, images, self.network(variables, score))[:, None]

        predictor = self._predictor(predict)
        return lambda variables, state, split: predictor.logits((variables, state), split)[:, 0]
