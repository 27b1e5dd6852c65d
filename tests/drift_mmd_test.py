"""MMD: loops over pairs, the bandwidth, scipy's permutation test, size, power against a closed form, bad input."""

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats

from mollax.drift.mmd import discrepancies, mmd, squared_distances


def looped(first: np.ndarray, second: np.ndarray, bandwidth: float) -> float:
    """Unbiased MMD^2, pair by pair."""

    def mean(left: np.ndarray, right: np.ndarray, same: bool) -> float:
        pairs = [(x, y) for i, x in enumerate(left) for j, y in enumerate(right) if not (same and i == j)]
        return float(np.mean([np.exp(-np.square(x - y).sum() / (2 * bandwidth**2)) for x, y in pairs]))

    return mean(first, first, True) + mean(second, second, True) - 2 * mean(first, second, False)


def test_value_and_bandwidth(rng):
    held, new = rng.normal(size=(9, 3)), 0.5 + rng.normal(size=(13, 3))
    pairs = scipy.spatial.distance.pdist(np.concatenate([held, new]))
    found = mmd(held, new, permutations=19)
    assert found.bandwidth == pytest.approx(np.median(pairs), rel=1e-12)
    assert found.value == pytest.approx(looped(held, new, np.median(pairs)), abs=1e-12)
    assert mmd(held, new, bandwidth=0.7, permutations=19).value == pytest.approx(looped(held, new, 0.7), abs=1e-12)
    assert (found.held_count, found.new_count) == (9, 13)


def test_distances_of_points_far_from_zero(rng):
    points = 1e4 + rng.normal(size=(20, 6))
    expected = scipy.spatial.distance.cdist(points, points, "sqeuclidean")
    np.testing.assert_allclose(squared_distances(points), expected, atol=1e-9)


def test_permutation_test_is_scipys(rng):
    held, new = rng.normal(size=(20, 2)), 0.4 + rng.normal(size=(17, 2))
    pooled = np.concatenate([held, new])

    def statistic(first: np.ndarray, second: np.ndarray) -> float:
        x, y = (pooled[side.astype(int)] for side in (first, second))
        kernel = [np.exp(-scipy.spatial.distance.cdist(a, b, "sqeuclidean") / 2) for a, b in ((x, x), (y, y), (x, y))]
        same = [(part.sum() - len(part)) / (len(part) * (len(part) - 1)) for part in kernel[:2]]
        return sum(same) - 2 * kernel[2].mean()

    theirs = scipy.stats.permutation_test(
        (np.arange(20.0), np.arange(20.0, 37)),
        statistic,
        n_resamples=1500,
        alternative="greater",
        vectorized=False,
        rng=rng,
    )
    ours = mmd(held, new, bandwidth=1.0, permutations=4000)
    assert ours.value == pytest.approx(theirs.statistic, abs=1e-12)
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=4 * np.sqrt(theirs.pvalue * (1 / 1500 + 1 / 4000)))


@pytest.mark.slow
def test_size_is_the_level(rng):
    p_values = np.array(
        [mmd(*np.split(rng.exponential(size=(25, 2)), [10]), permutations=99).p_value for _ in range(5000)]
    )
    assert 0.04 <= np.mean(p_values <= 0.05 + 1e-9) <= 0.06


@pytest.mark.parametrize("toys", [60, pytest.param(600, marks=pytest.mark.slow)])
def test_wide_kernels_have_the_power_of_the_t_test(rng, toys):
    """In one dimension a kernel far wider than the points makes MMD^2 the squared difference of means."""
    shift, count = 0.8, 20
    noncentral, end = shift * np.sqrt(count / 2), scipy.stats.t.ppf(0.975, 2 * count - 2)
    expected = scipy.stats.nct.sf(end, 2 * count - 2, noncentral)
    hits = [
        mmd(rng.normal(size=(count, 1)), shift + rng.normal(size=(count, 1)), bandwidth=30.0, permutations=199).p_value
        <= 0.05 + 1e-9
        for _ in range(toys)
    ]
    assert np.mean(hits) == pytest.approx(expected, abs=0.02 + 3 * np.sqrt(expected * (1 - expected) / toys))


def test_copies_are_seen(rng):
    found = mmd(rng.normal(size=(12, 3)), np.repeat(rng.normal(size=(1, 3)), 40, axis=0), permutations=99)
    assert found.p_value == 0.01
    assert found.bandwidth > 0.5


def test_limit_and_seed(rng):
    held, new = rng.normal(size=(40, 2)), rng.normal(size=(30, 2))
    one, same, other = (mmd(held, new, limit=25, permutations=19, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one.value != other.value
    assert (one.held_count, one.new_count) == (25, 25)


def test_labels_of_any_sizes(rng):
    points = rng.normal(size=(9, 2))
    kernel = np.exp(-squared_distances(points) / 2)
    np.fill_diagonal(kernel, 0)
    labels = np.arange(9)[None] >= np.array([[2], [5], [7]])
    expected = [looped(points[~row], points[row], 1.0) for row in labels]
    np.testing.assert_allclose(discrepancies(kernel, labels), expected, atol=1e-12)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "options, message",
    [
        ({"new": np.ones((1, 2))}, "new must hold at least 2 points"),
        ({"new": np.ones((9, 3))}, "new has points of 3 values"),
        ({"held": np.full((9, 2), np.inf)}, "held must hold finite numbers"),
        ({"held": np.ones((9, 2))}, "All 18 pooled points are equal"),
        ({"bandwidth": 0.0}, r"bandwidth must be in \(0, inf\)"),
        ({"limit": 1}, "limit must be at least 2"),
        ({"permutations": 5}, "5 permutations give no p-value"),
    ],
)
def test_bad_input_is_refused(options, message):
    arguments = {"held": np.arange(18.0).reshape(9, 2), "new": np.ones((9, 2)), **options}
    with pytest.raises(ValueError, match=message):
        mmd(arguments.pop("held"), arguments.pop("new"), **arguments)
