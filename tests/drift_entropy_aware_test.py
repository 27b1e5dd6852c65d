"""The companion of the excess: brute force, closed forms, size, power, what the excess misses, bad input."""

import numpy as np
import pytest
import scipy.special
import scipy.stats

from mollax.drift.entropy_aware import EntropyAware, entropy_aware
from mollax.drift.kernels import Gaussian

FEW = {"permutations": 99, "resamples": 40}


def brute_force(found: EntropyAware, held: np.ndarray, new: np.ndarray, sigma: float) -> np.ndarray:
    """log p_new,-j(x_j) - log p_held(x_j) from kernel density estimates, one left out by one."""
    held, new = held[found.held_rows], new[found.new_rows]

    def density(point: np.ndarray, bank: np.ndarray) -> float:
        logs = scipy.stats.norm.logpdf(point, bank, sigma).sum(axis=1)
        return scipy.special.logsumexp(logs) - np.log(len(bank))

    return np.array([density(x, np.delete(new, j, axis=0)) - density(x, held) for j, x in enumerate(new)])


@pytest.mark.parametrize("sigma", [0.01, 0.5])
def test_differences_are_those_of_density_estimates(rng, sigma):
    held, new = rng.normal(size=(12, 3)), 0.3 + rng.normal(size=(20, 3))
    found = entropy_aware(held, new, Gaussian(sigma), **FEW)
    assert (len(found.held_rows), len(found.new_rows)) == (12, 13)
    np.testing.assert_allclose(found.differences, brute_force(found, held, new, sigma), rtol=1e-9, atol=1e-9)
    assert found.value == pytest.approx(found.differences.mean(), abs=1e-12)
    assert found.value == pytest.approx(found.own - found.other, abs=1e-9)


def test_wide_kernels_compare_mean_squared_distances(rng):
    """sigma -> infinity: the gap is (mean |new - held|^2 - mean |new - new'|^2) / (2 sigma^2)."""
    held, new, sigma = rng.normal(size=(30, 4)), 0.5 + 1.5 * rng.normal(size=(31, 4)), 1e3
    found = entropy_aware(held, new, Gaussian(sigma), **FEW)
    across = np.square(new[:, None] - held).sum(axis=2).mean()
    within = np.square(new[:, None] - new).sum() / (31 * 30)
    assert found.value == pytest.approx((across - within) / (2 * sigma**2), rel=1e-3)


def test_it_estimates_the_divergence_of_gaussians(rng):
    """N(mu, s^2) against N(0, 1), both widened by the kernel: KL of the widened ones, for one dimension and many
    points.

    E_new log of the widened densities, not of new itself, so the closed form takes x from the unwidened new.
    """
    mean, scale, sigma = 0.8, 0.7, 0.5
    held, new = rng.normal(size=(600, 1)), mean + scale * rng.normal(size=(601, 1))
    found = entropy_aware(held, new, Gaussian(sigma), permutations=19, resamples=20)
    own, other = scale**2 + sigma**2, 1 + sigma**2
    expected = 0.5 * (np.log(other / own) + (scale**2 + mean**2) / other - scale**2 / own)
    assert found.value == pytest.approx(expected, abs=0.1)
    assert found.p_value == 0.05


@pytest.mark.parametrize("case", ["copies", "one class", "contrast"])
def test_what_lowers_the_cross_entropy_raises_the_gap(rng, case):
    held = rng.normal(size=(80, 3)) + np.where(rng.random((80, 1)) < 0.5, 3, -3)
    new = {
        "copies": np.repeat(held[:1], 80, axis=0) + 0.1,
        "one class": rng.normal(size=(80, 3)) + 3,
        "contrast": 0.4 * (rng.normal(size=(80, 3)) + np.where(rng.random((80, 1)) < 0.5, 3, -3)),
    }[case]
    found = entropy_aware(held, new, Gaussian(0.5), **FEW)
    assert found.value > 0.3
    assert found.low > 0
    assert found.p_value == 0.01


def test_points_that_spread_far_lower_the_gap(rng):
    held, new = rng.normal(size=(40, 30)), 2 * rng.normal(size=(40, 30))
    found = entropy_aware(held, new, Gaussian(0.5), **FEW)
    assert found.value < -10
    assert found.high < 0
    assert found.p_value == 0.01


def one_p_value(rng: np.random.Generator, shift: float, count: int, sigma: float, width: int) -> float:
    """Of N(shift, I) against N(0, I)."""
    held, new = rng.normal(size=(count - 1, width)), shift + rng.normal(size=(count, width))
    return entropy_aware(held, new, Gaussian(sigma), permutations=99, resamples=1).p_value


@pytest.mark.slow
@pytest.mark.parametrize("count, sigma, width", [(8, 0.05, 2), (12, 1.0, 3)])
def test_size_is_the_level(rng, count, sigma, width):
    p_values = np.array([one_p_value(rng, 0.0, count, sigma, width) for _ in range(5000)])
    assert 0.04 <= np.mean(p_values <= 0.05 + 1e-9) <= 0.06
    for level in (0.01, 0.1, 0.5):
        assert np.mean(p_values <= level + 1e-9) == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 5000))


