"""Figures of learned invariance, of sprites and what a good augmenter draws for them: the numbers given are drawn."""

from __future__ import annotations

import io
import math
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from report_invariance_test import aligned_pictures, learned, rotations

from mollax.invariance.prototypes import angle_percentiles
from mollax.report import invariance_plots as plots


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


def drawn_as_png(figure: Figure) -> np.ndarray:
    """The drawn figure; drawing is where a layout fails."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=20)
    return np.asarray(Image.open(buffer))


def numbers(line: matplotlib.lines.Line2D) -> np.ndarray:
    return np.array(line.get_xydata(), dtype=np.float64)


def examples_figure(kind: str, *, pictures: bool = True, **changed: Any) -> Figure:
    block, shown = learned(kind)
    given = {"parameters": block["parameters"], "bound": block["bound"], **changed}
    return plots.transform_examples(block["examples"], shown if pictures else None, **given)


def test_examples_show_image_copies_and_angles():
    figure = examples_figure("rotation")
    block, shown = learned("rotation")
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == 8 * 7
    for i in (0, 7):
        for axes, image in zip(panels[7 * i : 7 * i + 7], [shown["examples"][i], *shown["drawn"][i]], strict=True):
            pixels = np.asarray(axes.images[0].get_array(), dtype=float) / 255
            np.testing.assert_allclose(pixels, np.clip(image, 0, 1), atol=0.5 / 255 + 1e-6)
    circles = [axes for axes in figure.axes if axes.name == "polar"]
    assert len(circles) == 8
    angles = np.array(block["examples"][2]["angles"])
    expected = [np.mean(np.abs((angles - center + 180) % 360 - 180) < 5) for center in range(0, 360, 10)]
    # The area of a wedge is its share; it is centred on its angle.
    np.testing.assert_allclose([bar.get_height() ** 2 for bar in circles[2].patches], expected, atol=0.011)
    assert sum(bar.get_height() ** 2 for bar in circles[2].patches) == pytest.approx(1.0)
    bar = circles[2].patches[9]
    assert bar.get_x() + bar.get_width() / 2 == pytest.approx(np.pi / 2)
    assert circles[2].get_theta_direction() == 1, "counter-clockwise as images turn"
    assert circles[2].get_theta_offset() == pytest.approx(np.pi / 2), "no rotation at the top"
    assert "3  kettle upright" in texts(figure)
    low, high = block["examples"][2]["angle_range"]
    assert f"entropy −0.65 · {low:.0f}° to {high:.0f}°".replace("-", "−") in texts(figure)
    drawn_as_png(figure)


@pytest.mark.parametrize("kind, d", [("translation", 2), ("crop", 4)])
def test_other_kinds_have_a_histogram_for_each_parameter(kind, d):
    figure = examples_figure(kind)
    block, _ = learned(kind)
    ridges = [axes for axes in figure.axes if axes.patches and not axes.images]
    assert len(ridges) == 8
    params = np.array(block["examples"][0]["params"])
    for i, patch in enumerate(reversed(ridges[0].patches)):
        values, edges, baseline = patch.get_data()
        counts = np.histogram(params[:, i], np.linspace(-1, 1, plots.BINS + 1))[0]
        np.testing.assert_allclose(values - baseline, 0.85 * counts / counts.max(), atol=1e-9)
        np.testing.assert_allclose(edges, np.linspace(-1, 1, plots.BINS + 1))
    names = [name.replace("_", " ") for name in block["parameters"]]
    assert [label.get_text() for label in ridges[0].get_yticklabels()] == names
    assert len(names) == d
    assert not [text for text in texts(figure) if "°" in text]
    drawn_as_png(figure)


@pytest.mark.parametrize("kind", ["rotation", "affine", "crop"])
def test_examples_without_pictures_or_bound_are_histograms_alone(kind):
    figure = examples_figure(kind, pictures=False, bound=None)
    assert not [axes for axes in figure.axes if axes.images]
    assert len(figure.axes) == 2 * 8
    drawn_as_png(figure)


def test_examples_skip_what_is_no_number():
    block, shown = learned("translation")
    one = dict(block["examples"][0], entropy=None)
    one["params"] = [[math.nan, 0.5], [None, 0.1], [0.25, -0.25]]
    pictures = {"examples": shown["examples"][:1], "drawn": shown["drawn"][:1]}
    figure = plots.transform_examples([one], pictures, parameters=("translate_x", "translate_y"), bound=1.0)
    ridges = next(axes for axes in figure.axes if axes.patches and not axes.images)
    assert [int((patch.get_data().values > patch.get_data().baseline).sum()) for patch in ridges.patches] == [1, 1]
    assert "entropy –" in texts(figure)
    turned = dict(one, angles=[None, 10.0, math.nan, 10.0], label="$x_1$ <b> " + 30 * "long ")
    figure = plots.transform_examples([turned], None, parameters=("translate_x", "translate_y"))
    circle = next(axes for axes in figure.axes if axes.name == "polar")
    assert [bar.get_height() for bar in circle.patches][:3] == pytest.approx([0, 1, 0])
    assert any(text.startswith("1  $x_1$") and len(text) <= 25 for text in texts(figure))
    drawn_as_png(figure)
    # Arrays do as well.
    arrays = dict(turned, params=np.zeros((3, 2)), angles=np.array([10.0, 10.0]))
    figure = plots.transform_examples([arrays], None, parameters=("translate_x", "translate_y"))
    assert any(axes.name == "polar" for axes in figure.axes)
    assert texts(plots.transform_examples([], parameters=()))[0].startswith("No transforms")


def test_titles_go_around_the_circle():
    """Draws within 150 to 210 degrees: their range is the evaluator's, not that of -179 to 179."""
    drawn = np.linspace(150, 210, 101)
    angles = (drawn + 180) % 360 - 180
    ends = angle_percentiles(angles[None], near=180.0)[[0, 2], 0]
    example = {"label": "a", "entropy": 0.0, "params": np.zeros((3, 1)), "angles": angles, "angle_range": ends}
    words = texts(plots.transform_examples([example], None, parameters=("rotate",)))
    assert "entropy 0.00 · 151° to 209°" in words
    del example["angle_range"]
    assert "entropy 0.00" in texts(plots.transform_examples([example], None, parameters=("rotate",)))


