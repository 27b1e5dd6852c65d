"""Error, NLL, Brier and confusion against scikit-learn, scipy and cases worked by hand."""

import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from mollax import metrics


def _random_set(rng: np.random.Generator, n: int = 200, k: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a middling classifier and labels."""
    labels = rng.integers(0, k, n)
    return rng.normal(size=(n, k)) * 2 + 2 * np.eye(k)[labels], labels


def test_scores_agree_with_scikit_learn(rng: np.random.Generator) -> None:
    logits, labels = _random_set(rng)
    probs = scipy.special.softmax(logits, axis=1)
    classes = np.arange(7)
    log_probs = metrics.log_softmax64(logits)
    assert metrics.error(probs, labels) == pytest.approx(
        sklearn.metrics.zero_one_loss(labels, probs.argmax(1)), abs=1e-15
    )
    assert metrics.negative_log_likelihood(log_probs, labels) == pytest.approx(
        sklearn.metrics.log_loss(labels, probs, labels=classes), rel=1e-12
    )
    np.testing.assert_array_equal(
        metrics.confusion_matrix(probs, labels),
        sklearn.metrics.confusion_matrix(labels, probs.argmax(1), labels=classes),
    )
    recall = sklearn.metrics.recall_score(labels, probs.argmax(1), labels=classes, average=None)
    np.testing.assert_allclose(metrics.per_class_error(probs, labels), 1 - recall, atol=1e-15)
    for top in (1, 2, 5):
        accuracy = sklearn.metrics.top_k_accuracy_score(labels, probs, k=top, labels=classes)
        assert metrics.top_k_error(probs, labels, top=top) == pytest.approx(1 - accuracy, abs=1e-15)


def test_brier_is_the_sum_over_classes(rng: np.random.Generator) -> None:
    logits, labels = _random_set(rng)
    probs = scipy.special.softmax(logits, axis=1)
    by_hand = np.square(probs - np.eye(7)[labels]).sum(axis=1)
    np.testing.assert_allclose(metrics.example_brier(probs, labels), by_hand, rtol=1e-12, atol=1e-15)
    assert metrics.brier(probs, labels) == pytest.approx(by_hand.mean(), rel=1e-12)
    two = np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    truth = np.array([0, 1, 1])
    one_column = sklearn.metrics.brier_score_loss(truth, two[:, 1])
    assert metrics.brier(two, truth) == pytest.approx(2 * one_column, rel=1e-12)


def test_values_by_hand() -> None:
    probs = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.25, 0.5, 0.25], [1.0, 0.0, 0.0]])
    labels = np.array([0, 1, 0, 0])
    assert metrics.error(probs, labels) == 0.25
    np.testing.assert_array_equal(metrics.example_error(probs, labels), [0, 0, 1, 0])
    nll = -(np.log(0.7) + np.log(0.6) + np.log(0.25)) / 4
    with np.errstate(divide="ignore"):
        log_probs = np.log(probs)
    assert metrics.negative_log_likelihood(log_probs, labels) == pytest.approx(nll, rel=1e-14)
    assert metrics.brier(probs, labels) == pytest.approx((0.14 + 0.26 + 0.875 + 0) / 4, rel=1e-14)
    np.testing.assert_array_equal(metrics.confusion_matrix(probs, labels), [[2, 1, 0], [0, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(metrics.per_class_error(probs, labels), [1 / 3, 0, np.nan], rtol=1e-14)


def test_probability_zero_on_the_label_costs_infinity_and_a_sure_hit_nothing() -> None:
    log_probs = np.array([[0.0, -np.inf], [0.0, -np.inf]])
    values = metrics.example_negative_log_likelihood(log_probs, np.array([0, 1]))
    np.testing.assert_array_equal(values, [0.0, np.inf])
    assert not np.signbit(values[0])
    assert metrics.negative_log_likelihood(log_probs, np.array([0, 1])) == np.inf


def test_ties_go_to_the_first_class() -> None:
    probs = np.full((4, 4), 0.25)
    labels = np.arange(4)
    np.testing.assert_array_equal(metrics.example_error(probs, labels), [0, 1, 1, 1])
    assert [metrics.top_k_error(probs, labels, top=top) for top in (1, 2, 3, 4)] == [0.75, 0.5, 0.25, 0]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 6))
def test_scores_belong_together(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(n, k)).round(1), rng.integers(0, k, n)
    probs = np.exp(metrics.log_softmax64(logits))
    counts = metrics.confusion_matrix(probs, labels)
    assert counts.sum() == n
    assert metrics.error(probs, labels) == pytest.approx(1 - np.trace(counts) / n, abs=1e-12)
    assert metrics.top_k_error(probs, labels, top=1) == metrics.error(probs, labels)
    assert metrics.top_k_error(probs, labels, top=k) == 0
    assert 0 <= metrics.brier(probs, labels) <= 2
    shares = np.bincount(labels, minlength=k) / n
    weighted = np.nansum(metrics.per_class_error(probs, labels) * shares)
    assert weighted == pytest.approx(metrics.error(probs, labels), abs=1e-12)


def test_log_softmax_is_stable_at_every_float32_logit() -> None:
    logits = np.array([[3e38, -3e38, 0.0], [1000.0, 999.0, -1000.0], [-1e-30, 0.0, 1e-30]], np.float32)
    values = metrics.log_softmax64(logits)
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, scipy.special.log_softmax(logits.astype(np.float64), axis=1), rtol=1e-12)
    # A float32 softmax underflows at a gap of 104 and makes the NLL infinite.
    far = np.array([[200.0, 0.0]], np.float32)
    assert metrics.negative_log_likelihood(metrics.log_softmax64(far), np.array([1])) == pytest.approx(200)


def test_half_precision_and_jax_arrays_are_upcast(rng: np.random.Generator) -> None:
    logits, labels = _random_set(rng)
    for dtype, tolerance in ((jnp.float32, 1e-6), (jnp.float16, 3e-3), (jnp.bfloat16, 3e-2)):
        probs = jax.nn.softmax(jnp.asarray(logits, dtype), axis=1)
        exact = np.asarray(probs).astype(np.float64)
        by_hand = np.square(exact - np.eye(7)[labels]).sum(axis=1).mean()
        assert metrics.brier(probs, jnp.asarray(labels, jnp.int32)) == pytest.approx(by_hand, rel=1e-12)
        reference = metrics.brier(scipy.special.softmax(logits, axis=1), labels)
        assert metrics.brier(probs, labels) == pytest.approx(reference, abs=tolerance)
    assert metrics.error(np.eye(3, dtype=np.float16), np.arange(3, dtype=np.uint8)) == 0


def test_extra_class_is_dropped_and_the_rest_renormalised(rng: np.random.Generator) -> None:
    logits = rng.normal(size=(50, 6)) * 3
    with_noise = scipy.special.softmax(logits, axis=1)
    expected = with_noise[:, :5] / with_noise[:, :5].sum(axis=1, keepdims=True)
    log_probs = metrics.drop_extra_class(logits, classes=5)
    np.testing.assert_allclose(np.exp(log_probs), expected, rtol=1e-10)
    np.testing.assert_array_equal(log_probs.argmax(1), logits[:, :5].argmax(1))
    np.testing.assert_array_equal(metrics.drop_extra_class(logits[:, :5], classes=5), log_probs)


_GOOD = np.array([[0.5, 0.5], [0.9, 0.1]])


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "metric",
    [
        metrics.error,
        metrics.brier,
        metrics.per_class_error,
        metrics.confusion_matrix,
        metrics.top_k_error,
        metrics.reliability,
        metrics.expected_calibration_error,
        metrics.adaptive_calibration_error,
        metrics.classwise_calibration_error,
        metrics.calibration_interval,
    ],
)
@pytest.mark.parametrize(
    "probs, labels, message",
    [
        (_GOOD[0], np.array([0]), r"probs must have 2 axes \(examples, classes\); got shape \(2,\)"),
        (np.zeros((0, 3)), np.zeros(0, int), "probs must hold at least one example and one class"),
        (np.zeros((2, 0)), np.zeros(2, int), "probs must hold at least one example and one class"),
        (np.array([[0.5, 0.5], [np.nan, 1]]), np.array([0, 0]), r"probs must be finite; row 1 .*\(1 of 2\)"),
        (
            np.array([[0.5, 0.5], [2.0, -1.0]]),
            np.array([0, 0]),
            r"in \[0, 1\]; row 1 spans \[-1, 2\]",
        ),
        (np.array([[0.5, 0.5], [2.0, 0.0]]), np.array([0, 0]), r"in \[0, 1\]; row 1 spans \[0, 2\]"),
        (np.array([[0.5, 0.5], [0.5, 0.4]]), np.array([0, 0]), "sum to 1 in every row; row 1 sums to 0.9"),
        (_GOOD, np.array([0, 2]), r"labels must be in 0..1 for 2 classes; got 2 at row 1"),
        (_GOOD, np.array([-1, 0]), r"labels must be in 0..1 for 2 classes; got -1 at row 0"),
        (_GOOD, np.array([0]), "probs has 2, labels has 1"),
        (_GOOD, np.eye(2, dtype=int), r"labels must have 1 axes \(examples,\); got shape \(2, 2\)"),
    ],
)
def test_bad_input_is_refused(
    metric: Callable[..., object], probs: np.ndarray, labels: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        metric(probs, labels)


@pytest.mark.usefixtures("unhooked")
def test_other_bad_input_is_refused() -> None:
    labels = np.array([0, 1])
    with pytest.raises(TypeError, match=r"labels must be integers .* got dtype float64"):
        metrics.error(_GOOD, labels.astype(float))
    with pytest.raises(ValueError, match="top must be at most the number of classes, 2; got 3"):
        metrics.top_k_error(_GOOD, labels, top=3)
    with pytest.raises(ValueError, match="top must be at least 1; got 0"):
        metrics.top_k_error(_GOOD, labels, top=0)
    with pytest.raises(ValueError, match="log_probs must be at most 0 and not NaN; row 1 is not"):
        metrics.negative_log_likelihood(np.array([[np.log(0.5)] * 2, [3.0, -2.0]]), labels)
    with pytest.raises(ValueError, match=r"exp\(log_probs\) must sum to 1 in every row; row 0 sums to 0.2"):
        metrics.negative_log_likelihood(np.log([[0.1, 0.1], [0.5, 0.5]]), labels)
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="logits must be finite; row 1"):
            metrics.log_softmax64(np.array([[0.0, 1.0], [0.0, bad]]))
    with pytest.raises(ValueError, match="logits must have 3 columns, 4 with a noise class; got 5"):
        metrics.drop_extra_class(np.zeros((2, 5)), classes=3)
    with pytest.raises(ValueError, match="logits must have 2 axes"):
        metrics.drop_extra_class(np.zeros(5), classes=4)


def test_no_warning_where_a_class_is_absent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(metrics.per_class_error(_GOOD, np.array([0, 0]))[1])
