"""The summary: every entry is the metric of that name, and all of it survives strict JSON."""

import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from mollax import metrics


@pytest.fixture
def logits(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(300, 5)) * 3


@pytest.fixture
def labels(rng: np.random.Generator, logits: np.ndarray) -> np.ndarray:
    return (scipy.special.softmax(logits / 2, axis=1).cumsum(1) > rng.random((300, 1))).argmax(1)


def _round_trip(summary: dict[str, Any]) -> dict[str, Any]:
    """Through JSON as the standard has it: NaN, infinity and NumPy types raise."""
    return json.loads(json.dumps(summary, allow_nan=False))


def test_every_entry_is_the_metric_of_its_name(logits: np.ndarray, labels: np.ndarray) -> None:
    summary = metrics.summarize(logits, labels, bins=10, temperature=2.0, resamples=300, seed=4)
    assert _round_trip(summary) == summary
    probs = scipy.special.softmax(logits, axis=1)
    scaled = scipy.special.softmax(logits / 2, axis=1)
    assert summary["n"] == 300
    assert summary["error"] == metrics.error(probs, labels)
    for block, p in ((summary, probs), (summary["scaled"], scaled)):
        assert block["nll"] == pytest.approx(-np.log(p[np.arange(300), labels]).mean())
        assert block["brier"] == pytest.approx(metrics.brier(p, labels))
        assert block["ece"] == pytest.approx(metrics.expected_calibration_error(p, labels, bins=10))
        assert block["adaptive_ece"] == pytest.approx(metrics.adaptive_calibration_error(p, labels, bins=10))
    assert summary["scaled"]["temperature"] == 2
    assert summary["scaled"]["nll"] < summary["nll"]
    assert summary["per_class_error"] == pytest.approx(metrics.per_class_error(probs, labels).tolist())
    diagram = metrics.reliability(probs, labels, bins=10)
    np.testing.assert_allclose(summary["reliability"]["edges"], diagram.edges)
    assert summary["reliability"]["count"] == diagram.count.tolist()
    for name in ("confidence", "accuracy"):
        values = [np.nan if v is None else v for v in summary["reliability"][name]]
        np.testing.assert_allclose(values, getattr(diagram, name))


def test_intervals_are_those_of_the_bootstrap(logits: np.ndarray, labels: np.ndarray) -> None:
    interval = metrics.summarize(logits, labels, resamples=300, seed=4)["interval"]
    log_probs = metrics.log_softmax64(logits)
    probs = np.exp(log_probs)
    options: dict[str, Any] = {"resamples": 300, "seed": 4}
    for name, values in (
        ("error", metrics.example_error(probs, labels)),
        ("nll", metrics.example_negative_log_likelihood(log_probs, labels)),
        ("brier", metrics.example_brier(probs, labels)),
    ):
        assert interval[name] == pytest.approx(list(metrics.bootstrap_interval(values, **options)))
        assert interval[name][0] < values.mean() < interval[name][1]
    assert interval["ece"] == pytest.approx(list(metrics.calibration_interval(probs, labels, **options)))


def test_the_interval_of_a_calibration_error_is_cut_at_zero() -> None:
    # Confidence 3/4 and three of four right: the error is 0, every replica above, the interval below.
    logits = np.tile([[np.log(3), 0.0]], (20, 1))
    summary = metrics.summarize(logits, np.tile([0, 0, 0, 1], 5))
    assert summary["ece"] == pytest.approx(0, abs=1e-15)
    assert summary["interval"]["ece"] == pytest.approx([0, 0], abs=1e-15)


def test_without_resamples_there_are_no_intervals(logits: np.ndarray, labels: np.ndarray) -> None:
    summary = metrics.summarize(logits, labels, resamples=0)
    assert summary["interval"] == {"error": None, "nll": None, "brier": None, "ece": None}


def test_undefined_becomes_none() -> None:
    summary = _round_trip(metrics.summarize(np.array([[4.0, 0.0, 0.0]]), np.array([0]), bins=4))
    assert summary["per_class_error"] == [0, None, None]
    assert summary["reliability"]["accuracy"] == [None, None, None, 1]
    assert summary["reliability"]["count"] == [0, 0, 0, 1]
    assert summary["interval"]["error"] == [0, 0]


def test_extreme_logits_stay_finite() -> None:
    logits = np.array([[3e38, 0.0], [-3e38, 0.0], [0.0, 0.0]], np.float32)
    summary = _round_trip(metrics.summarize(logits, np.array([0, 0, 1]), temperature=0.05))
    assert summary["nll"] == pytest.approx(1e38, rel=1e-5)
    assert summary["error"] == pytest.approx(2 / 3)


def test_extra_class_is_left_out(logits: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> None:
    noise = rng.normal(size=(300, 1)) * 10
    with_extra = np.concatenate([logits, noise], axis=1)
    plain = metrics.summarize(logits, labels, resamples=50)
    assert metrics.summarize(with_extra, labels, classes=5, resamples=50) == plain
    assert metrics.summarize(logits, labels, classes=5, resamples=50) == plain
    assert metrics.summarize(with_extra, labels, resamples=0)["error"] > plain["error"]


def test_jax_and_half_precision_logits(logits: np.ndarray, labels: np.ndarray) -> None:
    reference = metrics.summarize(logits, labels, resamples=0)
    for dtype, tolerance in ((jnp.float32, 1e-6), (jnp.float16, 1e-2), (jnp.bfloat16, 5e-2)):
        summary = metrics.summarize(jnp.asarray(logits, dtype), jnp.asarray(labels, jnp.int32), resamples=0)
        assert _round_trip(summary)["nll"] == pytest.approx(reference["nll"], abs=tolerance)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "logits, labels, options, message",
    [
        (np.zeros((2, 3)), np.array([0, 3]), {}, "labels must be in 0..2 for 3 classes; got 3 at row 1"),
        (np.zeros((2, 3)), np.array([0, 2]), {"classes": 2}, "labels must be in 0..1 for 2 classes; got 2"),
        (np.zeros((2, 3)), np.array([0]), {}, "logits has 2, labels has 1"),
        (np.zeros(3), np.array([0]), {}, "logits must have 2 axes"),
        (np.zeros((0, 3)), np.zeros(0, int), {}, "logits must hold at least one example"),
        (np.full((1, 2), np.nan), np.array([0]), {}, "logits must be finite; row 0"),
        (
            np.zeros((1, 2)),
            np.array([0]),
            {"classes": 4},
            "logits must have 4 columns, 5 with a",
        ),
        (np.zeros((1, 2)), np.array([0]), {"bins": 0}, "bins must be at least 1; got 0"),
        (
            np.zeros((1, 2)),
            np.array([0]),
            {"temperature": 0.0},
            r"temperature must be in \(0, inf\)",
        ),
        (np.zeros((1, 2)), np.array([0]), {"resamples": -1}, "resamples must be at least 0; got -1"),
    ],
)
def test_bad_input_is_refused(logits: np.ndarray, labels: np.ndarray, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.summarize(logits, labels, **options)
