"""Calibration errors on cases worked by hand, on sets of known calibration, and against independent loops."""

from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from mollax import metrics


def _top(confidence: list[float], right: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities over 3 classes, class 0 on top with these confidences, and labels right or wrong."""
    top = np.asarray(confidence, np.float64)
    probs = np.stack([top, (1 - top) / 2, (1 - top) / 2], axis=1)
    return probs, np.where(np.asarray(right) == 1, 0, 1)


def _two(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities over 2 classes with class 0 on top, confidences above 1/2."""
    return np.stack([confidence, 1 - confidence], axis=1), 1 - right.astype(int)


def test_ece_by_hand() -> None:
    probs, labels = _top([0.45, 0.55, 0.9, 0.95, 0.85], [0, 1, 1, 1, 0])
    # Five bins: {.45, .55} in (.4, .6], {.9, .95, .85} in (.8, 1].
    expected = 2 / 5 * abs(1 / 2 - 0.5) + 3 / 5 * abs(2 / 3 - 0.9)
    assert metrics.expected_calibration_error(probs, labels, bins=5) == pytest.approx(expected, abs=1e-15)
    assert metrics.expected_calibration_error(probs, labels, bins=1) == pytest.approx(abs(0.6 - 0.74))


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    # .6 and .61 would cancel within one bin; with (lo, hi] they are apart.
    probs, labels = _top([0.6, 0.61], [1, 0])
    expected = (0.4 + 0.61) / 2
    assert metrics.expected_calibration_error(probs, labels, bins=5) == pytest.approx(expected, abs=1e-15)
    np.testing.assert_array_equal(metrics.reliability(probs, labels, bins=5).count, [0, 0, 1, 1, 0])
    # Right-open bins would put .6 beside .61, and .59 apart.
    np.testing.assert_array_equal(metrics.reliability(*_top([0.59, 0.6], [1, 0]), bins=5).count, [0, 0, 2, 0, 0])


@pytest.mark.parametrize("bins", [3, 7, 10, 15, 49, 100])
def test_every_edge_itself_lies_in_the_bin_it_closes(bins: int) -> None:
    edges = np.array([b / bins for b in range(1, bins + 1) if b / bins >= 0.5])
    counts = metrics.reliability(*_two(edges, np.ones(len(edges))), bins=bins).count
    np.testing.assert_array_equal(np.flatnonzero(counts), np.round(edges * bins).astype(int) - 1)
    assert counts.max() == 1


def test_confidence_exactly_one_counts_in_the_last_bin() -> None:
    probs, labels = np.eye(3), np.array([0, 1, 0])
    assert metrics.expected_calibration_error(probs, labels) == pytest.approx(1 / 3, abs=1e-15)
    assert metrics.adaptive_calibration_error(probs, labels) == pytest.approx(1 / 3, abs=1e-15)
    diagram = metrics.reliability(probs, labels)
    assert diagram.count[-1] == 3
    assert diagram.count.sum() == 3
    # Rounding in half precision may go beyond 1; a probability of 0 counts in the first bin of its class.
    above = np.array([[1.001, 0.0], [0.0, 1.001]], np.float16)
    assert metrics.reliability(above, np.array([0, 1])).count[-1] == 2
    assert metrics.classwise_calibration_error(np.eye(3), np.arange(3)) == 0
    assert metrics.classwise_calibration_error(np.eye(2), np.array([1, 0])) == 1


def test_float32_keeps_its_own_value() -> None:
    # float32(.6) is 0.60000002, above the edge; float32(.7) is 0.69999999, below it.
    for confidence, place, place32 in ((0.6, 5, 6), (0.7, 6, 6)):
        probs = np.array([[confidence, 1 - confidence]])
        assert metrics.reliability(probs, np.array([0]), bins=10).count.argmax() == place
        diagram = metrics.reliability(probs.astype(np.float32), np.array([0]), bins=10)
        assert diagram.count.argmax() == place32


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(2, 5), st.integers(1, 20))
def test_ece_and_reliability_agree_with_a_plain_loop(seed: int, n: int, k: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    probs, labels = rng.dirichlet(np.full(k, 0.5), n), rng.integers(0, k, n)
    confidence, right = probs.max(1), probs.argmax(1) == labels
    diagram = metrics.reliability(probs, labels, bins=bins)
    total = 0.0
    for b in range(bins):
        inside = [i for i in range(n) if b / bins < confidence[i] <= (b + 1) / bins]
        assert diagram.count[b] == len(inside)
        if inside:
            assert diagram.confidence[b] == pytest.approx(confidence[inside].mean())
            assert diagram.accuracy[b] == pytest.approx(right[inside].mean())
            total += len(inside) / n * abs(right[inside].mean() - confidence[inside].mean())
        else:
            assert np.isnan(diagram.confidence[b])
            assert np.isnan(diagram.accuracy[b])
    assert metrics.expected_calibration_error(probs, labels, bins=bins) == pytest.approx(total, abs=1e-12)
    gaps = metrics.signed_gaps(probs, labels, bins=bins)
    assert gaps.shape == (n, bins)
    np.testing.assert_allclose(gaps.sum(1), right - confidence, atol=1e-15)


def test_classwise_error_agrees_with_a_plain_loop(rng: np.random.Generator) -> None:
    probs, labels = rng.dirichlet(np.ones(4), 60), rng.integers(0, 4, 60)
    total = 0.0
    for j in range(4):
        for b in range(8):
            inside = (probs[:, j] > b / 8) & (probs[:, j] <= (b + 1) / 8)
            if inside.any():
                total += inside.mean() * abs((labels[inside] == j).mean() - probs[inside, j].mean())
    assert metrics.classwise_calibration_error(probs, labels, bins=8) == pytest.approx(total / 4, abs=1e-12)


def test_adaptive_error_by_hand() -> None:
    # Sorted: .5 .6 | .7 .8 .9, cut after floor(5 / 2) = 2.
    probs, labels = _two(np.array([0.9, 0.5, 0.7, 0.6, 0.8]), np.array([1, 0, 1, 1, 0]))
    expected = (abs(1 - 1.1) + abs(2 - 2.4)) / 5
    assert metrics.adaptive_calibration_error(probs, labels, bins=2) == pytest.approx(expected, abs=1e-15)
    # As many bins as examples: mean |right - confidence|; more bins than examples change nothing.
    each = np.mean([0.1, 0.5, 0.3, 0.4, 0.8])
    for bins in (5, 6, 100):
        assert metrics.adaptive_calibration_error(probs, labels, bins=bins) == pytest.approx(each)
    # Ties: the cut after 2 of .6 .7 .7 .9 moves behind the second .7.
    probs, labels = _two(np.array([0.6, 0.7, 0.7, 0.9]), np.array([1, 1, 0, 0]))
    expected = (abs(2 - 2.0) + 0.9) / 4
    assert metrics.adaptive_calibration_error(probs, labels, bins=2) == pytest.approx(expected, abs=1e-15)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 20))
