"""Evaluation with a fake predictor of known logits, so that every number is known by hand."""

import numpy as np
import optax
import pytest

from mollax.data import Dataset, Split
from mollax.evaluators import ClassificationEvaluator, Predictor
from mollax.state import create_state

STATE = create_state({"params": {}}, optax.identity())


class Known(Predictor):
    """Right with confidence .9 on all but the first `wrong` images; under stress on none."""

    def __init__(self, wrong):
        self.wrong = wrong

    def logits(self, variables, split, *, stress="clean", progress=None):
        if progress:
            progress(len(split))
        answer = split.labels.copy()
        count = len(split) if stress != "clean" else self.wrong
        answer[:count] = 1 - answer[:count]
        logits = np.zeros((len(split), 2), np.float32)
        logits[np.arange(len(split)), answer] = np.log(9.0)
        return logits


def evaluator(wrong):
    split = Split(np.arange(20, dtype=np.uint8).reshape(20, 1, 1, 1), np.tile(np.array([0, 1], np.int32), 10))
    data = Dataset("toy", split, split, split, ("cat", "dog"))
    return ClassificationEvaluator(Known(wrong), data, stresses=("contrast:0.3",), resamples=20)


def test_numbers_on_clean_and_stressed_images():
    calls = []
    found = evaluator(4).run(STATE, progress=lambda *call: calls.append(call))
    clean, stressed = found["evaluations"]["clean"], found["evaluations"]["contrast:0.3"]
    assert clean["error"] == pytest.approx(0.2)
    assert clean["ece"] == pytest.approx(0.1, abs=1e-6)
    assert clean["nll"] == pytest.approx(-(0.8 * np.log(0.9) + 0.2 * np.log(0.1)))
    assert stressed["error"] == 1.0
    assert found["descriptions"].keys() == found["evaluations"].keys()
    assert [call[0] for call in calls] == ["validation", "clean", "contrast:0.3"]
    # The best T makes confidence equal accuracy: logit log(9) / T = log(4).
    assert found["temperature"] == pytest.approx(np.log(9) / np.log(4), rel=1e-4)
    assert clean["scaled"]["ece"] == pytest.approx(0.0, abs=1e-3)


def test_a_perfect_validation_split_does_not_sharpen_the_classifier():
    found = evaluator(0).run(STATE)
    assert found["temperature_fit"] == "lower bound"
    assert found["temperature"] == 1.0
    assert found["evaluations"]["clean"]["scaled"]["ece"] == found["evaluations"]["clean"]["ece"]


def test_validation_metrics():
    assert evaluator(4).validate(STATE)["error"] == pytest.approx(0.2)


def test_most_confident_mistakes_are_named():
    made = evaluator(3)
    mistakes = made.mistakes(Known(3).logits({}, made._dataset.test), count=2)
    assert mistakes["predicted"] == ["dog", "cat"]
    assert mistakes["actual"] == ["cat", "dog"]
    np.testing.assert_allclose(mistakes["confidence"], 0.9, rtol=1e-5)
    assert mistakes["images"].shape == (2, 1, 1, 1)


def test_no_mistakes_give_empty_arrays():
    made = evaluator(0)
    assert made.mistakes(Known(0).logits({}, made._dataset.test))["images"].shape == (0, 1, 1, 1)
