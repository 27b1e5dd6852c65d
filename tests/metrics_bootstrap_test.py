"""Bootstrap intervals against scipy, against exact binomial quantiles, and by their coverage on toys."""

import time
from typing import Any

import numpy as np
import pytest
import scipy.stats

from mollax import metrics


@pytest.mark.parametrize("method", ["percentile", "basic"])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_mean_agrees_with_scipy(rng: np.random.Generator, method: str, level: float) -> None:
    values = rng.exponential(size=60)
    reference = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, confidence_level=level, method=method, rng=rng
    ).confidence_interval
    ours = metrics.bootstrap_interval(values, level=level, resamples=20_000, method=method)
    # Both are Monte Carlo: the ends agree within a few percent of the width.
    np.testing.assert_allclose(ours, reference, atol=0.03 * (reference.high - reference.low))


def test_skewed_ends_are_the_right_way_round(rng: np.random.Generator) -> None:
    values = rng.exponential(size=15) ** 3
    percentile = metrics.bootstrap_interval(values, resamples=5_000)
    basic = metrics.bootstrap_interval(values, resamples=5_000, method="basic")
    mean = values.mean()
    assert percentile.high - mean > mean - percentile.low
    np.testing.assert_allclose(basic, (2 * mean - percentile.high, 2 * mean - percentile.low), rtol=1e-12)


def test_error_rate_has_binomial_quantiles() -> None:
    n, wrong = 400, 60
    values = np.zeros(n)
    values[:wrong] = 1
    exact = scipy.stats.binom(n, wrong / n).ppf([0.025, 0.975]) / n
    interval = metrics.bootstrap_interval(values, resamples=20_000)
    np.testing.assert_allclose(interval, exact, atol=1.01 / n)


def test_statistic_sees_the_same_resamples_as_the_mean(rng: np.random.Generator) -> None:
    values = rng.normal(size=5_000)
    fast = metrics.bootstrap_interval(values, resamples=500, seed=3)
    slow = metrics.bootstrap_interval(values, statistic=lambda v: float(v.mean()), resamples=500, seed=3)
    np.testing.assert_allclose(fast, slow, rtol=1e-10)


def test_median_agrees_with_scipy(rng: np.random.Generator) -> None:
    values = rng.normal(size=101)
    reference = scipy.stats.bootstrap((values,), np.median, n_resamples=4_000, method="percentile", rng=rng)
    ours = metrics.bootstrap_interval(values, statistic=lambda v: float(np.median(v)), resamples=4_000)
    width = reference.confidence_interval.high - reference.confidence_interval.low
    np.testing.assert_allclose(ours, reference.confidence_interval, atol=0.1 * width)


def test_calibration_interval_equals_resampling_the_rows(rng: np.random.Generator) -> None:
    probs, labels = rng.dirichlet(np.ones(4), 300), rng.integers(0, 4, 300)
    for method in ("percentile", "basic"):
        fast = metrics.calibration_interval(probs, labels, bins=10, resamples=200, seed=1, method=method)

        def ece(rows: np.ndarray) -> float:
            return metrics.expected_calibration_error(probs[rows], labels[rows], bins=10)

        slow = metrics.bootstrap_interval(np.arange(300), statistic=ece, resamples=200, seed=1, method=method)
        np.testing.assert_allclose(fast, slow, rtol=1e-9)


def test_calibration_interval_is_not_negative(rng: np.random.Generator) -> None:
    confidence = rng.uniform(0.5, 1, 200)
    labels = (rng.random(200) > confidence).astype(int)
    interval = metrics.calibration_interval(np.stack([confidence, 1 - confidence], 1), labels)
    assert 0 <= interval.low <= interval.high


def test_means_of_resamples_have_the_right_spread(rng: np.random.Generator) -> None:
    columns = rng.normal(size=(80, 3)) @ np.array([[1.0, 0.5, 0], [0, 1, 0], [0, 0, 2]])
    means = metrics.resampled_means(columns, resamples=20_000)
    assert means.shape == (20_000, 3)
    np.testing.assert_allclose(means.mean(0), columns.mean(0), atol=0.01)
    covariance = np.cov(columns.T, bias=True) / 80
    np.testing.assert_allclose(np.cov(means.T), covariance, atol=0.03 * covariance.max())


def test_resamples_do_not_depend_on_the_columns_and_follow_the_seed(rng: np.random.Generator) -> None:
    columns = rng.normal(size=(3_000, 2))
    # 2,000 resamples of 3,000 are drawn in several pieces.
    both = metrics.resampled_means(columns, resamples=2_000, seed=5)
    np.testing.assert_allclose(both[:, :1], metrics.resampled_means(columns[:, :1], resamples=2_000, seed=5))
    np.testing.assert_array_equal(both, metrics.resampled_means(columns, resamples=2_000, seed=5))
    assert not np.array_equal(both, metrics.resampled_means(columns, resamples=2_000, seed=6))
    assert len(np.unique(both[:, 0])) == 2_000


