"""Bootstrap intervals of AUROC, FPR at TPR and AUPR, and of the difference of two scores on the same images.

ID and OOD examples are resampled separately, each set with replacement to its own size. The resamples of a set
depend on its size and the seed alone: scores of the same images see the same resamples, and so does an ID set that
meets several OOD sets. The intervals speak of the noise of the test images, not of the training seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float64, Int64, Real

from mollax import checks
from mollax.metrics.bootstrap import Interval, replica_interval
from mollax.metrics.inputs import Host
from mollax.metrics.ranking import (
    POSITIVES,
    area_under_roc,
    average_precision,
    false_positive_rate,
    rates_of,
    score_array,
)

Replicas = dict[str, Float64[np.ndarray, " r"]]
"""Resampled values by the name of the metric."""

_CHUNK = 50_000
"""Counts treated at once: what a core's own cache holds."""


def detection_replicas(
    id_scores: Real[Host, " n"],
    ood_scores: Real[Host, " m"],
    *,
    positive: str = "id",
    tpr: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Replicas:
    """The metrics on each resample: "auroc", "fpr_at_tpr" and "aupr", (resamples,) each.

    Only the distinct scores are ranked, once; a resample is how often each of them was drawn. 1000 resamples of
    10,000 + 10,000 scores take half a second. Means over OOD sets, and whatever else combines metrics, follow from
    the replicas of one seed; see `replica_interval`.

    Args:
      id_scores, ood_scores: high for OOD.
      positive: the convention; see `mollax.metrics.detection`.
      tpr: of "fpr_at_tpr", in (0, 1].
      resamples: how many; at least 1.
      seed: of the resampling.

    Raises:
      ValueError: on an empty set, NaN, another rank, or bad options.
    """
    checks.one_of("positive", positive, POSITIVES)
    checks.in_range("tpr", tpr, 0.0, 1.0, open_low=True)
    checks.positive_int("resamples", resamples)
    checks.positive_int("seed", seed, minimum=0)
    pair = score_array("id_scores", id_scores), score_array("ood_scores", ood_scores)
    distinct, places = np.unique(np.concatenate(pair), return_inverse=True)
    sides = places[: len(pair[0])], places[len(pair[0]) :]
    rows = max(1, _CHUNK // max(len(distinct), len(pair[0]), len(pair[1])))
    replicas: dict[str, list] = {"auroc": [], "fpr_at_tpr": [], "aupr": []}
    streams = [
        _resampled_counts(side, len(distinct), rows, resamples, np.random.default_rng((seed, stream)))
        for stream, side in enumerate(sides)
    ]
    for id_counts, ood_counts in zip(*streams, strict=True):
        rates = rates_of(id_counts, ood_counts, positive)
        replicas["auroc"].append(area_under_roc(id_counts, ood_counts))
        replicas["fpr_at_tpr"].append(false_positive_rate(rates, tpr))
        replicas["aupr"].append(average_precision(rates))
    return {name: np.concatenate(parts) for name, parts in replicas.items()}


def detection_intervals(
    id_scores: Real[Host, " n"],
    ood_scores: Real[Host, " m"],
    *,
    positive: str = "id",
    tpr: float = 0.95,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Percentile intervals of "auroc", "fpr_at_tpr" and "aupr"; arguments and errors as `detection_replicas`.

    A separable pair of sets has intervals of width zero: the bootstrap cannot see what it has not seen.
    """
    replicas = detection_replicas(id_scores, ood_scores, positive=positive, tpr=tpr, resamples=resamples, seed=seed)
    return _intervals(replicas, level)


def paired_detection_intervals(
    first: tuple[Real[Host, " n"], Real[Host, " m"]],
    second: tuple[Real[Host, " n"], Real[Host, " m"]],
    *,
    positive: str = "id",
    tpr: float = 0.95,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Percentile intervals of metric(first) - metric(second), two scores of the *same* images in the same order.

    An interval without 0 says that the difference is more than the noise of these test images. It is much narrower than
    two separate intervals suggest where both scores fail on the same images.

    Args:
      first, second: (id_scores, ood_scores) of each; other arguments as `detection_replicas`.

    Raises:
      ValueError: if the sets differ in size, or as `detection_replicas` does.
    """
    for name, one, other in zip(("id_scores", "ood_scores"), first, second, strict=True):
        checks.same_length((f"first {name}", f"second {name}"), (one, other))
    mine, others = (
        detection_replicas(*pair, positive=positive, tpr=tpr, resamples=resamples, seed=seed)
        for pair in (first, second)
    )
    return _intervals({name: mine[name] - others[name] for name in mine}, level)


def _intervals(replicas: Mapping[str, Float64[np.ndarray, " r"]], level: float) -> dict[str, Interval]:
    """A percentile interval for each metric."""
    return {name: replica_interval(values, float(values.mean()), level=level) for name, values in replicas.items()}


def _resampled_counts(
    places: Int64[np.ndarray, " n"], values: int, rows: int, resamples: int, generator: np.random.Generator
) -> Iterator[Float64[np.ndarray, "rows m"]]:
    """For each resample how many examples are at or below each of the distinct scores, `rows` resamples at a time.

    `places` tells which distinct score each example has.
    """
    n = len(places)
    for start in range(0, resamples, rows):
        drawn = places[generator.integers(0, n, (min(rows, resamples - start), n))]
        cells = drawn + (values + 1) * np.arange(len(drawn))[:, None] + 1  # the first column stays 0
        counts = np.bincount(cells.ravel(), minlength=len(drawn) * (values + 1))
        yield np.cumsum(counts.reshape(len(drawn), values + 1), axis=1, dtype=np.float64)