def test_pictures_must_be_those_of_the_examples():
    block, shown = learned("rotation")
    with pytest.raises(ValueError, match="their images has 8"):
        plots.transform_examples(block["examples"][:3], shown, parameters=["rotate"])


def pairs_figure(kind: str, examples: int = 8, **changed: Any) -> Figure:
    block, _ = learned(kind)
    given = {"parameters": block["parameters"], "kind": kind, "bound": 1.0, **changed}
    return plots.parameter_pairs(block["examples"][:examples], **given)


def clouds(axes: matplotlib.axes.Axes) -> list[matplotlib.lines.Line2D]:
    return [line for line in axes.lines if line.get_marker() == "o"]


def test_pairs_of_two_parameters_have_a_panel_for_each_image():
    figure = pairs_figure("decoupled_rotation")
    block, _ = learned("decoupled_rotation")
    assert len(figure.axes) == 8
    for axes, example in zip(figure.axes, block["examples"], strict=True):
        (dots,) = clouds(axes)
        np.testing.assert_allclose(numbers(dots), example["params"])
        box, diagonal = (line for line in axes.lines if line is not dots)
        assert np.abs(numbers(box)).min() == np.abs(numbers(box)).max() == 1.0
        np.testing.assert_allclose(numbers(diagonal), [[-1, 1], [1, -1]])
    assert figure.axes[3].get_title("left") == "4  kettle upside down"
    assert len(pairs_figure("translation", bound=None).axes[0].lines) == 1
    drawn_as_png(figure)


