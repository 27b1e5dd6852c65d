"""The gap from a matrix against loops over points: as it is, relabelled, resampled, with groups."""

import numpy as np
import pytest
import scipy.special

from mollax.drift import gap
from mollax.drift.permutation import relabellings


def looped(matrix: np.ndarray, numbers: np.ndarray, new: np.ndarray, held: np.ndarray) -> float:
    """The gap of one row of counts."""
    total = 0.0
    for j in np.flatnonzero(new):
        mates = numbers == numbers[j]
        own = scipy.special.logsumexp(matrix[j][~mates], b=new[~mates]) - np.log(new[~mates].sum())
        other = scipy.special.logsumexp(matrix[j], b=held) - np.log(held.sum())
        total += new[j] * (own - other)
    return total / new.sum()


def log_kernels(rng: np.random.Generator, count: int, sigma: float) -> np.ndarray:
    """Of points in the plane."""
    points = rng.normal(size=(count, 2))
    return -np.square(points[:, None] - points).sum(axis=2) / (2 * sigma**2)


@pytest.mark.parametrize("sigma", [0.01, 0.3, 5.0])
@pytest.mark.parametrize("grouped", [False, True])
def test_relabelled_gaps(rng, monkeypatch, sigma, grouped):
    monkeypatch.setattr(gap, "_ROWS", 7)
    numbers = np.repeat(np.arange(11), rng.integers(1, 4, 11)) if grouped else np.arange(17)
    sides = (6, 5) if grouped else (8, 9)
    matrix = log_kernels(rng, len(numbers), sigma)
    labels = np.concatenate(list(relabellings(*sides, permutations=30, seed=2)))[:, numbers]
    expected = [looped(matrix, numbers, row.astype(float), 1.0 - row) for row in labels]
    found = gap.relabelled_gaps(matrix, numbers, sides, permutations=30, seed=2)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    monkeypatch.setattr(gap, "_COUNTS", 50)
    np.testing.assert_allclose(gap.relabelled_gaps(matrix, numbers, sides, permutations=30, seed=2), found, rtol=1e-12)


@pytest.mark.parametrize("grouped", [False, True])
def test_gaps_of_counts(rng, grouped):
    numbers = np.repeat(np.arange(9), 2) if grouped else np.arange(18)
    matrix = log_kernels(rng, 18, 0.2)
    counts = rng.integers(0, 3, (20, numbers.max() + 1)).astype(np.float64)
    counts[:, -2:] += 1
    first = np.arange(counts.shape[1]) < 4
    held, new = np.where(first, counts + 1, 0)[:, numbers], np.where(first, 0, counts)[:, numbers]
    expected = [looped(matrix, numbers, a, b) for a, b in zip(new, held, strict=True)]
    np.testing.assert_allclose(gap.gaps(matrix, numbers, new, held), expected, rtol=1e-10, atol=1e-12)


def test_resampled_gaps_spread_as_samples_do(rng):
    """The bootstrap's standard deviation is near that of gaps of independent samples; it errs to the wide side."""

    def draw() -> np.ndarray:
        held, new = rng.normal(size=(29, 3)), 0.5 + rng.normal(size=(30, 3))
        points = np.concatenate([held, new])
        return -np.square(points[:, None] - points).sum(axis=2) / 2

    is_new = (np.arange(59) >= 29).astype(np.float64)[None]
    numbers = np.arange(59)
    values = [gap.gaps(matrix, numbers, is_new, 1 - is_new)[0] for matrix in (draw() for _ in range(400))]
    spreads = [gap.resampled_gaps(draw(), numbers, (29, 30), resamples=80, seed=s).std() for s in range(40)]
    assert 0.95 < np.mean(spreads) / np.std(values) < 1.5


def test_few_groups_are_drawn_again(rng):
    matrix = log_kernels(rng, 12, 0.5)
    found = gap.resampled_gaps(matrix, np.repeat(np.arange(6), 2), (4, 2), resamples=200)
    assert np.isfinite(found).all()


def test_a_lone_relabelled_group_is_handled(rng):
    """A held point whose unit is all there is on its side has no held density, and needs none."""
    matrix = log_kernels(rng, 6, 0.5)
    with np.errstate(all="raise"):
        found = gap.relabelled_gaps(matrix, np.arange(6), (1, 5), permutations=30)
    assert np.isfinite(found).all()


def test_seeds_are_refused(rng):
    matrix = log_kernels(rng, 6, 0.5)
    with pytest.raises(ValueError, match="resamples must be at least 1"):
        gap.resampled_gaps(matrix, np.arange(6), (3, 3), resamples=0)
    with pytest.raises(ValueError, match="permutations must be at least 1"):
        gap.relabelled_gaps(matrix, np.arange(6), (3, 3), permutations=0)
