"""Averages over corruptions, relative errors, and the evaluator around a fixed predictor."""

import numpy as np
import pytest

from mollax import corrupt, metrics
from mollax.data import Dataset, Split
from mollax.evaluators.corruption import CorruptionEvaluator, aggregate, expand
from mollax.evaluators.predictor import Predictor
from mollax.evaluators.relative import Baseline


def row(value):
    return {"error": value, "nll": 2 * value, "ece": value / 2}


def test_words_stand_for_groups_of_names():
    assert expand(("test",)) == corrupt.NAMES
    assert expand(("fog", "extra", "fog")) == ("fog", *corrupt.EXTRA_NAMES)
    with pytest.raises(ValueError, match=r"eval\.corruptions must be one of .*Did you mean 'frost'"):
        expand(("forst",))


def test_means_are_of_cells_and_never_mix_the_two_sets():
    cells = {
        "fog": [row(0.1 * s) for s in range(1, 6)],
        "snow": [row(0.5)] * 5,
        "contrast": [row(0.2)] * 5,
        "saturate": [row(0.9)] * 5,
    }
    found = aggregate(cells)
    assert found["corruptions"]["fog"] == pytest.approx(row(0.3))
    assert found["groups"]["weather"] == {
        "names": ["snow", "fog"],
        **{k: pytest.approx(v) for k, v in row(0.4).items()},
    }
    assert set(found["groups"]) == {"weather", "digital"}
    assert found["mean"] == pytest.approx(row(1 / 3))
    assert found["extra_mean"] == pytest.approx(row(0.9))
    assert found["severities"][0] == pytest.approx(row((0.1 + 0.5 + 0.2) / 3))
    assert "extra_mean" not in aggregate({"fog": cells["fog"]})
    assert "mean" not in aggregate({"saturate": cells["saturate"]})


class FirstPixel(Predictor):
    """Logits from the first pixel: right as long as it still tells the label."""

    def __init__(self):
        pass

    def logits(self, variables, split, *, stress="clean", progress=None):
        guess = np.asarray(split.images)[:, 0, 0, 0].astype(int)
        return np.where(np.arange(4) == guess[:, None], 5.0, 0.0).astype(np.float32)


class Shift:
    """A corruption of severity s that spoils the first s images."""

    def __init__(self):
        self.seen = []

    def split(self, split, name, severity):
        self.seen.append((name, severity, len(split)))
        images = np.array(split.images)
        images[:severity] = (images[:severity] + 1) % 4
        return Split(images, split.labels)

    def prepare(self, split, name, severity):
        assert (name, severity, len(split)) not in self.seen

    def describe(self, split):
        return {"source": f"{len(split)} shifted"}


def dataset(count):
    labels = (np.arange(count) % 4).astype(np.int32)
    images = np.zeros((count, 8, 8, 1), np.uint8) + labels[:, None, None, None].astype(np.uint8)
    split = Split(images, labels)
    return Dataset("four", split, split, split, ("a", "b", "c", "d"))


def test_every_cell_is_scored_and_the_untouched_images_too():
    corrupter, seen = Shift(), []
    evaluator = CorruptionEvaluator(FirstPixel(), corrupter, dataset(20), names=("fog", "saturate"))
    found = evaluator.run({}, progress=lambda *what: seen.append(what))
    assert found["images"] == 20
    assert found["source"] == "20 shifted"
    assert found["clean"]["error"] == 0
    np.testing.assert_allclose([cell["error"] for cell in found["cells"]["fog"]], [s / 20 for s in range(1, 6)])
    expected = metrics.summarize(np.eye(4, dtype=np.float32) * 5, np.arange(4), classes=4, resamples=0)
    assert found["clean"]["nll"] == pytest.approx(expected["nll"])
    assert corrupter.seen == [(name, s, 20) for name in ("fog", "saturate") for s in range(1, 6)]
    assert seen[0] == ("fog 1", 1, 10)
    assert seen[-1] == ("saturate 5", 10, 10)


def test_errors_are_divided_by_the_baselines():
    baseline = Baseline("before", {"fog": 0.3, "saturate": 0.1})
    options = {"names": ("fog", "saturate"), "baseline": baseline}
    found = CorruptionEvaluator(FirstPixel(), Shift(), dataset(20), **options).run({})
    # 3 of 20 are spoilt on average; the mean is of test corruptions alone.
    assert found["relative"] == {
        "baseline": "before",
        **{k: pytest.approx(v) for k, v in (("fog", 0.5), ("saturate", 1.5), ("mean", 0.5))},
    }


def test_a_part_of_the_test_set_is_spread_over_it():
    corrupter = Shift()
    found = CorruptionEvaluator(FirstPixel(), corrupter, dataset(20), names=("fog",), images=5).run({})
    assert found["images"] == 5
    assert corrupter.seen[0] == ("fog", 1, 5)
    with pytest.raises(ValueError, match=r"eval\.corrupted_images must be at least 0; got -1"):
        CorruptionEvaluator(FirstPixel(), corrupter, dataset(20), names=("fog",), images=-1)
