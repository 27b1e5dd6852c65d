"""Figures over the training of an augmenter: the numbers given are drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from report_invariance_plots_test import drawn_as_png, numbers, texts
from report_invariance_test import training

from mollax.report import invariance_training as plots


def test_entropy_and_weight_over_training():
    history = training()
    figure = plots.entropy_curves(history, max_entropy=math.log(2))
    entropy, weight = figure.axes
    rows = history[::2]
    np.testing.assert_allclose(numbers(entropy.lines[0]), [[row["step"], row["train/entropy"]] for row in rows])
    np.testing.assert_allclose(numbers(weight.lines[0]), [[row["step"], row["train/weight"]] for row in rows])
    assert set(entropy.lines[1].get_ydata()) == {math.log(2)}
    assert entropy.lines[1].get_label() == "largest possible: 0.69"
    # Rows at 50 and 100 are all warm-up, and 20 of the 50 steps to 150.
    spans = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in weight.patches]
    np.testing.assert_allclose(spans, [(0, 50), (50, 100), (100, 120)])
    drawn_as_png(figure)


def test_entropy_without_bound_weight_or_rows():
    rows = [{"step": step, "train/entropy": None if step == 20 else 0.1} for step in (10, 20, 30)]
    figure = plots.entropy_curves(rows, max_entropy=math.inf)
    (axes,) = figure.axes
    assert len(axes.lines) == 1
    assert np.isnan(numbers(axes.lines[0])[1, 1])
    assert not axes.patches
    drawn_as_png(figure)
    assert "No entropy" in texts(plots.entropy_curves([{"step": 1, "train/entropy": math.nan}]))[0]


def ranges(classes: int) -> list[dict[str, float]]:
    """Rows of class k at 10 k and 10 k + 1 degrees, the second one without class 0."""
    rows = [{"step": step, **{f"validation/range/{k}": 10.0 * k + step for k in range(classes)}} for step in (0, 1)]
    del rows[1]["validation/range/0"]
    return [*rows, {"step": 2, "train/augmenting": 0.5}]


def test_the_range_of_each_class():
    figure = plots.range_curves(ranges(3))
    (axes,) = figure.axes
    np.testing.assert_allclose(numbers(axes.lines[0]), [[0, 0]])
    np.testing.assert_allclose(numbers(axes.lines[2]), [[0, 20], [1, 21]])
    (warm_up,) = axes.patches
    np.testing.assert_allclose([warm_up.get_x(), warm_up.get_width()], [0, 1])
    drawn_as_png(figure)
    assert {"0", "1", "2", "60°", "step"} <= set(texts(figure))


def test_of_many_classes_the_narrowest_and_the_widest_are_drawn():
    figure = plots.range_curves(ranges(30))
    (axes,) = figure.axes
    assert sorted(line.get_ydata()[0] for line in axes.lines) == [*range(0, 100, 10), *range(200, 300, 10)]
    drawn_as_png(figure)


@pytest.mark.parametrize("rows", [[], [{"step": 1, "validation/range/6": None}]])
def test_no_range_says_so(rows):
    assert "No range" in texts(plots.range_curves(rows))[0]
