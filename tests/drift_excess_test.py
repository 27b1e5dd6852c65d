"""The excess: closed forms of Gaussians, scipy's permutation test, size, power, groups, bad input."""

import numpy as np
import pytest
import scipy.stats

from mollax.drift.excess import excess, relabelled_differences
from mollax.drift.samples import units_of


def normal_log(points: np.ndarray) -> np.ndarray:
    """log N(x; 0, I): what a Gaussian bank, infinitely large, says."""
    return scipy.stats.norm.logpdf(points).sum(axis=1)


@pytest.mark.parametrize("shift, scale", [(0.5, 1.0), (0.0, 1.4), (0.0, 0.6)])
def test_gaussian_shift_in_closed_form(rng, shift, scale):
    """N(shift, scale^2) against N(0, 1): the excess is d (shift^2 + scale^2 - 1) / 2, less than 0 for scale < 1."""
    width, count = 4, 20_000
    held, new = rng.normal(size=(count, width)), shift + scale * rng.normal(size=(count, width))
    found = excess(normal_log(held), normal_log(new), permutations=99)
    expected = width * (shift**2 + scale**2 - 1) / 2
    error = np.sqrt(width / 2 / count * (1 + scale**4 + 2 * shift**2 * scale**2))
    assert found.value == pytest.approx(expected, abs=4 * error)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert found.p_value == 0.01
    assert found.held == pytest.approx(width / 2 * np.log(2 * np.pi * np.e), abs=0.05)
    assert found.value == pytest.approx(found.new - found.held, abs=1e-12)


def test_permutation_test_is_scipys(rng):
    held, new = rng.exponential(size=25), 0.3 + rng.exponential(size=18)
    theirs = scipy.stats.permutation_test(
        (-held, -new),
        lambda x, y, axis: y.mean(axis=axis) - x.mean(axis=axis),
        vectorized=True,
        n_resamples=9999,
        rng=1,
    )
    # Theirs is twice the smaller tail, which is nearly the same for a nearly symmetric distribution.
    ours = excess(held, new, permutations=9999)
    assert ours.value == pytest.approx(theirs.statistic, abs=1e-12)
    share = np.mean(np.abs(theirs.null_distribution) >= abs(theirs.statistic) - 1e-12)
    assert ours.p_value == pytest.approx(share, abs=4 * np.sqrt(2 * share / 9999))
    null = relabelled_differences(
        units_of(-held, np.arange(25)), units_of(-new, np.arange(18)), permutations=9999, seed=4
    )
    assert scipy.stats.ks_2samp(null, theirs.null_distribution).pvalue > 1e-3


@pytest.mark.slow
def test_size_is_the_level(rng):
    """5,000 toys of a skewed distribution, sides of different size."""
    draws = rng.exponential(size=(5000, 40))
    p_values = np.array([excess(row[:25], row[25:], permutations=99, resamples=1).p_value for row in draws])
    assert 0.04 <= np.mean(p_values <= 0.05 + 1e-9) <= 0.06
    for level in (0.01, 0.1, 0.5):
        assert np.mean(p_values <= level + 1e-9) == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 5000))


@pytest.mark.parametrize("shift, count, level", [(0.5, 50, 0.05), (0.8, 30, 0.01), (1.0, 12, 0.05)])
def test_power_is_that_of_the_t_test(rng, shift, count, level):
    noncentral = shift * np.sqrt(count / 2)
    ends = scipy.stats.t.ppf(1 - level / 2, 2 * count - 2)
    expected = scipy.stats.nct.sf(ends, 2 * count - 2, noncentral)
    draws = rng.normal(size=(250, 2, count))
    hits = [
        excess(held, new - shift, permutations=199, resamples=1, level=level).p_value <= level + 1e-9
        for held, new in draws
    ]
    assert np.mean(hits) == pytest.approx(expected, abs=0.1)


