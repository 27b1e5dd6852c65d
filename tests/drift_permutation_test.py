"""Relabellings are even, p-values are counted, and a test that cannot reject says so."""

import itertools

import numpy as np
import pytest
import scipy.stats

from mollax.drift.permutation import check_resolution, permutation_p_value, relabellings


def test_relabellings_are_even():
    rows = np.concatenate(list(relabellings(3, 2, permutations=20_000, seed=1)))
    assert rows.shape == (20_000, 5)
    assert (rows.sum(axis=1) == 2).all()
    counts = np.unique(rows @ (1 << np.arange(5)), return_counts=True)[1]
    assert len(counts) == 10
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_relabellings_follow_the_seed_and_no_chunk():
    whole, parts, other = (
        np.concatenate(list(relabellings(9, 4, permutations=31, seed=seed, chunk=chunk)))
        for seed, chunk in ((5, 10**6), (5, 30), (6, 10**6))
    )
    np.testing.assert_array_equal(whole, parts)
    assert (whole != other).any()


def test_p_value_is_that_of_all_relabellings():
    held, new = np.array([0.1, 0.7, -1.2, 0.4]), np.array([1.9, 2.2, 0.6])
    pooled = np.concatenate([held, new])
    gap = new.mean() - held.mean()
    exact = [
        pooled[list(rows)].mean() - np.delete(pooled, list(rows)).mean() for rows in itertools.combinations(range(7), 3)
    ]
    drawn = np.concatenate(list(relabellings(4, 3, permutations=20_000)))
    permuted = np.array([pooled[row].mean() - pooled[~row].mean() for row in drawn])
    share = (np.abs(exact) >= abs(gap) - 1e-12).mean()
    assert permutation_p_value(gap, permuted) == pytest.approx(share, abs=4 * np.sqrt(share / 20_000))


def test_p_values_by_hand():
    permuted = np.array([-3.0, -1, 0, 1, 2, 2])
    assert permutation_p_value(2.0, permuted) == 4 / 7
    assert permutation_p_value(-2.0, permuted) == 4 / 7
    assert permutation_p_value(2.0, permuted, alternative="greater") == 3 / 7
    assert permutation_p_value(-9.0, permuted) == 1 / 7
    # What rounding tells apart is a tie.
    assert permutation_p_value(2.0 + 1e-12, permuted) == 4 / 7
    assert permutation_p_value(0.0, np.zeros(5)) == 1


@pytest.mark.parametrize("alternative", ["two-sided", "greater"])
def test_p_values_are_uniform(rng, alternative):
    draws = rng.normal(size=(3000, 40))
    p_values = [permutation_p_value(float(row[0]), row[1:], alternative=alternative) for row in draws]
    for level in (0.05, 0.25, 0.5):  # multiples of 1 / 40
        assert np.mean(np.array(p_values) <= level + 1e-9) == pytest.approx(
            level, abs=4 * np.sqrt(level * (1 - level) / 3000)
        )


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: next(relabellings(0, 3)), "held must be at least 1; got 0"),
        (lambda: next(relabellings(3, 3, permutations=0)), "permutations must be at least 1"),
        (lambda: next(relabellings(3, 3, seed=-1)), "seed must be at least 0"),
        (lambda: permutation_p_value(1.0, np.zeros(0)), "at least one relabelling"),
        (lambda: permutation_p_value(np.nan, np.zeros(3)), "must be finite"),
        (lambda: permutation_p_value(1.0, np.zeros(3), alternative="grater"), "Did you mean 'greater'"),
        (lambda: check_resolution(9, 9, permutations=9, level=0.05, units="points"), "ask for at least 19"),
        (lambda: check_resolution(9, 9, permutations=99, level=0.0, units="points"), r"level must be in \(0, 1\)"),
        (
            lambda: check_resolution(3, 3, permutations=999, level=0.05, units="groups"),
            "3 held and 3 new groups are too few: they have 20 relabellings and no p-value is below 0.1",
        ),
        (lambda: check_resolution(18, 1, permutations=999, level=0.05, units="points"), "18 held and 1 new points"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_just_enough():
    check_resolution(19, 1, permutations=19, level=0.05, units="points")
    check_resolution(4, 4, permutations=999, level=0.05, units="groups")
