"""Conformal p-values by hand, by brute force and by what they promise; false discoveries in simulated batches."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from mollax import metrics

WHOLE = st.lists(st.integers(-3, 3), min_size=1, max_size=12).map(lambda values: np.array(values, float))


def test_worked_by_hand() -> None:
    validation = np.array([3.0, 1, 2, 2])
    scores = np.array([0.0, 1, 2, 2.5, 3, 4, np.inf, -np.inf])
    np.testing.assert_allclose(metrics.conformal_p_values(validation, scores), np.array([5, 5, 4, 2, 2, 1, 1, 5]) / 5)


@settings(max_examples=40, deadline=None)
@given(WHOLE, WHOLE)
def test_p_values_by_brute_force(validation: np.ndarray, scores: np.ndarray) -> None:
    wanted = [(1 + sum(v >= s for v in validation)) / (len(validation) + 1) for s in scores]
    np.testing.assert_array_equal(metrics.conformal_p_values(validation, scores), wanted)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-2, 2), min_size=2, max_size=12))
def test_p_values_are_super_uniform_over_every_choice_of_the_new_example(pool: list[int]) -> None:
    # Exchangeability: each of the n + 1 is as likely the new one. Exact, ties included.
    values = np.array(pool, float)
    p = np.array([metrics.conformal_p_values(np.delete(values, i), values[i : i + 1])[0] for i in range(len(values))])
    for level in np.linspace(0, 1, 23):
        assert (p <= level).mean() <= level + 1e-12


def test_p_values_without_ties_are_uniform(rng: np.random.Generator) -> None:
    p = np.array([metrics.conformal_p_values(*np.split(rng.normal(size=20), [19]))[0] for _ in range(1500)])
    counts = np.bincount(np.rint(20 * p).astype(int), minlength=21)[1:]
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=20), st.sampled_from([0.05, 0.2, 0.5]))
def test_flags_agree_with_scipy(thirtieths: list[int], level: float) -> None:
    p = np.array(thirtieths) / 30
    for procedure, method in (("benjamini_hochberg", "bh"), ("benjamini_yekutieli", "by")):
        adjusted = scipy.stats.false_discovery_control(p, method=method)
        flags = metrics.false_discovery_flags(p, level=level, procedure=procedure)
        np.testing.assert_array_equal(flags, adjusted <= level * (1 + 1e-9))


def test_flags_worked_by_hand() -> None:
    # The lines are .02 .04 .06 .08 .1: the third is on its line, the second above; both go with it.
    p = np.array([0.9, 0.06, 0.01, 0.05, 0.3])
    flags = metrics.false_discovery_flags(p, level=0.1)
    np.testing.assert_array_equal(flags, [False, True, True, True, False])
    # Storey: one of five p-values is above 1/2, so pi = .8 and the lines are .025 .05 .075 ...
    p = np.array([0.9, 0.07, 0.01, 0.05, 0.3])
    assert metrics.false_discovery_flags(p, level=0.1).sum() == 1
    assert metrics.false_discovery_flags(p, level=0.1, procedure="storey").sum() == 3
    # Yekutieli: lines lower by 1 + 1/2 + 1/3 + 1/4 + 1/5 = 2.283: .0088 is below .01.
    assert metrics.false_discovery_flags(p, level=0.1, procedure="benjamini_yekutieli").sum() == 0


def test_storey_never_flags_what_its_share_of_id_is_made_of() -> None:
    # One of twenty above 1/2: pi = .2, and at level .3 the line ends at 1.5, above every p-value.
    p = np.append(np.full(19, 0.01), 0.97)
    flags = metrics.false_discovery_flags(p, level=0.3, procedure="storey")
    np.testing.assert_array_equal(flags, p <= 0.5)
    # The threshold of the theorem by its words: the largest t <= 1/2 with pi m t / #{p <= t} <= level.
    rng = np.random.default_rng(5)
    for _ in range(200):
        p = np.round(rng.beta(0.3, 1, rng.integers(1, 25)), 2)
        share, level = min(1, 2 * (1 + (p > 0.5).sum()) / len(p)), 0.4
        good = [t for t in p if t <= 0.5 and share * len(p) * t / (p <= t).sum() <= level + 1e-12]
        flags = metrics.false_discovery_flags(p, level=level, procedure="storey")
        np.testing.assert_array_equal(flags, p <= max(good, default=-1))


def test_fractions_on_the_line_are_flagged() -> None:
    for n in range(10, 400):
        for level in (0.05, 0.1, 0.3):
            k = n // 3
            # k p-values of level x k / n, by another order of rounding.
            p = np.array([k / (n / level)] * k + [1.0] * (n - k))
            assert metrics.false_discovery_flags(p, level=level).sum() == k, (n, level)


@pytest.mark.parametrize("procedure", ["benjamini_hochberg", "benjamini_yekutieli", "storey"])
def test_false_discovery_rate_is_kept(rng: np.random.Generator, procedure: str) -> None:
    level, false, found = 0.2, [], []
    is_ood = np.arange(50) >= 30
    for _ in range(600):
        validation = rng.normal(size=300)
        p = metrics.conformal_p_values(validation, rng.normal(size=50) + 3 * is_ood)
        flags = metrics.false_discovery_flags(p, level=level, procedure=procedure)
        false.append((flags & ~is_ood).sum() / max(1, flags.sum()))
        found.append(flags[is_ood].mean())
    rate, error = np.mean(false), np.std(false) / np.sqrt(600)
    assert rate < level + 3 * error
    if procedure == "benjamini_hochberg":  # it spends level x 30 / 50
        assert rate == pytest.approx(0.12, abs=0.01 + 3 * error)
    assert np.mean(found) > {"benjamini_yekutieli": 0.4, "benjamini_hochberg": 0.8, "storey": 0.85}[procedure]


def test_a_batch_of_id_images_is_rarely_flagged(rng: np.random.Generator) -> None:
    alarms = 0
    for _ in range(1000):
        p = metrics.conformal_p_values(rng.normal(size=400), rng.normal(size=20))
        alarms += metrics.false_discovery_flags(p, level=0.1).any()
    assert 0.05 < alarms / 1000 < 0.1 + 3 * 0.01


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "call, message",
    [
        (lambda s: metrics.conformal_p_values(s[:0], s), "validation_scores must hold at least one score; got none"),
        (lambda s: metrics.conformal_p_values(s, s[:0]), "scores must hold at least one score; got none"),
        (lambda s: metrics.conformal_p_values(s * np.nan, s), "validation_scores must not be NaN; 3 of 3"),
        (lambda s: metrics.conformal_p_values(s, s[None]), "scores must have 1 axes"),
        (lambda s: metrics.false_discovery_flags(s), r"p_values must be in \[0, 1\]; they span \[0, 2\]"),
        (lambda s: metrics.false_discovery_flags(s / 2, level=1.0), r"level must be in \(0, 1\)"),
        (lambda s: metrics.false_discovery_flags(s / 2, procedure="storeys"), "Did you mean 'storey'"),
    ],
)
def test_bad_input_is_refused(call: Callable[[np.ndarray], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(np.arange(3.0))
