"""Drift's contribution as an OOD score, against SciPy's density and the nearest neighbor."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import scipy.special
from scipy.spatial.distance import cdist

from mollax.evaluators import SCORES, drift_score

RNG = np.random.default_rng(0)
BANK = RNG.normal(size=(60, 4)).astype(np.float32)
QUERIES = RNG.normal(size=(12, 4)).astype(np.float32) * 2
NOTHING = np.zeros((60, 3), np.float32), np.zeros(60, np.int32), None


def density(queries: np.ndarray, bank: np.ndarray, sigma: float) -> np.ndarray:
    """-log of the mean of Gaussians, in float64 by SciPy."""
    exponents = -cdist(queries.astype(np.float64), bank.astype(np.float64), "sqeuclidean") / (2 * sigma**2)
    norm = bank.shape[1] / 2 * np.log(2 * np.pi * sigma**2) + np.log(len(bank))
    return norm - scipy.special.logsumexp(exponents, axis=1)


def test_it_is_minus_the_log_density_and_high_for_strange_points() -> None:
    state = drift_score.fit(BANK, *NOTHING, sigma=0.5)
    scores = np.asarray(drift_score.score(state, QUERIES, np.zeros((12, 3), np.float32)))
    np.testing.assert_allclose(scores, density(QUERIES, BANK, 0.5), rtol=1e-5)
    far = np.full((1, 4), 9.0, np.float32)
    assert drift_score.score(state, far, np.zeros((1, 3), np.float32))[0] > scores.max()


def test_a_narrow_kernel_ranks_as_the_nearest_neighbor() -> None:
    state = drift_score.fit(BANK, *NOTHING, sigma=0.02)
    scores = np.asarray(drift_score.score(state, QUERIES, np.zeros((12, 3), np.float32)))
    nearest = cdist(QUERIES, BANK).min(axis=1)
    assert (np.argsort(scores) == np.argsort(nearest)).all()


def test_sigma_is_chosen_where_leave_one_out_is_most_likely() -> None:
    state = drift_score.fit(BANK, *NOTHING)

    def left_out(sigma: float) -> float:
        return float(np.mean([density(BANK[i : i + 1], np.delete(BANK, i, axis=0), sigma) for i in range(60)]))

    grid = np.geomspace(0.1, 2, 60)
    assert float(state.sigma) == pytest.approx(grid[np.argmin([left_out(s) for s in grid])], rel=0.06)


def test_it_stands_beside_the_scores_of_ood() -> None:
    assert SCORES["drift"] is drift_score
    assert drift_score.NEEDS == "features"


@pytest.mark.parametrize(
    ("features", "sigma", "message"),
    [
        (BANK, 0.0, "sigma must be in"),
        (np.ones((60, 4), np.float32), None, "identical|equal"),
    ],
)
def test_bad_input(features: np.ndarray, sigma: float | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        drift_score.fit(features, *NOTHING, sigma=sigma)


def test_it_runs_in_a_compiled_program_with_its_state_inside() -> None:
    """As an exported run has it."""
    state = drift_score.fit(BANK, *NOTHING, sigma=0.5)
    logits = np.zeros((12, 3), np.float32)
    compiled = jax.jit(lambda features: drift_score.score(state, features, logits))
    np.testing.assert_allclose(compiled(QUERIES), drift_score.score(state, QUERIES, logits), rtol=1e-5)
