"""Accuracy and calibration of a classifier on clean and stressed test images (METHODS section 1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float32

from mollax import checks, metrics
from mollax.data import Dataset
from mollax.evaluators.predictor import Predictor, stack
from mollax.evaluators.stress import describe
from mollax.state import TrainState

Progress = Callable[[str, int, int], None]


class ClassificationEvaluator:
    """Error, NLL, Brier and ECE on every stress, with the temperature fitted on the validation split."""

    def __init__(
        self,
        predictor: Predictor,
        dataset: Dataset,
        *,
        stresses: tuple[str, ...],
        bins: int = 15,
        resamples: int = 1000,
    ) -> None:
        # At the door, because evaluation comes after hours of training.
        checks.positive_int("eval.bins", bins)
        checks.positive_int("eval.resamples", resamples, minimum=0)
        self.predictor, self._dataset, self._stresses = predictor, dataset, stresses
        self._bins, self._resamples = bins, resamples
        self._classes = len(dataset.class_names)

    def validate(self, state: TrainState) -> dict[str, float]:
        """{"error", "nll", "ece"} on the validation split."""
        split = self._dataset.validation
        logits = self.predictor.logits(state.evaluated(), split)
        found = metrics.summarize(logits, split.labels, classes=self._classes, bins=self._bins, resamples=0)
        return {name: found[name] for name in ("error", "nll", "ece")}

    def run(self, state: TrainState, *, progress: Progress | None = None) -> dict[str, Any]:
        """The blocks "temperature", "evaluations" and "descriptions" of results.json, and "clean_logits".

        Args:
          state: what to evaluate (its moving average where one is kept).
          progress: called with (evaluation, images done, images in all).
        """
        variables = state.evaluated()
        validation, test = self._dataset.validation, self._dataset.test
        logits = self.predictor.logits(variables, validation, progress=_part(progress, "validation", len(validation)))
        log_probs = metrics.drop_extra_class(logits, classes=self._classes)
        fit = metrics.fit_temperature(log_probs, validation.labels)
        # At a bound the validation split does not determine T (say, every image of it is right): leave T at 1.
        temperature = fit.temperature if fit.outcome == "interior" else 1.0
        evaluations, clean_logits = {}, np.zeros(0)
        for name in ("clean", *self._stresses):
            logits = self.predictor.logits(variables, test, stress=name, progress=_part(progress, name, len(test)))
            if name == "clean":
                clean_logits = logits
            evaluations[name] = metrics.summarize(
                logits,
                test.labels,
                classes=self._classes,
                bins=self._bins,
                temperature=temperature,
                resamples=self._resamples,
            )
        return {
            "temperature": temperature,
            "temperature_fit": fit.outcome,
            "evaluations": evaluations,
            "descriptions": {name: describe(name) for name in evaluations},
            "clean_logits": clean_logits,
        }

    def mistakes(self, logits: Float32[np.ndarray, "n k"], *, count: int = 12) -> dict[str, Any]:
        """The wrong test predictions that were most sure of themselves: images in [0, 1], names and confidence."""
        test, names = self._dataset.test, self._dataset.class_names
        probs = np.exp(metrics.drop_extra_class(logits, classes=self._classes))
        predicted, confidence = probs.argmax(1), probs.max(1)
        wrong = np.flatnonzero(predicted != test.labels)
        worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]
        images = stack(test, worst) if len(worst) else np.zeros((0, *self._dataset.image_shape), np.uint8)
        return {
            "images": images.astype(np.float32) / 255.0,
            "predicted": [names[i] for i in predicted[worst]],
            "actual": [names[i] for i in test.labels[worst]],
            "confidence": confidence[worst],
        }


def _part(progress: Progress | None, name: str, total: int) -> Callable[[int], None] | None:
    if progress is None:
        return None
    return lambda done: progress(name, done, total)