def test_coverage_of_the_mean(rng: np.random.Generator) -> None:
    hits = 0
    for trial in range(400):
        low, high = metrics.bootstrap_interval(
            (rng.random(150) < 0.3).astype(float), level=0.9, resamples=200, seed=trial
        )
        hits += low <= 0.3 <= high
    # Binomial sd of the share is 0.015; small-sample percentile intervals cover a little less than promised.
    assert 0.84 < hits / 400 < 0.95


def test_basic_interval_covers_a_small_calibration_error_where_percentile_does_not(
    rng: np.random.Generator,
) -> None:
    hits = {"percentile": 0, "basic": 0}
    for trial in range(40):
        confidence = rng.uniform(0.5, 0.9, 1_000)
        labels = (rng.random(1_000) > confidence + 0.01).astype(int)
        probs = np.stack([confidence, 1 - confidence], axis=1)
        for method in hits:
            low, high = metrics.calibration_interval(probs, labels, resamples=200, seed=trial, method=method)
            hits[method] += low <= 0.01 <= high
    # The table of the docstring: 0 % and 87 %.
    assert hits["percentile"] < 4
    assert hits["basic"] > 28


def test_paired_interval_is_narrower_than_either(rng: np.random.Generator) -> None:
    hardness = rng.random(2_000)
    first, second = (hardness > 0.7).astype(float), (hardness > 0.72).astype(float)
    low, high = metrics.paired_interval(first, second)
    assert 0 < low < first.mean() - second.mean() < high
    alone = metrics.bootstrap_interval(first)
    assert high - low < 0.5 * (alone.high - alone.low)
    swapped = metrics.paired_interval(second, first)
    np.testing.assert_allclose(swapped, (-high, -low), rtol=1e-9)
    assert metrics.paired_interval(first, first) == (0, 0)
    whole = metrics.paired_interval(first.astype(np.int32), second.astype(np.float16))
    np.testing.assert_allclose(whole, (low, high))


def test_a_single_example_has_no_spread() -> None:
    assert metrics.bootstrap_interval(np.array([0.3])) == pytest.approx((0.3, 0.3))
    low, high = metrics.calibration_interval(np.array([[0.8, 0.2]]), np.array([0]))
    assert (low, high) == pytest.approx((0.2, 0.2))


def test_a_thousand_resamples_of_ten_thousand_are_fast(rng: np.random.Generator) -> None:
    values = rng.random(10_000)
    metrics.bootstrap_interval(values, resamples=10)
    start = time.perf_counter()
    metrics.bootstrap_interval(values)
    # About 0.1 s on one idle core; the limit leaves room for a busy machine.
    assert time.perf_counter() - start < 3


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "values, options, message",
    [
        (np.zeros(0), {}, "values must hold at least one example; got none"),
        (np.zeros((2, 2)), {}, r"values must have 1 axes \(examples,\); got shape \(2, 2\)"),
        (np.array([0.0, np.nan]), {}, "values must be finite; got nan at example 1"),
        (np.array([np.inf]), {}, "values must be finite; got inf at example 0"),
        (np.ones(3), {"level": 1.0}, r"level must be in \(0, 1\); got 1.0"),
        (np.ones(3), {"resamples": 0}, "resamples must be at least 1; got 0"),
        (np.ones(3), {"seed": -1}, "seed must be at least 0; got -1"),
        (np.ones(3), {"method": "percentil"}, "Did you mean 'percentile'"),
        (
            np.ones(3),
            {"statistic": lambda v: float("nan")},
            "statistic must be finite on the set and on every",
        ),
    ],
)
def test_bad_input_is_refused(values: np.ndarray, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.bootstrap_interval(values, **options)


@pytest.mark.usefixtures("unhooked")
def test_pairs_must_match() -> None:
    with pytest.raises(ValueError, match="first has 2, second has 3"):
        metrics.paired_interval(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="second must have 1 axes"):
        metrics.paired_interval(np.zeros(2), np.zeros((2, 1)))


@pytest.mark.usefixtures("unhooked")
def test_resampling_needs_examples() -> None:
    with pytest.raises(ValueError, match="the number of examples must be at least 1; got 0"):
        metrics.resampled_means(np.zeros((0, 2)))
    with pytest.raises(ValueError, match="columns must have 2 axes"):
        metrics.resampled_means(np.zeros(3))