def test_coverage(rng):
    draws = rng.normal(size=(200, 2, 60))
    found = [excess(held, 2 * new - 0.7, permutations=19, resamples=200) for held, new in draws]
    assert 0.89 <= np.mean([one.low <= 0.7 <= one.high for one in found]) <= 0.99


def test_groups_of_one_are_no_groups(rng):
    held, new = rng.normal(size=20), rng.normal(size=15)
    plain = excess(held, new, seed=3, permutations=199)
    grouped = excess(held, new, seed=3, permutations=199, groups_held=np.arange(20), groups_new=np.arange(15))
    np.testing.assert_allclose(plain, grouped, rtol=1e-12)


def grouped_toys(rng: np.random.Generator, toys: int) -> list[tuple]:
    """Values that groups of 1 to 6 share for the most part: 14 held groups, 9 new ones."""
    found = []
    for _ in range(toys):
        sizes = rng.integers(1, 7, 23)
        numbers = np.repeat(np.arange(23), sizes)
        values = rng.normal(size=23)[numbers] + 0.3 * rng.normal(size=len(numbers))
        held = numbers < 14
        found.append((values[held], values[~held], numbers[held], numbers[~held]))
    return found


def test_whole_groups_keep_the_size(rng):
    toys = grouped_toys(rng, 400)
    options = {"permutations": 99, "resamples": 60}
    found = [excess(held, new, groups_held=a, groups_new=b, **options) for held, new, a, b in toys]
    assert 0.02 <= np.mean([one.p_value <= 0.05 + 1e-9 for one in found]) <= 0.085
    assert np.mean([one.low <= 0 <= one.high for one in found]) > 0.88
    # As if they were independent, and both are wrong.
    loose = [excess(held, new, **options) for held, new, _, _ in toys[:100]]
    assert np.mean([one.p_value <= 0.05 + 1e-9 for one in loose]) > 0.15
    assert np.mean([one.low <= 0 <= one.high for one in loose]) < 0.8
    assert (found[0].held_units, found[0].new_units) == (14, 9)
    assert found[0].value == pytest.approx(loose[0].value, abs=1e-12)


def test_equal_log_densities_are_no_evidence():
    found = excess(np.full(20, -1234.567), np.full(9, -1234.567), permutations=99)
    assert found[:4] == (0, 0, 0, 1)


def test_an_offset_loses_no_digits(rng):
    held, new = rng.normal(size=30), rng.normal(size=30)
    near, far = (excess(held + offset, new + offset, permutations=199) for offset in (0, -2e4))
    assert far.p_value == near.p_value
    np.testing.assert_allclose(far[:3], near[:3], atol=1e-10)


def test_seed(rng):
    held, new = rng.normal(size=30), rng.normal(size=20)
    assert excess(held, new, seed=1) == excess(held, new, seed=1)
    assert excess(held, new, seed=1) != excess(held, new, seed=2)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "options, message",
    [
        ({"held_log": np.zeros(0)}, "held_log must hold at least one point; got none"),
        ({"new_log": np.array([1.0, np.inf])}, "new_log must be finite; 1 of 2 are not"),
        ({"groups_held": [0] * 20}, "Groups are given for the held points only"),
        ({"groups_held": [0] * 20, "groups_new": [0, 1]}, "groups_new must name a group for each of the 20 points"),
        ({"groups_held": [0, 1] * 10, "groups_new": [0, 1] * 10}, "2 held and 2 new groups are too few"),
        ({"new_log": np.zeros(1), "held_log": np.zeros(9)}, "9 held and 1 new points are too few"),
        ({"permutations": 10}, "10 permutations give no p-value below"),
        ({"confidence": 1.0}, r"confidence must be in \(0, 1\)"),
        ({"resamples": 0}, "resamples must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_bad_input_is_refused(options, message):
    arguments = {"held_log": np.zeros(20), "new_log": np.zeros(20), **options}
    with pytest.raises(ValueError, match=message):
        excess(arguments.pop("held_log"), arguments.pop("new_log"), **arguments)