@pytest.mark.parametrize("kind, panels", [("rotation_translation", 3), ("crop", 6), ("affine", 15), ("decoupled", 15)])
def test_pairs_of_more_parameters_compare_images(kind, panels):
    figure = pairs_figure(kind)
    block, _ = learned(kind)
    assert len(figure.axes) == panels
    shown = min(200, plots.MAX_DOTS // (3 * panels))
    last = figure.axes[-1]
    for dots, example in zip(clouds(last), block["examples"], strict=False):
        np.testing.assert_allclose(numbers(dots), np.array(example["params"])[:shown, -2:])
    assert len(clouds(last)) == plots.COMPARED
    assert len({dots.get_color() for dots in clouds(last)}) == plots.COMPARED
    assert figure.legends[0].get_texts()[0].get_text() == "1 sprout upright"
    diagonals = [axes for axes in figure.axes if len(axes.lines) > plots.COMPARED + 1]
    found = [(axes.get_xlabel(), axes.get_ylabel()) for axes in diagonals]
    assert found == ([("entry 1,2", "entry 2,1")] if kind == "decoupled" else [])
    drawn_as_png(figure)


def test_one_parameter_has_no_pairs():
    assert "two parameters" in texts(pairs_figure("rotation"))[0]
    assert len(pairs_figure("crop", examples=1).axes) == 6


def test_band_follows_the_input():
    block = learned("rotation")[0]["input_rotation"]
    figure = plots.input_rotation_band(block)
    (axes,) = figure.axes
    median, undone = axes.lines
    np.testing.assert_allclose(numbers(median), np.stack([block["angles"], block["median"]], axis=1))
    np.testing.assert_allclose(numbers(undone)[:, 1], -np.array(block["angles"]))
    vertices = axes.collections[0].get_paths()[0].vertices
    for angle, low, high in zip(block["angles"], block["low"], block["high"], strict=True):
        at = vertices[vertices[:, 0] == angle, 1]
        assert {low, high} <= set(at.tolist())
    drawn_as_png(figure)
    assert "−120°" in [label.get_text() for label in axes.get_xticklabels()]
    none = dict.fromkeys(("low", "median", "high"), 13 * [None])
    assert "the drawn angles have no direction" in texts(plots.input_rotation_band({**block, **none}))
    assert "the drawn angles have no direction" not in texts(figure)
    drawn_as_png(plots.input_rotation_band({**block, **none}))
    with pytest.raises(ValueError, match="low has 2"):
        plots.input_rotation_band({**block, "low": [1.0, 2.0]})


@pytest.mark.parametrize("classes", [1, 4, 13, 25])
def test_means_before_and_after_alignment(classes, rng):
    before, after = rng.uniform(size=(2, classes, 8, 8, 1))
    spreads = np.linspace(0.5, 0.3, classes)
    names = [f"$class_{i}$ of many words" for i in range(classes)]
    block = {"names": names, "before": spreads.tolist(), "after": [None, *(spreads[1:] / 2).tolist()]}
    figure = plots.aligned_means(before, after, block)
    shown = min(classes, plots.MAX_ALIGNED)
    assert len(figure.axes) == 2 * shown
    last = np.asarray(figure.axes[-1].images[0].get_array(), dtype=float) / 255
    np.testing.assert_allclose(last, after[shown - 1, ..., 0], atol=0.51 / 255)
    assert figure.axes[0].get_xlabel() == "spread 0.50"
    assert figure.axes[1].get_xlabel() == "spread –"
    drawn_as_png(figure)


def test_means_must_be_as_many_as_classes():
    pictures = aligned_pictures()
    block = learned()[0]["alignment"]
    with pytest.raises(ValueError, match="names has 3"):
        plots.aligned_means(pictures["before"], pictures["after"], {**block, "names": block["names"][:3]})
    nothing = {"names": [], "before": [], "after": []}
    assert "No class" in texts(plots.aligned_means(np.zeros((0, 4, 4, 1)), np.zeros((0, 4, 4, 1)), nothing))[0]


def test_accuracy_has_a_line_for_each_way_to_predict():
    block = rotations()
    block["accuracy"]["averaged"][3] = None
    figure = plots.rotation_accuracy(block["angles"], block["accuracy"])
    (axes,) = figure.axes
    for line, values in zip(axes.lines, block["accuracy"].values(), strict=True):
        expected = [math.nan if value is None else 100 * value for value in values]
        np.testing.assert_allclose(numbers(line), np.stack([block["angles"], expected], axis=1))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["as it is", "averaged", "aligned"]
    assert len({(line.get_color(), line.get_marker()) for line in axes.lines}) == 3
    drawn_as_png(figure)
    assert "No rotation" in texts(plots.rotation_accuracy([], {"as it is": []}))[0]
    with pytest.raises(ValueError, match="averaged has 1"):
        plots.rotation_accuracy([0.0, 90.0], {"as it is": [0.9, 0.5], "averaged": [0.9]})


def test_classes_of_a_long_tail_stand_over_their_size():
    block = rotations()["expected_kl"]
    block["ekld"][2], block["names"][0] = None, "$x_1$"
    figure = plots.expected_kl_dots(block)
    moved, right = figure.axes
    assert moved.get_xscale() == right.get_xscale() == "log"
    expected = [math.nan if value is None else value for value in block["ekld"]]
    np.testing.assert_allclose(numbers(moved.lines[0]), np.stack([block["class_sizes"], expected], axis=1))
    np.testing.assert_allclose(numbers(right.lines[0])[:, 1], 100 * np.array(block["accuracy"]))
    named = {text.get_text(): text.xy for text in moved.texts}
    assert len(named) == 9, "a class without a number has no dot to name"
    assert named["truck"] == (block["class_sizes"][-1], block["ekld"][-1])
    assert "$x_1$" in named
    assert moved.get_ylim()[0] == 0
    assert "±10°" in moved.get_title("left")
    drawn_as_png(figure)


def test_classes_of_one_size_are_listed():
    block = rotations(ratio=1.0)["expected_kl"]
    block["ekld"][4] = math.nan
    figure = plots.expected_kl_dots(block)
    moved, right = figure.axes
    order = sorted(range(10), key=lambda i: (i == 4, block["ekld"][i]))
    np.testing.assert_allclose(numbers(moved.lines[0])[:, 0], np.array(block["ekld"])[order])
    np.testing.assert_allclose(numbers(right.lines[0])[:, 0], 100 * np.array(block["accuracy"])[order])
    assert [label.get_text() for label in moved.get_yticklabels()] == [block["names"][i] for i in order]
    drawn_as_png(figure)


@pytest.mark.parametrize("classes, ratio", [(1, 1.0), (100, 1.0), (100, 100.0)])
def test_few_and_many_classes(classes, ratio):
    block = rotations(classes, ratio)["expected_kl"]
    figure = plots.expected_kl_dots(block)
    if ratio > 1:
        assert len(figure.axes[0].lines[0].get_xdata()) == classes
        assert len(figure.axes[0].texts) == 2, "the steadiest and the least steady"
    else:
        rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert len(rows) == min(classes, plots.MAX_NAMED)
        assert rows[0] == block["names"][int(np.argmin(block["ekld"]))]
        assert rows[-1] == block["names"][int(np.argmax(block["ekld"]))]
    drawn_as_png(figure)


def test_unknown_sizes_and_values_leave_gaps():
    block = {
        "names": ["a", "b"],
        "class_sizes": [0, None],
        "ekld": [None, None],
        "accuracy": [None, 0.5],
        "degrees": None,
    }
    drawn_as_png(plots.expected_kl_dots(block))
    block = {"names": ["a", "b", "c"], "class_sizes": [0, 10, 500], "ekld": 3 * [None], "accuracy": 3 * [math.nan]}
    drawn_as_png(plots.expected_kl_dots(block))
    empty = {"names": [], "class_sizes": [], "ekld": [], "accuracy": []}
    assert "No class" in texts(plots.expected_kl_dots(empty))[0]


def test_angles_and_numbers_have_a_true_minus():
    assert (plots.degrees(-43.4), plots.degrees(0), plots.degrees(None), plots.degrees(math.inf)) == (
        "−43°",
        "0°",
        "–",
        "–",
    )
    assert (plots.signed(-0.693), plots.signed(2, 0)) == ("−0.69", "2")
