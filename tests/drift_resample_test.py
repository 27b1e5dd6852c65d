"""The bootstrap of means over units against scipy and the standard error of a ratio."""

import numpy as np
import pytest
import scipy.stats

from mollax.drift import resample
from mollax.drift.resample import percentile_interval, resampled_means
from mollax.drift.samples import Units


def single(values: np.ndarray) -> Units:
    """Every value is a unit."""
    return Units(values, np.ones(len(values)))


def test_agrees_with_scipy(rng):
    values = rng.exponential(size=80)
    theirs = scipy.stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=rng)
    ours = percentile_interval(resampled_means(single(values), resamples=4000, seed=0, stream=0), 0.95)
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    np.testing.assert_allclose(ours, theirs.confidence_interval, atol=0.1 * width)


def test_groups_make_a_ratio_of_sums(rng):
    counts = rng.integers(1, 9, 300).astype(np.float64)
    sums = counts * rng.normal(2, 1, 300)
    means = resampled_means(Units(sums, counts), resamples=3000, seed=0, stream=0)
    ratio = sums.sum() / counts.sum()
    error = np.sqrt(np.square(sums - ratio * counts).sum()) / counts.sum()
    assert means.mean() == pytest.approx(ratio, abs=0.1 * error)
    assert means.std() == pytest.approx(error, rel=0.06)


def test_draws_follow_seed_and_stream_and_no_chunk(rng, monkeypatch):
    units = single(rng.normal(size=30))
    one, other, third = (
        resampled_means(units, resamples=40, seed=seed, stream=stream) for seed, stream in ((3, 0), (3, 1), (4, 0))
    )
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, third)
    monkeypatch.setattr(resample, "_CHUNK", 100)
    np.testing.assert_allclose(resampled_means(units, resamples=40, seed=3, stream=0), one, rtol=1e-14)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="resamples must be at least 1"):
        resampled_means(single(np.ones(3)), resamples=0, seed=0, stream=0)
    with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\); got 95"):
        percentile_interval(np.ones(3), 95.0)
