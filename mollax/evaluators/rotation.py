"""Accuracy against the rotation of test images, and how far predictions move under random ones (fig 9, eKLD)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mollax import checks, metrics
from mollax.data import Dataset, Split
from mollax.evaluators.predictor import Predict, Predictor
from mollax.evaluators.stress import Stress
from mollax.image import affine_warp, pixel_aspect, rotation, standardize
from mollax.invariance.ekld import expected_kl, per_class, per_class_accuracy

PyTree = Any
Progress = Callable[[str, int, int], None]


class RotationEvaluator:
    """Turns test images, black outside, and compares predictions. Turned images are the same for every run.

    In the expected KL a prediction that draws does so by the same keys for the still and the turned image.

    Args:
      predictions: ways to predict by name, such as {"as it is": model}.
      dataset: whose test images are taken, evenly spread.
      mean, std: per channel, of the training split.
      images: how many test images; 0 takes all.
      angles: of the whole set, in degrees, counter-clockwise as seen.
      kl_degrees: random rotations up to it for the expected KL; 0 leaves it out.
      kl_draws: of them for each image.
      batch_size: images at a time.

    Raises:
      ValueError: for counts or angles that make no sense.
    """

    def __init__(
        self,
        predictions: Mapping[str, Any | Predict],
        dataset: Dataset,
        *,
        mean: Float[Array, " c"],
        std: Float[Array, " c"],
        images: int = 1000,
        angles: Sequence[float] = (),
        kl_degrees: float = 0.0,
        kl_draws: int = 10,
        batch_size: int = 100,
    ) -> None:
        checks.positive_int("eval.rotations.images", images, minimum=0)
        checks.positive_int("eval.rotations.kl_draws", kl_draws)
        checks.in_range("eval.rotations.kl_degrees", kl_degrees, 0.0, 180.0)
        for angle in angles:
            checks.in_range("an angle of eval.rotations.angles", angle, -360.0, 360.0)
        self._dataset, self._angles, self._degrees, self._draws = dataset, tuple(angles), kl_degrees, kl_draws

        def turn(angle: Float[Array, ""] | float, image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
            pull = rotation(angle, aspect=pixel_aspect(*image.shape[:2]))
            return standardize(affine_warp(image, pull), mean, std)

        def fixed(degrees: float) -> Stress:
            return lambda key, image: turn(math.radians(degrees), image)

        def drawn(key: PRNGKeyArray, image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
            bound = math.radians(kl_degrees)
            return turn(jax.random.uniform(key, (), minval=-bound, maxval=bound), image)

        stresses: dict[str, Stress] = {"still": lambda key, image: standardize(image, mean, std)}
        stresses |= {f"{angle:g} degrees": fixed(angle) for angle in angles}
        self._random = [f"random rotation {i}" for i in range(kl_draws)] if kl_degrees else []
        stresses |= dict.fromkeys(self._random, drawn)
        self._predictors = {
            name: Predictor(predict, stresses, batch_size=batch_size, seed=0) for name, predict in predictions.items()
        }
        test = dataset.test
        self._chosen = np.unique(np.linspace(0, len(test) - 1, min(images or len(test), len(test))).astype(np.int64))

    def run(self, variables: PyTree, *, progress: Progress | None = None) -> dict[str, Any]:
        """The block "rotations" of results.json. The expected KL is of the last way to predict that does not align."""
        test = self._dataset.test
        split = Split(_pick(test.images, self._chosen), np.asarray(test.labels)[self._chosen])
        total = len(self._predictors) * len(self._angles) + len(self._random)
        done = 0

        def log_probs(predictor: Predictor, name: str, *, draws: str = "") -> np.ndarray:
            nonlocal done
            logits = predictor.logits(variables, split, stress=name, draws=draws)
            done += 1
            if progress is not None:
                progress("turned test images", min(done, total), total)
            return metrics.drop_extra_class(logits, classes=len(self._dataset.class_names))

        accuracy = {
            name: [
                float((log_probs(predictor, f"{angle:g} degrees").argmax(1) == split.labels).mean())
                for angle in self._angles
            ]
            for name, predictor in self._predictors.items()
        }
        block = {"images": len(split), "angles": list(self._angles), "accuracy": accuracy, "expected_kl": None}
        if self._random:
            name = [name for name in self._predictors if name != "aligned"][-1]
            predictor = self._predictors[name]
            still = log_probs(predictor, "still")
            # By the same draws as the still image, or their noise would count as divergence.
            moved = np.stack([log_probs(predictor, turned, draws="still") for turned in self._random], axis=1)
            block["expected_kl"] = {"prediction": name, **self._expected_kl(still, moved, split.labels)}
        return block

    def _expected_kl(self, still: np.ndarray, moved: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        names = self._dataset.class_names
        sizes = np.bincount(np.asarray(self._dataset.train.labels), minlength=len(names))
        there = np.unique(labels)
        found = per_class(expected_kl(still, moved), labels, classes=len(names))
        right = per_class_accuracy(still, labels)
        return {
            "degrees": self._degrees,
            "draws": self._draws,
            "names": [names[k] for k in there],
            "class_sizes": [int(sizes[k]) for k in there],
            "ekld": [float(found.means[k]) for k in there],
            "accuracy": [float(right.means[k]) for k in there],
        }


def _pick(images: Any, chosen: np.ndarray) -> Any:
    """The chosen images, decoded where they are lazy."""
    return images[chosen] if isinstance(images, np.ndarray) else np.stack([images[i] for i in chosen])
