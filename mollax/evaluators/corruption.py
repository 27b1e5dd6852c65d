"""Error, NLL and calibration on corrupted test images: each corruption and severity, groups, and the mean of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mollax import checks, corrupt, metrics
from mollax.data import Dataset, Split
from mollax.evaluators.corrupter import Corrupter
from mollax.evaluators.predictor import Predictor, stack

METRICS = ("error", "nll", "ece")
PyTree = Any


def expand(words: Sequence[str]) -> tuple[str, ...]:
    """Names of corruptions: "test" stands for the 15 of the benchmark, "extra" for the 4 held out for validation.

    Raises:
      ValueError: for an unknown name.
    """
    known = {"test": corrupt.NAMES, "extra": corrupt.EXTRA_NAMES}
    names: list[str] = []
    for word in words:
        checks.one_of("eval.corruptions", word, (*known, *corrupt.NAMES, *corrupt.EXTRA_NAMES))
        names += [name for name in known.get(word, (word,)) if name not in names]
    return tuple(names)


class CorruptionEvaluator:
    """The corruption benchmark on the test images of any data set."""

    def __init__(
        self,
        predictor: Predictor,
        corrupter: Corrupter,
        dataset: Dataset,
        *,
        names: Sequence[str],
        images: int = 0,
        bins: int = 15,
    ) -> None:
        """`images` is how many test images are corrupted, spread evenly over the set; 0 takes all."""
        self._predictor, self._corrupter, self._bins = predictor, corrupter, bins
        self._names, self._classes = expand(names), len(dataset.class_names)
        test, count = dataset.test, checks.positive_int("eval.corrupted_images", images, minimum=0)
        if 0 < count < len(test):
            chosen = np.linspace(0, len(test) - 1, count).astype(np.int64)
            test = Split(stack(test, chosen), test.labels[chosen])
        self._test = test

    def run(self, variables: PyTree, *, progress: Callable[[str, int, int], None] | None = None) -> dict[str, Any]:
        """The block "corruptions" of results.json: "images" (a count), "clean" (untouched), "cells", `aggregate`."""
        cells: dict[str, list[dict[str, float]]] = {}
        total, done = len(self._names) * len(corrupt.SEVERITIES), 0
        clean = self._score(variables, self._test)
        for name in self._names:
            cells[name] = []
            for severity in corrupt.SEVERITIES:
                cells[name].append(self._score(variables, self._corrupter.split(self._test, name, severity)))
                done += 1
                if progress is not None:
                    progress(f"{name} {severity}", done, total)
        return {"images": len(self._test), "clean": clean, "cells": cells, **aggregate(cells)}

    def _score(self, variables: PyTree, split: Split) -> dict[str, float]:
        logits = self._predictor.logits(variables, split)
        found = metrics.summarize(logits, split.labels, classes=self._classes, bins=self._bins, resamples=0)
        return {metric: found[metric] for metric in METRICS}


def _mean(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    rows = list(rows)
    return {metric: float(np.mean([row[metric] for row in rows])) for metric in METRICS}


def aggregate(cells: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """Means over severities, groups and corruptions of metrics that are each over a whole set.

    Args:
      cells: {corruption: [metrics at severity 1, ..., 5]}.

    Returns:
      "corruptions" {name: mean over severities}, "groups" {group: its "names" and their mean}, "severities" [mean over
      the test corruptions at severity 1, ..., 5], "mean" over the test corruptions, "extra_mean" over the held-out
      ones. A block is left out where none of its corruptions was run.
    """
    by_name = {name: _mean(rows) for name, rows in cells.items()}
    test = [name for name in cells if name in corrupt.NAMES]
    extra = [name for name in cells if name in corrupt.EXTRA_NAMES]
    groups = {group: [name for name in names if name in cells] for group, names in corrupt.GROUPS.items()}
    found: dict[str, Any] = {
        "corruptions": by_name,
        "groups": {
            group: {"names": names, **_mean(by_name[name] for name in names)}
            for group, names in groups.items()
            if names
        },
    }
    if test:
        found["severities"] = [_mean(cells[name][i] for name in test) for i in range(len(corrupt.SEVERITIES))]
        found["mean"] = _mean(by_name[name] for name in test)
    if extra:
        found["extra_mean"] = _mean(by_name[name] for name in extra)
    return found


def relative_corruption_error(
    cells: Mapping[str, Sequence[Mapping[str, float]]], baseline: Mapping[str, Sequence[Mapping[str, float]]]
) -> dict[str, float]:
    """Error of each corruption, summed over severities, over a baseline run's, and "mean", the mean of the ratios.

    With AlexNet on ImageNet-C as baseline this is the mCE of Hendrycks and Dietterich; with any other it is not
    comparable with published mCE.

    Raises:
      ValueError: if the two runs do not have the same corruptions, or the baseline makes no error on one.
    """
    if set(cells) != set(baseline):
        raise ValueError(
            f"Both runs need the same corruptions; only one has {', '.join(sorted(set(cells) ^ set(baseline)))}."
        )
    ratios = {}
    for name, rows in cells.items():
        errors = sum(row["error"] for row in baseline[name])
        if errors == 0:
            raise ValueError(f"The baseline makes no error under {name}, so that nothing can be relative to it.")
        ratios[name] = sum(row["error"] for row in rows) / errors
    return {**ratios, "mean": float(np.mean(list(ratios.values())))}
