"""Selective classification against all orders of tied examples, closed forms and cases worked by hand."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mollax import metrics

EXAMPLES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=6)


def every_order(scores: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """The risk curve, averaged over all orders that sort the scores."""
    orders = [list(order) for order in itertools.permutations(range(len(scores)))]
    curves = [
        np.cumsum(losses[order]) / np.arange(1, len(scores) + 1)
        for order in orders
        if (np.diff(scores[order]) >= 0).all()
    ]
    return np.mean(curves, axis=0)


@settings(max_examples=40, deadline=None)
@given(EXAMPLES)
def test_ties_are_averaged_over_their_orders(examples: list[tuple[int, int]]) -> None:
    scores, losses = np.array(examples, float).T
    wanted = every_order(scores, losses)
    np.testing.assert_allclose(metrics.risk_curve(scores, losses), wanted, atol=1e-12)
    assert metrics.aurc(scores, losses) == pytest.approx(wanted.mean())
    best = every_order(losses, losses)
    assert metrics.excess_aurc(scores, losses) == pytest.approx(wanted.mean() - best.mean())
    for k in range(1, len(losses) + 1):
        risk = metrics.risk_at_coverage(scores, losses, coverage=k / len(losses))
        assert risk == pytest.approx(wanted[k - 1])


def test_worked_by_hand() -> None:
    scores, losses = np.array([0.1, 0.4, 0.2, 0.3]), np.array([0.0, 1, 1, 0])
    # In order of score: 0 1 0 1.
    np.testing.assert_allclose(metrics.risk_curve(scores, losses), [0, 1 / 2, 1 / 3, 1 / 2])
    assert metrics.aurc(scores, losses) == pytest.approx(1 / 3)
    # Best: 0 0 1 1, risks 0 0 1/3 1/2.
    assert metrics.excess_aurc(scores, losses) == pytest.approx(1 / 3 - 5 / 24)
    assert metrics.risk_at_coverage(scores, losses, coverage=0.5) == 1 / 2
    assert metrics.risk_at_coverage(scores, losses, coverage=0.51) == pytest.approx(1 / 3)
    assert metrics.risk_at_coverage(scores, losses, coverage=1.0) == 1 / 2


def test_best_area_has_its_closed_form() -> None:
    n, error = 100_000, 0.2
    losses = (np.arange(n) < error * n).astype(float)
    # r + (1 - r) log(1 - r) for n -> infinity.
    limit = error + (1 - error) * np.log(1 - error)
    assert metrics.aurc(losses, losses) == pytest.approx(limit, abs=1e-5)
    assert metrics.excess_aurc(losses, losses) == 0


def test_a_blind_score_has_the_overall_risk_everywhere(rng: np.random.Generator) -> None:
    losses = rng.exponential(size=50)
    np.testing.assert_allclose(metrics.risk_curve(np.ones(50), losses), losses.mean())
    assert metrics.aurc(np.ones(50), losses) == pytest.approx(losses.mean())


def test_the_sign_matters(rng: np.random.Generator) -> None:
    losses = (rng.random(500) < 0.3).astype(float)
    scores = losses + rng.normal(size=500)
    assert metrics.aurc(scores, losses) < losses.mean() - 0.05 < losses.mean() + 0.05 < metrics.aurc(-scores, losses)
    assert 0 < metrics.excess_aurc(scores, losses) < metrics.excess_aurc(-scores, losses)


def test_infinite_scores_are_accepted_last() -> None:
    np.testing.assert_allclose(metrics.risk_curve(np.array([np.inf, -np.inf, 0]), np.array([1.0, 0, 0])), [0, 0, 1 / 3])


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "call, message",
    [
        (lambda s: metrics.aurc(s, s[:2]), "scores has 3, losses has 2"),
        (lambda s: metrics.aurc(s[:0], s[:0]), "scores must hold at least one score; got none"),
        (lambda s: metrics.excess_aurc(s, s * np.nan), "losses must not be NaN; 3 of 3"),
        (lambda s: metrics.risk_curve(s, s / np.array([1, 1, 0])), "losses must be finite; got inf at example 2"),
        (lambda s: metrics.risk_curve(s[None], s), "scores must have 1 axes"),
        (lambda s: metrics.risk_at_coverage(s, s, coverage=0.0), r"coverage must be in \(0, 1\]"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_bad_input_is_refused(call: Callable[[np.ndarray], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(np.arange(3.0))
