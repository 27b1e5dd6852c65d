"""Ranked scores: counts against brute force, exactness of order, doors."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from mollax.metrics import ranking


def test_counts_are_of_scores_at_or_below(rng: np.random.Generator) -> None:
    for dtype in (np.float16, np.float32, np.float64):
        first, second = (rng.integers(-4, 5, n).astype(dtype) / dtype(3) for n in (30, 17))
        counts = ranking.rank_scores(first, second).counts
        values = np.unique(np.concatenate([first, second]).astype(float))
        np.testing.assert_array_equal(counts.values, values)
        np.testing.assert_array_equal(counts.id, [0, *((first <= v).sum() for v in values)])
        np.testing.assert_array_equal(counts.ood, [0, *((second <= v).sum() for v in values)])


@pytest.mark.parametrize("decimals", [1, 9])
def test_blocks_join(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, decimals: int) -> None:
    rates = ranking.rank_scores(rng.normal(size=40).round(decimals), rng.normal(size=30).round(decimals)).rates("id")
    whole = ranking.average_precision(rates, 0.3)
    for block in (1, 2, 7, 39, 40, 41):
        monkeypatch.setattr(ranking, "_BLOCK", block)
        np.testing.assert_allclose(ranking.average_precision(rates, 0.3), whole, rtol=1e-14)


@pytest.mark.parametrize("decimals", [0, 1, 9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_merging_in_blocks_is_a_stable_sort(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, dtype: type[np.floating], decimals: int
) -> None:
    pair = [np.sort(rng.normal(loc, 1, n).round(decimals).astype(dtype)) for loc, n in ((0, 29), (0.5, 40))]
    both = np.concatenate(pair)
    order = np.argsort(both, kind="stable")
    steps = np.diff(both[order], prepend=-np.inf) > 0
    for block in (1, 2, 7, 28, 29, 100):
        monkeypatch.setattr(ranking, "_BLOCK", block)
        is_ood, larger = ranking._merge(*pair)
        np.testing.assert_array_equal(is_ood, order >= 29)
        np.testing.assert_array_equal(larger, steps)
        np.testing.assert_array_equal(ranking._others_before(is_ood), np.cumsum(order < 29)[order >= 29])


@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_positions_tell_what_counts_tell(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, decimals: int
) -> None:
    pair = rng.normal(size=21).round(decimals), (0.5 + rng.normal(size=34)).round(decimals)
    monkeypatch.setattr(ranking, "_DISTINCT_SHARE", 0)
    by_position = ranking.rank_scores(*pair)
    monkeypatch.setattr(ranking, "_DISTINCT_SHARE", 1)
    by_count = ranking.rank_scores(*pair)
    assert by_position.auroc() == by_count.auroc()
    for positive in ("id", "ood"):
        few, full = by_position.rates(positive), by_count.rates(positive)
        assert few.negatives == full.negatives == (34 if positive == "id" else 21)
        # One entry a positive, against one a distinct score.
        per_positive = np.repeat(np.arange(len(full.found)), np.diff(full.found, prepend=-1).astype(int))
        np.testing.assert_array_equal(few.found, full.found[per_positive])
        np.testing.assert_array_equal(few.alarms[1:], full.alarms[per_positive][1:])
        for prevalence in (None, 0.3):
            one, other = (ranking.average_precision(rates, prevalence) for rates in (few, full))
            np.testing.assert_allclose(one, other, rtol=1e-14)
        for tpr in (0.01, 0.5, 0.95, 1.0):
            assert ranking.false_positive_rate(few, tpr) == ranking.false_positive_rate(full, tpr)
    np.testing.assert_array_equal([by_count.id_score(k) for k in range(1, 22)], np.sort(pair[0]))


def test_zeros_of_both_signs_tie_and_infinities_rank() -> None:
    counts = ranking.rank_scores(np.array([-0.0, -np.inf]), np.array([0.0, np.inf, np.inf])).counts
    np.testing.assert_array_equal(counts.values, [-np.inf, 0, np.inf])
    np.testing.assert_array_equal(counts.id, [0, 1, 2, 2])
    np.testing.assert_array_equal(counts.ood, [0, 0, 1, 3])


@pytest.mark.parametrize("value", [1.0, 1e300, 1e-300, 16777216.0])
def test_neighboring_doubles_are_told_apart(value: float) -> None:
    # Equal, infinite or zero in float32.
    assert ranking.rank_scores(np.array([value]), np.array([np.nextafter(value, np.inf)])).auroc() == 1


def test_smallest_count_is_exact() -> None:
    for n in (*range(1, 130), 1000, 12_345):
        for percent in (1, 5, 7, 29, 50, 57, 58, 90, 95, 99, 100):
            exact = -(-Fraction(percent * n, 100) // 1)
            assert ranking.smallest_count(percent / 100, n) == max(1, exact), (percent, n)
    assert ranking.smallest_count(1e-9, 10) == 1
    assert ranking.smallest_count(np.nextafter(0.5, 1), 10) == 6


def test_every_real_type_is_upcast() -> None:
    for dtype in (np.int32, np.uint8, np.float16, ml_dtypes.bfloat16, np.float32):
        scores = ranking.score_array("scores", np.array([3, 1], dtype))
        assert scores.dtype == np.float64
        np.testing.assert_array_equal(scores, [3, 1])


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_integers_that_would_tie_are_refused(dtype: type[np.integer]) -> None:
    limits = np.iinfo(dtype)
    values = [0, 2**32, 2**53, 2**53 + 1, 2**53 + 2, 2**60, 2**60 + 1, limits.max - 1023, limits.max - 512, limits.max]
    if limits.min < 0:
        values += [-1, -(2**32) - 1, -(2**53) - 1, -(2**53) - 2, limits.min, limits.min + 1]
    for value in values:
        scores = np.array([7, value], dtype)
        if int(float(value)) == value:
            assert ranking.score_array("scores", scores)[1] == value
            continue
        with pytest.raises(ValueError, match=rf"ood_scores must be integers that float64 holds.*first, {value}, at ex"):
            ranking.rank_scores(scores[:1], scores)
    for narrow in (np.int32, np.uint32):
        assert ranking.score_array("scores", np.array([np.iinfo(narrow).max], narrow))[0] == np.iinfo(narrow).max


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "scores, kind, message",
    [
        (np.zeros(0), ValueError, "id_scores must hold at least one score; got none"),
        (np.zeros((3, 1)), ValueError, r"id_scores must have 1 axes \(examples,\); got shape \(3, 1\)"),
        ([1.0, 2.0], ValueError, "id_scores must have 1 axes"),
        (np.array([0, np.nan, np.nan]), ValueError, "id_scores must not be NaN; 2 of 3 are, the first at example 1"),
        (np.array([1j]), TypeError, "id_scores must be real numbers; got dtype complex128"),
        (np.array([True]), TypeError, "id_scores must be real numbers; got dtype bool"),
    ],
)
def test_bad_scores_are_refused(scores: np.ndarray, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        ranking.score_array("id_scores", scores)
