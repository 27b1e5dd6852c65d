"""Error, NLL and calibration on corrupted test images: each corruption and severity, groups, and the mean of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mollax import checks, corrupt, metrics
from mollax.data import Dataset, Split
from mollax.data.options import evenly_spaced
from mollax.evaluators.corrupter import CorruptedImages, compiled_ahead
from mollax.evaluators.predictor import Predictor, stack
from mollax.evaluators.relative import Baseline, relative_corruption_error

METRICS = ("error", "nll", "ece")
PyTree = Any


def expand(words: Sequence[str], *, option: str = "eval.corruptions") -> tuple[str, ...]:
    """Names of corruptions: "test" stands for the 15 of the benchmark, "extra" for the 4 held out for validation.

    `option` is what a message calls the words.

    Raises:
      ValueError: for an unknown name.
    """
    known = {"test": corrupt.NAMES, "extra": corrupt.EXTRA_NAMES}
    names: list[str] = []
    for word in words:
        checks.one_of(option, word, (*known, *corrupt.NAMES, *corrupt.EXTRA_NAMES))
        names += [name for name in known.get(word, (word,)) if name not in names]
    return tuple(names)


class CorruptionEvaluator:
    """The corruption benchmark on the test images of any data set."""

    def __init__(
        self,
        predictor: Predictor,
        corrupted: CorruptedImages,
        dataset: Dataset,
        *,
        names: Sequence[str],
        images: int = 0,
        bins: int = 15,
        baseline: Baseline | None = None,
    ) -> None:
        """`images` is how many test images are corrupted, spread evenly over the set; 0 takes all."""
        self._predictor, self._corrupted, self._bins, self._baseline = predictor, corrupted, bins, baseline
        self._names, self._classes = expand(names), len(dataset.class_names)
        test, count = dataset.test, checks.positive_int("eval.corrupted_images", images, minimum=0)
        chosen = evenly_spaced(len(test), count)
        self._test = Split(stack(test, chosen), test.labels[chosen]) if len(chosen) < len(test) else test

    def run(self, variables: PyTree, *, progress: Callable[[str, int, int], None] | None = None) -> dict[str, Any]:
        """The block "corruptions" of results.json.

        Its keys are "images" (corrupted ones in each cell), "source" (where they come from) and perhaps a "note" on
        it, "clean" (test images untouched), "cells", those of `aggregate`, and with a baseline "relative": its
        "baseline" by name and `relative_corruption_error`.
        """
        cells: dict[str, list[dict[str, float]]] = {name: [] for name in self._names}
        order = [(name, severity) for name in self._names for severity in corrupt.SEVERITIES]
        clean, images = self._score(variables, self._test), 0
        for done, (name, severity) in enumerate(compiled_ahead(self._corrupted, self._test, order), 1):
            split = self._corrupted.split(self._test, name, severity)
            images = len(split)
            cells[name].append(self._score(variables, split))
            if progress is not None:
                progress(f"{name} {severity}", done, len(order))
        where = self._corrupted.describe(self._test)
        found = {"images": images, **where, "clean": clean, "cells": cells, **aggregate(cells)}
        if self._baseline is not None:
            errors = {name: row["error"] for name, row in found["corruptions"].items()}
            ratios = relative_corruption_error(errors, self._baseline.errors)
            found["relative"] = {"baseline": self._baseline.name, **ratios}
        return found

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
