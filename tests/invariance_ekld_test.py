"""Expected KL against SciPy's relative entropy and cases by hand, and means per class against scikit-learn."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from mollax.invariance.ekld import expected_kl, per_class, per_class_accuracy


def log_rows(rng: np.random.Generator, *shape: int, scale: float = 2.0) -> np.ndarray:
    """Log-probabilities over the last axis."""
    return scipy.special.log_softmax(scale * rng.normal(size=shape), axis=-1)


def test_is_the_mean_of_scipys_entropies(rng):
    log_p, log_q = log_rows(rng, 6, 5), log_rows(rng, 6, 8, 5)
    found = expected_kl(log_p, log_q)
    expected = [
        np.mean([scipy.stats.entropy(np.exp(p), np.exp(q)) for q in rows]) for p, rows in zip(log_p, log_q, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    in_float32 = expected_kl(jnp.asarray(log_p, jnp.float32), jnp.asarray(log_q, jnp.float32))
    np.testing.assert_allclose(in_float32, expected, rtol=1e-5)
    assert in_float32.dtype == np.float64


def test_two_classes_by_hand():
    log_p = np.log([[0.75, 0.25]])
    log_q = np.log([[[0.5, 0.5], [0.25, 0.75]]])
    to_half = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    np.testing.assert_allclose(expected_kl(log_p, log_q), [(to_half + 0.5 * np.log(3)) / 2])
    # The other direction is another number.
    assert expected_kl(np.log([[0.5, 0.5]]), log_p[:, None])[0] != pytest.approx(to_half, rel=0.05)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 6), st.floats(0.1, 20))
def test_is_never_negative_and_zero_for_the_same(seed, classes, scale):
    rng = np.random.default_rng(seed)
    log_p, log_q = log_rows(rng, 3, classes, scale=scale), log_rows(rng, 3, 4, classes, scale=scale)
    found = expected_kl(log_p, log_q)
    assert (found > 0).all()
    same = np.broadcast_to(log_p[:, None], (3, 4, classes)).astype(np.float32)
    np.testing.assert_allclose(expected_kl(same[:, 0], same), 0, atol=1e-14)
    # The order of classes and of transforms makes no difference.
    order = rng.permutation(classes)
    np.testing.assert_allclose(expected_kl(log_p[:, order], log_q[:, ::-1, order]), found, rtol=1e-9)


def test_zeros_and_tiny_probabilities():
    sure, half = np.array([[0.0, -np.inf]]), np.log([[0.5, 0.5]])
    np.testing.assert_allclose(expected_kl(sure, half[None]), np.log(2))
    np.testing.assert_allclose(expected_kl(sure, sure[None]), 0)
    assert expected_kl(half, sure[None])[0] == np.inf
    # e^-900 is 0 in float64, its logarithm is not.
    np.testing.assert_allclose(expected_kl(half, np.array([[[0.0, -900.0]]])), 450 - np.log(2))


def test_per_class_means_and_accuracy(rng):
    log_probs, labels = log_rows(rng, 200, 4), rng.integers(0, 4, 200)
    found = per_class_accuracy(log_probs, labels)
    recall = sklearn.metrics.recall_score(labels, log_probs.argmax(axis=1), average=None)
    np.testing.assert_allclose(found.means, recall)
    np.testing.assert_array_equal(found.counts, np.bincount(labels))
    on_device = per_class_accuracy(jnp.asarray(log_probs, jnp.float32), jnp.asarray(labels))
    np.testing.assert_allclose(on_device.means, recall)
    values = rng.normal(size=200)
    by_class = per_class(values, labels, classes=5)
    np.testing.assert_allclose(by_class.means[:4], [values[labels == c].mean() for c in range(4)])
    assert np.isnan(by_class.means[4])
    assert by_class.counts.tolist() == [*np.bincount(labels), 0]
    # Weighted by the counts the means are the mean.
    assert by_class.means[:4] @ by_class.counts[:4] / 200 == pytest.approx(values.mean())


def test_an_infinite_value_is_its_classes(rng):
    found = per_class(np.array([np.inf, 1.0, 2.0]), np.array([0, 0, 1]), classes=2)
    assert found.means.tolist() == [np.inf, 2.0]


def test_bad_arguments_are_named(unhooked, rng):
    log_p, log_q = log_rows(rng, 3, 4), log_rows(rng, 3, 2, 4)
    with pytest.raises(ValueError, match=r"\(n, m, k\) for \(n, k\); got \(3, 2, 4\) for \(2, 4\)"):
        expected_kl(log_p[:2], log_q)
    with pytest.raises(ValueError, match=r"transformed_log_probs must have 3 axes \(images, transforms, classes\)"):
        expected_kl(log_p, log_q[:, 0])
    with pytest.raises(ValueError, match="must be logarithms of rows that sum to 1; one sums to 4"):
        expected_kl(log_p, 0 * log_q)
    with pytest.raises(ValueError, match="log_probs must hold no NaN"):
        expected_kl(log_p * np.nan, log_q)
    with pytest.raises(ValueError, match="at least one row"):
        expected_kl(log_p, log_q[:, :0])
    with pytest.raises(ValueError, match=r"labels must be in 0..3 for 4 classes; got 4 at row 1"):
        per_class_accuracy(log_p, np.array([0, 4, 1]))
    with pytest.raises(TypeError, match="labels must be integers"):
        per_class(np.zeros(2), np.zeros(2), classes=2)
    with pytest.raises(ValueError, match="values has 2, labels has 3"):
        per_class(np.zeros(2), np.zeros(3, np.int32), classes=2)
    with pytest.raises(ValueError, match="at least one example"):
        per_class(np.zeros(0), np.zeros(0, np.int32), classes=2)
