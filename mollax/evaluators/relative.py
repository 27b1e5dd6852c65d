"""Corruption errors relative to a baseline: another run's, or AlexNet's on ImageNet-C (then the mean is the mCE)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mollax import corrupt

# Hendrycks and Dietterich 2019; raw errors, mean over severities, from their repository hendrycks/robustness.
ALEXNET_ON_IMAGENET_C = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}
IMAGENET_CLASSES = 1000


@dataclass(frozen=True)
class Baseline:
    """What errors are divided by.

    Attributes:
      name: "alexnet", or what the run is called.
      errors: {corruption: mean error over severities}.
    """

    name: str
    errors: Mapping[str, float]


def read_baseline(
    text: str, *, names: Iterable[str], data: str, classes: int, published: bool, source: str
) -> Baseline:
    """The baseline that `eval.baseline` names.

    Args:
      text: "alexnet", the workdir of a run, or its results.json.
      names: corruptions that will be evaluated.
      data: name of the data set; a run's must be on the same.
      classes: of the data; AlexNet's reference exists for ImageNet's 1,000 alone.
      published: whether the corrupted images are a published set.
      source: where they come from; a run's must come from the same.

    Raises:
      FileNotFoundError: if there is no such run.
      ValueError: if its corruptions are missing, on other images or without an error, or for "alexnet" on other data.
    """
    baseline = _alexnet(classes, published) if text == "alexnet" else _of_run(Path(text), data, source)
    missing = [name for name in names if name not in baseline.errors]
    if missing:
        raise ValueError(f"eval.baseline {text} has no errors for {', '.join(missing)}.")
    perfect = [name for name in names if baseline.errors[name] == 0]
    if perfect:
        raise ValueError(f"eval.baseline {text} makes no error under {', '.join(perfect)}: nothing is relative to 0.")
    return baseline


def _alexnet(classes: int, published: bool) -> Baseline:
    if classes != IMAGENET_CLASSES or not published:
        raise ValueError(
            "AlexNet's errors are those on the published ImageNet-C: eval.baseline alexnet needs its 1,000 classes and "
            "eval.corruption_path. Elsewhere, name the folder of a run of yours."
        )
    return Baseline("alexnet", ALEXNET_ON_IMAGENET_C)


def _of_run(path: Path, data: str, source: str) -> Baseline:
    path = path / "results.json" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"eval.baseline: there is no {path}. Name the workdir of a finished run, or alexnet.")
    results = json.loads(path.read_text(encoding="utf-8"))
    block = results.get("corruptions")
    if not block:
        raise ValueError(f"eval.baseline: {path} is of a run without eval.corruptions.")
    theirs, ours = f"{results['data']['name']}, {block['source']}", f"{data}, {source}"
    if theirs != ours:
        raise ValueError(f"eval.baseline: {path} is on other images. There: {theirs}; here: {ours}.")
    return Baseline(results["name"], {name: row["error"] for name, row in block["corruptions"].items()})


def relative_corruption_error(errors: Mapping[str, float], baseline: Mapping[str, float]) -> dict[str, float]:
    """Each corruption's error over the baseline's, and "mean", the mean ratio of the test corruptions among them.

    Relative to AlexNet on ImageNet-C the mean over all 15 is the mCE of Hendrycks and Dietterich; relative to anything
    else it is not comparable with a published mCE.

    Args:
      errors: {corruption: mean error over severities}.
      baseline: the same of the baseline, with at least these corruptions.
    """
    ratios = {name: error / baseline[name] for name, error in errors.items()}
    test = [ratio for name, ratio in ratios.items() if name in corrupt.NAMES]
    return ratios | ({"mean": float(np.mean(test))} if test else {})
