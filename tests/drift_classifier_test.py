"""The classifier test: scikit-learn's optimum, accuracy against Bayes' rule, size, bad input."""

import numpy as np
import pytest
import scipy.stats
from sklearn.linear_model import LogisticRegression

from mollax.drift.classifier import classifier_test, fit_logistic


@pytest.mark.parametrize("width, ridge", [(3, 1.0), (60, 0.3)])
def test_the_optimum_is_scikit_learns(rng, width, ridge):
    features, is_new = rng.normal(size=(40, width)), rng.random(40) < 0.4
    theirs = LogisticRegression(C=1 / ridge, tol=1e-9, max_iter=5000).fit(features, is_new)
    weights, bias = fit_logistic(features, is_new, ridge)
    np.testing.assert_allclose(weights, theirs.coef_[0], atol=2e-4)
    assert bias == pytest.approx(theirs.intercept_[0], abs=2e-4)


def test_accuracy_is_that_of_bayes(rng):
    """N(0, I) and N(shift, I) in two dimensions of very different units: Phi(shift sqrt(2) / 2) is right."""
    units = np.array([1e3, 1e-3])
    held, new = rng.normal(size=(3000, 2)) * units, (rng.normal(size=(3500, 2)) + 1) * units
    found = classifier_test(held, new)
    expected = scipy.stats.norm.cdf(np.sqrt(2) / 2)
    assert (found.trained, found.tested) == (3000, 3000)
    assert found.accuracy == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 3000))
    assert found.low < found.accuracy < found.high
    assert found.p_value < 1e-50


def test_p_value_is_binomial(rng):
    held, new = rng.normal(size=(41, 4)), 0.3 + rng.normal(size=(60, 4))
    found = classifier_test(held, new)
    assert (found.trained, found.tested) == (40, 42)
    right = round(found.accuracy * 42)
    assert found.p_value == pytest.approx(scipy.stats.binom.sf(right - 1, 42, 0.5), rel=1e-12)
    assert found.low == pytest.approx(scipy.stats.beta.ppf(0.025, right, 43 - right), rel=1e-6)


@pytest.mark.parametrize("toys", [80, pytest.param(1500, marks=pytest.mark.slow)])
def test_size_is_at_most_the_level(rng, toys):
    hits = [classifier_test(*rng.normal(size=(2, 60, 3)), seed=seed).p_value <= 0.05 for seed in range(toys)]
    assert np.mean(hits) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / toys)


def test_dimensions_unseen_while_learning_do_not_count(rng):
    """One huge value in a dimension that is 0 for all points learned from must not decide."""
    held, new = rng.normal(size=(40, 3)), rng.normal(size=(40, 3)) + 5
    for side in (held, new):
        side[:, 2] = 0
    found = classifier_test(held, new)
    assert found.accuracy == 1
    held[3, 2] = 1e30
    assert classifier_test(held, new).accuracy >= 0.9


def test_limit_and_seed(rng):
    held, new = rng.normal(size=(90, 3)), rng.normal(size=(80, 3)) + 0.5
    one, same = (classifier_test(held, new, seed=1, limit=30) for _ in range(2))
    assert one == same
    assert one.trained == one.tested == 30
    assert len({classifier_test(held, new, seed=seed, limit=30).accuracy for seed in range(5)}) > 1


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "options, message",
    [
        ({"new": np.ones((3, 2))}, "new must hold at least 4 points"),
        ({"new": np.ones((9, 3))}, "new has points of 3 values"),
        ({"held": np.full((9, 2), np.nan)}, "held must hold finite numbers"),
        ({"held": np.ones((9, 2))}, "All 18 pooled points are equal"),
        ({"ridge": 0.0}, r"ridge must be in \(0, inf\)"),
        ({"confidence": 1.0}, r"confidence must be in \(0, 1\)"),
        ({"limit": 3}, "limit must be at least 4"),
    ],
)
def test_bad_input_is_refused(options, message):
    arguments = {"held": np.arange(18.0).reshape(9, 2), "new": np.ones((9, 2)), **options}
    with pytest.raises(ValueError, match=message):
        classifier_test(arguments.pop("held"), arguments.pop("new"), **arguments)