def test_adaptive_error_ignores_order_and_follows_its_definition(seed: int, n: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    confidence = rng.integers(51, 70, n) / 100
    right = rng.integers(0, 2, n)
    value = metrics.adaptive_calibration_error(*_two(confidence, right), bins=bins)
    order = rng.permutation(n)
    shuffled = metrics.adaptive_calibration_error(*_two(confidence[order], right[order]), bins=bins)
    assert value == pytest.approx(shuffled, abs=1e-12)
    ranked = sorted(zip(confidence, right, strict=True))
    groups: dict[int, list[float]] = {}
    for c, r in ranked:
        # A whole run of equal confidences goes with the cuts that lie at or before its first element.
        first = sum(other < c for other in confidence)
        bin_of = sum(0 < j * n // bins <= first for j in range(1, bins))
        groups.setdefault(bin_of, []).append(r - c)
    assert value == pytest.approx(sum(abs(sum(gaps)) for gaps in groups.values()) / n, abs=1e-12)


def test_calibrated_predictions_have_an_error_that_vanishes_with_n(rng: np.random.Generator) -> None:
    for n in (1_000, 100_000):
        logits = rng.normal(size=(n, 5)) * 2
        probs = scipy.special.softmax(logits, axis=1)
        labels = (probs.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
        limit = 0.4 * np.sqrt(15 / n) * 1.5
        assert 0 < metrics.expected_calibration_error(probs, labels) < limit
        assert 0 < metrics.adaptive_calibration_error(probs, labels) < limit
        assert 0 < metrics.classwise_calibration_error(probs, labels) < limit


def test_known_overconfidence_is_measured(rng: np.random.Generator) -> None:
    confidence = rng.uniform(0.7, 1, 200_000)
    right = rng.random(200_000) < confidence - 0.2
    for metric in (metrics.expected_calibration_error, metrics.adaptive_calibration_error):
        assert metric(*_two(confidence, right)) == pytest.approx(0.2, abs=0.005)


def _sampled(rng: np.random.Generator, temperature: float, n: int = 4_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose labels follow softmax(logits / temperature)."""
    logits = rng.normal(size=(n, 6)) * 2 * temperature
    probs = scipy.special.softmax(logits / temperature, axis=1)
    return logits, (probs.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)


@pytest.mark.parametrize("truth", [0.3, 1.0, 2.5, 12.0])
def test_temperature_is_recovered_and_is_the_optimum(rng: np.random.Generator, truth: float) -> None:
    logits, labels = _sampled(rng, truth)
    fit = metrics.fit_temperature(logits, labels)
    assert fit.outcome == "interior"
    assert fit.temperature == pytest.approx(truth, rel=0.05)

    def nll(log_temperature: float) -> float:
        log_probs = scipy.special.log_softmax(logits / np.exp(log_temperature), axis=1)
        return -log_probs[np.arange(len(labels)), labels].mean()

    reference = scipy.optimize.minimize_scalar(nll, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
    assert fit.temperature == pytest.approx(np.exp(reference.x), rel=1e-6)
    assert fit.nll == pytest.approx(reference.fun, abs=1e-12)
    half = metrics.fit_temperature(logits.astype(np.float32), labels.astype(np.int32))
    assert half.temperature == pytest.approx(fit.temperature, rel=1e-6)


def test_scaling_lowers_ece_and_shifts_change_nothing(rng: np.random.Generator) -> None:
    logits, labels = _sampled(rng, 3.0)
    fit = metrics.fit_temperature(logits, labels)
    before = metrics.expected_calibration_error(np.exp(metrics.log_softmax64(logits)), labels)
    after = metrics.expected_calibration_error(np.exp(metrics.log_softmax64(logits / fit.temperature)), labels)
    assert after < 0.05 < before
    shifted = metrics.fit_temperature(logits + rng.normal(size=(len(labels), 1)) * 100, labels)
    assert shifted.temperature == pytest.approx(fit.temperature, rel=1e-8)


@pytest.mark.parametrize("scale", [0.01, 1.0, 1e6, 1e30])
def test_unbounded_optima_end_at_a_named_bound(scale: float) -> None:
    logits = scale * np.array([[2.0, 0.0, -1.0], [0.0, 3.0, 1.0]])
    perfect = metrics.fit_temperature(logits, np.array([0, 1]))
    assert (perfect.temperature, perfect.outcome) == (0.05, "lower bound")
    worst = metrics.fit_temperature(logits, np.array([2, 0]), bounds=(0.5, 4.0))
    assert (worst.temperature, worst.outcome) == (4.0, "upper bound")
    assert np.isfinite(worst.nll)
    one = metrics.fit_temperature(logits[:1], np.array([0]), bounds=(0.5, 4.0))
    assert one.temperature == 0.5
    assert one.nll == pytest.approx(-scipy.special.log_softmax(logits[0] / 0.5)[0], abs=1e-12)


def test_equal_logits_leave_the_temperature_at_one() -> None:
    fit = metrics.fit_temperature(np.full((3, 4), 7.3), np.array([0, 1, 3]))
    assert fit.temperature == 1
    assert fit.outcome == "flat"
    assert fit.nll == pytest.approx(np.log(4))


@pytest.mark.usefixtures("unhooked")
def test_bad_options_are_refused() -> None:
    probs, labels = np.array([[0.5, 0.5], [0.9, 0.1]]), np.array([0, 1])
    fraction: Any = 2.5
    for metric in (
        metrics.expected_calibration_error,
        metrics.adaptive_calibration_error,
        metrics.classwise_calibration_error,
        metrics.reliability,
        metrics.signed_gaps,
    ):
        with pytest.raises(ValueError, match="bins must be at least 1; got 0"):
            metric(probs, labels, bins=0)
        with pytest.raises(TypeError, match=r"bins must be an integer, got 2\.5"):
            metric(probs, labels, bins=fraction)
    with pytest.raises(ValueError, match="logits must be finite; row 0"):
        metrics.fit_temperature(np.array([[np.nan, 0.0]]), np.array([0]))
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.1"):
        metrics.fit_temperature(probs, np.array([0, 5]))
    with pytest.raises(ValueError, match="logits has 2, labels has 1"):
        metrics.fit_temperature(probs, np.array([0]))
    for bounds, message in (
        ((0.0, 2.0), r"bounds\[0\] must be in \(0, 1\)"),
        ((0.1, 1.0), r"bounds\[1\] must"),
    ):
        with pytest.raises(ValueError, match=message):
            metrics.fit_temperature(probs, labels, bounds=bounds)
