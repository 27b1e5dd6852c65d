"""Bootstrap of detection metrics: against resampling for real, DeLong's variance, and by its coverage."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats

from mollax import metrics
from mollax.metrics import detection_bootstrap


def drawn(n: int, resamples: int, seed: int, stream: int) -> np.ndarray:
    """The examples of each resample."""
    return np.random.default_rng((seed, stream)).integers(0, n, (resamples, n))


@pytest.mark.parametrize("positive", ["id", "ood"])
def test_replicas_are_the_metrics_of_resampled_scores(rng: np.random.Generator, positive: str) -> None:
    id_scores, ood_scores = rng.normal(size=37).round(1), 1 + rng.normal(size=23).round(1)
    replicas = metrics.detection_replicas(id_scores, ood_scores, positive=positive, tpr=0.9, resamples=40, seed=3)
    for r, (rows, others) in enumerate(zip(drawn(37, 40, 3, 0), drawn(23, 40, 3, 1), strict=True)):
        pair = id_scores[rows], ood_scores[others]
        assert replicas["auroc"][r] == pytest.approx(metrics.auroc(*pair), abs=1e-14)
        assert replicas["fpr_at_tpr"][r] == metrics.fpr_at_tpr(*pair, tpr=0.9, positive=positive)
        assert replicas["aupr"][r] == pytest.approx(metrics.aupr(*pair, positive=positive), abs=1e-14)


def test_spread_of_auroc_is_delongs(rng: np.random.Generator) -> None:
    id_scores, ood_scores = rng.normal(size=400), 1 + rng.normal(size=300)
    wins = (ood_scores[:, None] > id_scores).astype(float)
    variance = wins.mean(axis=1).var() / 300 + wins.mean(axis=0).var() / 400
    replicas = metrics.detection_replicas(id_scores, ood_scores, resamples=4000)
    assert replicas["auroc"].std() == pytest.approx(np.sqrt(variance), rel=0.05)
    assert replicas["auroc"].mean() == pytest.approx(wins.mean(), abs=0.002)


def test_agrees_with_the_bootstrap_of_scipy(rng: np.random.Generator) -> None:
    id_scores, ood_scores = rng.normal(size=60), 1 + rng.normal(size=80)

    def accepted(id_scores: np.ndarray, ood_scores: np.ndarray) -> float:
        return (ood_scores <= np.sort(id_scores)[56]).mean()  # 57 of 60 are 95 %

    theirs = scipy.stats.bootstrap(
        (id_scores, ood_scores), accepted, n_resamples=3000, method="percentile", vectorized=False, rng=rng
    ).confidence_interval
    ours = metrics.detection_intervals(id_scores, ood_scores, resamples=3000)["fpr_at_tpr"]
    np.testing.assert_allclose(ours, theirs, atol=0.1 * (theirs.high - theirs.low))


def test_coverage(rng: np.random.Generator) -> None:
    shift, hits = 1.5, {"auroc": 0, "fpr_at_tpr": 0}
    truth = {
        "auroc": scipy.stats.norm.cdf(shift / np.sqrt(2)),
        "fpr_at_tpr": scipy.stats.norm.cdf(scipy.stats.norm.ppf(0.95) - shift),
    }
    for trial in range(150):
        intervals = metrics.detection_intervals(
            rng.normal(size=200), shift + rng.normal(size=200), level=0.9, resamples=100, seed=trial
        )
        for name in hits:
            hits[name] += intervals[name].low <= truth[name] <= intervals[name].high
    assert all(0.82 < count / 150 < 0.97 for count in hits.values()), hits


def test_pairs_share_their_resamples(rng: np.random.Generator) -> None:
    hard_id, hard_ood = rng.normal(size=800), 1 + rng.normal(size=600)
    first = (hard_id + 0.1 * rng.normal(size=800), hard_ood + 0.1 * rng.normal(size=600) + 0.15)
    second = (hard_id + 0.1 * rng.normal(size=800), hard_ood + 0.1 * rng.normal(size=600))
    together = metrics.paired_detection_intervals(first, second, resamples=500)
    apart = metrics.detection_intervals(*first, resamples=500)
    assert together["auroc"].low > 0
    width = together["auroc"].high - together["auroc"].low
    assert width < 0.3 * (apart["auroc"].high - apart["auroc"].low)
    swapped = metrics.paired_detection_intervals(second, first, resamples=500)
    for name, (low, high) in swapped.items():
        np.testing.assert_allclose((-high, -low), together[name], atol=1e-12)
    # The same score on another scale is the same score: monotone maps change no rank.
    mapped = tuple(np.exp(3 * scores) for scores in first)
    for interval in metrics.paired_detection_intervals(first, mapped, resamples=50, positive="ood").values():
        assert interval == (0, 0)
    # Other images in the same places are not paired.
    shuffled = (rng.permutation(second[0]), rng.permutation(second[1]))
    loose = metrics.paired_detection_intervals(first, shuffled, resamples=500)["auroc"]
    assert loose.high - loose.low > 2 * width


def test_resamples_follow_the_seed_and_no_chunk(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    id_scores, ood_scores = rng.normal(size=50), rng.normal(size=31)
    one = metrics.detection_replicas(id_scores, ood_scores, resamples=30, seed=5)
    other = metrics.detection_replicas(id_scores, ood_scores, resamples=30, seed=6)
    monkeypatch.setattr(detection_bootstrap, "_CHUNK", 170)
    again = metrics.detection_replicas(id_scores, ood_scores, resamples=30, seed=5)
    for name in one:
        assert one[name].shape == (30,)
        np.testing.assert_allclose(one[name], again[name], rtol=1e-14)
        assert not np.array_equal(one[name], other[name])


def test_separable_sets_have_no_spread() -> None:
    intervals = metrics.detection_intervals(np.arange(5.0), 10 + np.arange(4.0), resamples=20)
    assert intervals == {"auroc": (1, 1), "fpr_at_tpr": (0, 0), "aupr": (1, 1)}
    blind = metrics.detection_intervals(np.zeros(5), np.zeros(1), resamples=20)
    assert blind["auroc"] == (0.5, 0.5)


def test_a_thousand_resamples_are_fast(rng: np.random.Generator) -> None:
    id_scores, ood_scores = rng.normal(size=10_000), 1 + rng.normal(size=10_000)
    begin = time.process_time()
    metrics.detection_intervals(id_scores, ood_scores)
    # 0.5 s alone on a core.
    assert time.process_time() - begin < 3


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "call, message",
    [
        (lambda s: metrics.detection_intervals(s, s[:0]), "ood_scores must hold at least one score; got none"),
        (lambda s: metrics.detection_intervals(s * np.nan, s), "id_scores must not be NaN"),
        (lambda s: metrics.detection_intervals(s, s, level=1.0), r"level must be in \(0, 1\)"),
        (lambda s: metrics.detection_intervals(s, s, resamples=0), "resamples must be at least 1; got 0"),
        (lambda s: metrics.detection_intervals(s, s, seed=-1), "seed must be at least 0"),
        (lambda s: metrics.detection_replicas(s, s, positive="oud"), "Did you mean 'ood'"),
        (lambda s: metrics.detection_replicas(s, s, tpr=95), r"tpr must be in \(0, 1\]; got 95"),
        (
            lambda s: metrics.paired_detection_intervals((s, s), (s, s[:2])),
            "first ood_scores has 3, second ood_scores has 2",
        ),
    ],
)
def test_bad_input_is_refused(call: Callable[[np.ndarray], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(np.arange(3.0))
