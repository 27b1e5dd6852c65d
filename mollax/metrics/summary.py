"""All classification metrics of one set as a JSON-ready dict, as results.json and the report use them."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Integer

from mollax import checks
from mollax.metrics import inputs
from mollax.metrics.bootstrap import replica_interval, resampled_means
from mollax.metrics.calibration import (
    adaptive_calibration_error,
    expected_calibration_error,
    reliability,
    signed_gaps,
)
from mollax.metrics.classification import (
    brier,
    drop_extra_class,
    example_brier,
    example_error,
    example_negative_log_likelihood,
    log_softmax64,
    negative_log_likelihood,
    per_class_error,
)
from mollax.metrics.inputs import Host


def summarize(
    logits: Float[Host, "n _"],
    labels: Integer[Host, " n"],
    *,
    classes: int | None = None,
    bins: int = 15,
    temperature: float = 1.0,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Error, NLL, Brier and calibration of one whole set, with 95 % bootstrap intervals over its examples.

    Args:
      logits: (n, k), finite. Padded examples must be left out before.
      labels: (n,) class indices.
      classes: K, when the logits may have an extra "noise" column after the first K (see `drop_extra_class`):
        all metrics are then over the first K, renormalised. None counts every column as a class.
      bins: of the calibration errors and the reliability diagram.
      temperature: T of the block "scaled", fitted on validation data by `fit_temperature`; positive.
      resamples: of the intervals; 0 leaves them out (every interval is None).
      seed: of the resampling.

    Returns:
      A dict of plain ints, floats and lists, ready for JSON; None stands for what is undefined, the error
      of an absent class or the means of an empty bin:
        "n", "error", "nll" (nats), "brier" (sum over classes), "ece", "adaptive_ece", "per_class_error" (K);
        "reliability": "edges" (bins + 1), "confidence", "accuracy", "count" (bins each);
        "interval": [low, high] of "error", "nll", "brier" (percentile) and "ece" (`calibration_interval`);
        "scaled", of softmax(logits / T): "temperature", "nll", "brier", "ece", "adaptive_ece".

    Raises:
      ValueError, TypeError: on bad input, as the metrics themselves.
    """
    checks.in_range("temperature", temperature, 0.0, open_low=True)
    checks.positive_int("resamples", resamples, minimum=0)
    log_probs = log_softmax64(logits) if classes is None else drop_extra_class(logits, classes=classes)
    truth = inputs.class_labels(labels, log_probs, "logits")
    probs = np.exp(log_probs)
    diagram = reliability(probs, truth, bins=bins)
    # Softmax does not see a shift of a row, so tempering log-probabilities is tempering logits.
    scaled = log_softmax64(log_probs / temperature)
    return {
        "n": len(truth),
        "error": float(example_error(probs, truth).mean()),
        **_scores(log_probs, truth, bins),
        "per_class_error": _plain(per_class_error(probs, truth)),
        "reliability": {name: _plain(values) for name, values in vars(diagram).items()},
        "interval": _intervals(log_probs, truth, bins, resamples, seed),
        "scaled": {"temperature": float(temperature), **_scores(scaled, truth, bins)},
    }


def _scores(log_probs: Float64[np.ndarray, "n k"], labels: Integer[np.ndarray, " n"], bins: int) -> dict[str, float]:
    """What a temperature changes."""
    probs = np.exp(log_probs)
    return {
        "nll": negative_log_likelihood(log_probs, labels),
        "brier": brier(probs, labels),
        "ece": expected_calibration_error(probs, labels, bins=bins),
        "adaptive_ece": adaptive_calibration_error(probs, labels, bins=bins),
    }


def _intervals(
    log_probs: Float64[np.ndarray, "n k"],
    labels: Integer[np.ndarray, " n"],
    bins: int,
    resamples: int,
    seed: int,
) -> dict[str, list[float] | None]:
    """Intervals of all four metrics from one set of resamples."""
    names = ("error", "nll", "brier", "ece")
    if resamples == 0:
        return dict.fromkeys(names)
    probs = np.exp(log_probs)
    additive = np.stack(
        [
            example_error(probs, labels),
            example_negative_log_likelihood(log_probs, labels),
            example_brier(probs, labels),
        ],
        axis=1,
    )
    columns = np.concatenate([additive, signed_gaps(probs, labels, bins=bins)], axis=1)
    means, estimate = resampled_means(columns, resamples=resamples, seed=seed), columns.mean(axis=0)
    result: dict[str, list[float] | None] = {}
    for place, name in enumerate(names[:3]):
        result[name] = list(replica_interval(means[:, place], float(estimate[place])))
    replicas, ece = np.abs(means[:, 3:]).sum(axis=1), float(np.abs(estimate[3:]).sum())
    result["ece"] = [max(0.0, end) for end in replica_interval(replicas, ece, method="basic")]
    return result


def _plain(values: np.ndarray) -> list[Any]:
    """A list of Python numbers, with None for NaN."""
    return [None if value != value else value for value in values.tolist()]