@pytest.mark.slow
def test_power_at_a_change_of_spread(rng):
    """Wide kernels make the gap a difference of mean squared distances: its power follows from two normal moments.

    With kernels far wider than the points, N(0, s^2 I) in d dimensions and M points a side, the gap is (T_held - T_new)
    / (2 sigma^2), T the trace of a sample covariance, of variance 2 d s^4 / M; relabelling mixes the two.
    """
    count, width, scale = 60, 10, 1.15
    hits = []
    for _ in range(400):
        held, new = rng.normal(size=(count - 1, width)), scale * rng.normal(size=(count, width))
        hits.append(entropy_aware(held, new, Gaussian(1e3), permutations=199, resamples=1).p_value <= 0.05 + 1e-9)
    variances = 2 * width / count * np.array([1, scale**4])
    # Points of both sides in equal parts: the null distribution has twice their mean variance plus that of the mixture.
    null = np.sqrt(variances.sum() + 4 / count * (width * (scale**2 - 1) / 2) ** 2)
    shift, spread = width * (scale**2 - 1), np.sqrt(variances.sum())
    power = scipy.stats.norm.sf((1.96 * null - shift) / spread)
    assert 0.6 < power < 0.95
    assert np.mean(hits) == pytest.approx(power, abs=0.07)


@pytest.mark.slow
def test_intervals_cover(rng):
    """The gap that samples of this size have on average, with the kernel that makes the samples' noise shared."""

    def draw(seed: int, **options: int) -> EntropyAware:
        generator = np.random.default_rng(seed)
        held, new = generator.normal(size=(39, 8)), 0.5 + generator.normal(size=(40, 8))
        return entropy_aware(held, new, Gaussian(3.0), permutations=19, **options)

    truth = np.mean([draw(seed, resamples=1).value for seed in range(1000)])
    found = [draw(10_000 + seed, resamples=150) for seed in range(200)]
    assert np.mean([one.low <= truth <= one.high for one in found]) > 0.9
    # The spread of the differences alone promises far too much.
    spread = [1.96 * one.differences.std() / np.sqrt(40) for one in found]
    assert np.mean([abs(one.value - truth) < width for one, width in zip(found, spread, strict=True)]) < 0.8


def test_no_drift_is_no_evidence(rng):
    """Thirty toys through the whole function: a shift of the null would show."""
    p_values = [one_p_value(rng, 0.0, 15, 0.3, 2) for _ in range(30)]
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 1e-3


def test_sizes_are_equal_and_chosen_by_the_seed(rng):
    held, new = rng.normal(size=(50, 2)), rng.normal(size=(300, 2))
    for limit, sizes in ((2000, (50, 51)), (20, (19, 20))):
        one, same, other = (entropy_aware(held, new, Gaussian(0.5), seed=s, limit=limit, **FEW) for s in (1, 1, 2))
        assert (len(one.held_rows), len(one.new_rows)) == sizes
        np.testing.assert_array_equal(one.new_rows, same.new_rows)
        assert one[:4] == same[:4]
        assert not np.array_equal(one.new_rows, other.new_rows)


def grouped(rng: np.random.Generator, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of groups of 1 to 5 that lie close together, and the groups' names."""
    numbers = np.repeat(np.arange(groups), rng.integers(1, 6, groups))
    return rng.normal(size=(groups, 2))[numbers] + 0.2 * rng.normal(size=(len(numbers), 2)), numbers


def test_a_group_is_left_out_as_a_whole(rng):
    (held, first), (new, second) = grouped(rng, 9), grouped(rng, 8)
    found = entropy_aware(held, new, Gaussian(0.3), groups_held=first, groups_new=second, **FEW)
    assert abs(len(found.held_rows) - len(found.new_rows)) <= 5

    def density(point: np.ndarray, bank: np.ndarray) -> float:
        logs = scipy.stats.norm.logpdf(point, bank, 0.3).sum(axis=1)
        return scipy.special.logsumexp(logs) - np.log(len(bank))

    rows = found.new_rows
    expected = [
        density(new[j], new[rows][second[rows] != second[j]]) - density(new[j], held[found.held_rows]) for j in rows
    ]
    np.testing.assert_allclose(found.differences, expected, rtol=1e-9, atol=1e-9)


def test_groups_keep_the_size(rng):
    p_values, loose = [], []
    for _ in range(40):
        (held, first), (new, second) = grouped(rng, 12), grouped(rng, 12)
        options = {"permutations": 39, "resamples": 1}
        p_values.append(
            entropy_aware(held, new, Gaussian(0.3), groups_held=first, groups_new=second, **options).p_value
        )
        loose.append(entropy_aware(held, new, Gaussian(0.3), **options).p_value)
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 1e-3
    assert np.mean(np.array(loose) <= 0.05 + 1e-9) > 0.5


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"held": np.zeros((0, 2))}, ValueError, "held must hold at least one point"),
        ({"new": np.zeros((1, 2))}, ValueError, "new must hold at least 2 points; got 1"),
        ({"new": np.zeros((9, 3))}, ValueError, "new has points of 3 values, the other points have 2"),
        ({"new": np.full((9, 2), np.nan)}, ValueError, "new must hold finite numbers; row 0 does not"),
        ({"new": np.zeros((9, 2), np.uint8)}, TypeError, "new must hold floating-point numbers; got uint8"),
        ({"limit": 1}, ValueError, "limit must be at least 2"),
        ({"limit": 3}, ValueError, "2 held and 3 new points are too few"),
        ({"permutations": 5}, ValueError, "5 permutations give no p-value below"),
        ({"groups_new": np.zeros(9)}, ValueError, "Groups are given for the new points only"),
        ({"groups_held": np.arange(30), "groups_new": np.zeros(9), "level": 0.1}, ValueError, "at least two groups"),
        (
            {"groups_held": np.zeros(30), "groups_new": np.arange(9), "limit": 5},
            ValueError,
            "No group is small enough for limit=5",
        ),
    ],
)
def test_bad_input_is_refused(options, error, message):
    points = np.random.default_rng(0).normal(size=(39, 2))
    arguments = {"held": points[:30], "new": points[30:], **options}
    with pytest.raises(error, match=message):
        entropy_aware(arguments.pop("held"), arguments.pop("new"), Gaussian(1.0), **arguments)
