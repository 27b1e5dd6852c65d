"""Figures of the report: what is drawn, from complete and from degenerate data."""

from __future__ import annotations

import io
import math
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from mollax.report import mistake_grid, mollified_grid, reliability_diagram, stress_bars, training_curves
from mollax.report.plots import MAX_MISTAKES, MAX_POINTS, MAX_SAMPLES, MAX_SIDE, PANELS

RELIABILITY = {
    "edges": [0.0, 0.25, 0.5, 0.75, 1.0],
    "confidence": [None, 0.4, 0.7, 0.9],
    "accuracy": [None, 0.5, 0.6, 0.9],
    "count": [0, 10, 30, 60],
}  # ECE = 0.1 * 0.1 + 0.3 * 0.1 + 0.6 * 0 = 0.04


def samples(n: int, *, channels: int = 1, side: int = 8) -> dict[str, Any]:
    rng = np.random.default_rng(n)
    return {
        "images": rng.uniform(size=(n, side, side, channels)),
        "original": rng.uniform(size=(n, side, side, channels)),
        "t": np.linspace(0, 1, n),
        "role": [("blur", "noise", "none")[i % 3] for i in range(n)],
        "weight": np.linspace(1, 0.1, n),
        "label": [f"class {i}" for i in range(n)],
    }


def mistakes(n: int, *, channels: int = 3, side: int = 8) -> dict[str, Any]:
    rng = np.random.default_rng(n)
    return {
        "images": rng.uniform(size=(n, side, side, channels)),
        "predicted": [f"wrong {i}" for i in range(n)],
        "actual": [f"right {i}" for i in range(n)],
        "confidence": np.linspace(0.3, 0.9, n),
    }


def texts(figure: Figure) -> str:
    """All words on a figure, also those of its subfigures."""
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def all_axes(figure: Figure) -> list[Any]:
    return list(figure.axes)


def png(figure: Figure) -> np.ndarray:
    """The drawn figure; drawing is where a layout fails."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    return np.asarray(Image.open(buffer))


def history(rows: int) -> list[dict[str, Any]]:
    keys = [curve.key for _, curves in PANELS for curve in curves]
    return [{"step": step, **{key: 0.5 + 0.1 * math.sin(step) for key in keys}} for step in range(rows)]


def test_training_curves_have_a_panel_each_and_convert_to_percent() -> None:
    rows: list[dict[str, Any]] = [
        {"step": 1, "train/loss": 2.0, "train/accuracy": 0.4},
        {"step": 2, "train/loss": 1.5, "train/accuracy": 0.75},
        {"step": 2, "validation/error": 0.3},
    ]
    figure = training_curves(rows)
    assert [axes.get_title(loc="left") for axes in all_axes(figure)] == ["Loss (nats)", "Error (%)"]
    train, validation = all_axes(figure)[1].lines
    np.testing.assert_allclose(train.get_ydata(), [60.0, 25.0])
    np.testing.assert_allclose(validation.get_ydata(), [30.0])
    assert len(all_axes(training_curves(history(5)))) == len(PANELS)


def test_one_point_is_visible_and_gaps_stay_gaps() -> None:
    figure = training_curves([{"step": 3, "train/loss": 1.0}])
    assert all_axes(figure)[0].lines[0].get_marker() == "o"
    png(figure)
    values = [1.0, None, math.nan, math.inf, 2.0]
    line = all_axes(training_curves([{"step": i, "train/loss": v} for i, v in enumerate(values)]))[0].lines[0]
    np.testing.assert_array_equal(line.get_ydata(), [1.0, np.nan, np.nan, np.nan, 2.0])


def test_long_histories_are_averaged_in_blocks() -> None:
    rows = [{"step": i, "train/loss": float(i % 2)} for i in range(10 * MAX_POINTS)]
    axes = all_axes(training_curves(rows))[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), np.full(MAX_POINTS, 0.5))
    assert len(axes.collections) == 1
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (0.0, 1.0)


@pytest.mark.parametrize("rows", [[], [{"step": 1}], [{"step": 1, "train/loss": None}]])
def test_empty_history_says_so(rows: list[dict[str, Any]]) -> None:
    assert "No training history" in texts(training_curves(rows))


def test_reliability_has_two_axes_a_panel_and_the_ece_of_its_bins() -> None:
    figure = reliability_diagram({"clean": RELIABILITY, "noise": RELIABILITY})
    axes = all_axes(figure)
    assert len(axes) == 4
    assert texts(figure).count("ECE 4.00 %") == 2
    heights = sorted(bar.get_height() for bar in axes[0].patches)
    np.testing.assert_allclose(heights, [0.5, 0.6, 0.9])
    np.testing.assert_allclose([bar.get_height() for bar in axes[1].patches], [0, 10, 30, 60])
    png(figure)


def test_reliability_bins_of_few_images_are_pale() -> None:
    thin = {**RELIABILITY, "count": [0, 9, 30, 60]}
    alphas = {bar.get_height(): bar.get_alpha() for bar in all_axes(reliability_diagram({"a": thin}))[0].patches}
    assert alphas[0.5] < alphas[0.6] == alphas[0.9]


def test_reliability_without_images_shows_a_dash() -> None:
    empty = {"edges": [0, 0.5, 1], "confidence": [None, None], "accuracy": [None, None], "count": [0, 0]}
    figure = reliability_diagram({"clean": empty})
    assert "ECE – %" in texts(figure)
    png(figure)
    assert "No reliability" in texts(reliability_diagram({}))


def test_reliability_refuses_lists_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="one edge more than bins; got 4 edges, 4 bins"):
        reliability_diagram({"clean": {**RELIABILITY, "edges": [0, 0.5, 0.75, 1]}})
    with pytest.raises(ValueError, match="count has 3"):
        reliability_diagram({"clean": {**RELIABILITY, "count": [1, 2, 3]}})


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 9])
def test_mollified_grid_pairs_images(n: int, channels: int) -> None:
    figure = mollified_grid(samples(n, channels=channels))
    assert len(all_axes(figure)) == 2 * n
    words = texts(figure)
    for i in range(n):
        assert f"class {i}" in words
    assert "blur, t = 0.00\nlabel 100 %" in words
    png(figure)


def test_mollified_grid_orders_by_role_and_keeps_pairs_together() -> None:
    given = samples(9)
    figure = mollified_grid(given)
    labels = [axes.get_xlabel() for axes in all_axes(figure)[1::2]]
    assert [label.split(",")[0] for label in labels] == ["none"] * 3 + ["noise"] * 3 + ["blur"] * 3
    first = 2  # the first image of role "none", t = 0.25
    for axes, images in zip(figure.axes[:2], (given["original"], given["images"]), strict=True):
        shown = axes.images[0].get_array()
        np.testing.assert_array_equal(shown, np.rint(255 * images[first, :, :, 0]))
        assert axes.images[0].get_cmap().name == "gray"


def test_label_bar_is_as_long_as_the_weight() -> None:
    figure = mollified_grid({**samples(1), "weight": [0.37]})
    _, kept = all_axes(figure)[1].lines
    np.testing.assert_allclose(kept.get_xdata(), [0, 0.37])
    assert all_axes(figure)[1].get_ylim() == (7.5, -0.5), "the bar must not stretch the image's axes"


def test_mollified_grid_is_bounded_and_takes_gaps_and_noise() -> None:
    assert len(all_axes(mollified_grid(samples(40)))) == 2 * MAX_SAMPLES
    assert "No mollified images" in texts(mollified_grid(samples(0)))
    odd = {**samples(2), "weight": [None, math.nan], "t": [None, math.nan]}
    odd["images"] = np.array([np.full((8, 8, 1), -3.0), np.full((8, 8, 1), math.nan)])
    figure = mollified_grid(odd)
    assert texts(figure).count("label – %") == 2
    assert all_axes(figure)[1].images[0].get_array().max() == 0
    png(figure)


def test_large_images_are_reduced_by_averaging() -> None:
    side = 2 * MAX_SIDE
    checkers = np.indices((side, side)).sum(axis=0)[None, :, :, None] % 2
    given = {**mistakes(1), "images": np.repeat(checkers, 3, axis=-1).astype(np.float32)}
    shown = np.asarray(all_axes(mistake_grid(given))[0].images[0].get_array())
    assert shown.shape == (MAX_SIDE, MAX_SIDE, 3)
    assert set(np.unique(shown)) <= {127, 128}


def test_mistakes_come_most_confident_first() -> None:
    given = {**mistakes(3), "confidence": [0.5, None, 0.91]}
    figure = mistake_grid(given)
    assert [axes.get_title() for axes in all_axes(figure)] == ["is right 2", "is right 0", "is right 1"]
    assert [axes.get_xlabel() for axes in all_axes(figure)] == [
        "said wrong 2\n91 % sure",
        "said wrong 0\n50 % sure",
        "said wrong 1\n– % sure",
    ]
    assert len(all_axes(mistake_grid(mistakes(MAX_MISTAKES + 5)))) == MAX_MISTAKES
    assert "No mistakes" in texts(mistake_grid(mistakes(0)))
    assert "No mistakes" in texts(mistake_grid({**mistakes(0), "images": []}))


def test_names_with_markup_and_great_length_are_drawn_as_they_are() -> None:
    names = ["$x_1$ & <b>", "hog, pig, grunter, squealer, Sus scrofa", "x" * 80]
    figure = mistake_grid({**mistakes(3), "actual": names, "confidence": [0.9, 0.8, 0.7]})
    assert [axes.get_title() for axes in all_axes(figure)] == [
        "is $x_1$ & <b>",
        "is hog",
        "is " + "x" * 13 + "…",
    ]
    png(figure)


def test_grids_refuse_data_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="weight has 3"):
        mollified_grid({**samples(2), "weight": [1, 1, 1]})
    with pytest.raises(ValueError, match="images must have 4 axes"):
        mollified_grid({**samples(2), "images": np.zeros((2, 8, 8))})
    with pytest.raises(ValueError, match="predicted has 1"):
        mistake_grid({**mistakes(2), "predicted": ["a"]})


def test_stress_bars_show_value_interval_and_ring() -> None:
    evaluations: dict[str, Any] = {
        "clean": {
            "error": 0.028,
            "nll": 0.12,
            "ece": 0.02,
            "interval": {"error": [0.011, 0.044]},
            "scaled": {"error": 0.02, "nll": 0.1, "ece": 0.013},
        },
        "$odd$": {"error": None, "nll": math.nan, "ece": math.inf, "interval": None, "scaled": None},
    }
    figure = stress_bars(evaluations)
    error, nll, ece = all_axes(figure)
    assert [bar.get_width() for bar in error.patches] == [pytest.approx(2.8)]
    np.testing.assert_allclose(error.collections[0].get_segments()[0][:, 0], [1.1, 4.4])
    assert not error.lines, "scaling does not change the error"
    assert nll.lines[0].get_xdata()[0] == pytest.approx(0.1)
    assert ece.lines[0].get_xdata()[0] == pytest.approx(1.3)
    assert texts(figure).count("not available") == 3
    assert [label.get_text() for label in error.get_yticklabels()] == ["clean", "$odd$"]
    assert error.get_xlim()[1] > 4.4
    png(figure)


def test_stress_bars_of_nothing_and_of_many() -> None:
    assert "No evaluation" in texts(stress_bars({}))
    many: dict[str, Any] = {f"test {i}": {"error": i / 80, "nll": 1.0, "ece": 0.0} for i in range(40)}
    figure = stress_bars(many)
    assert len(figure.axes[0].patches) == 40
    png(figure)


def test_nothing_touches_pyplot_or_the_global_style() -> None:
    before = dict(matplotlib.rcParams)
    png(training_curves(history(3)))
    png(reliability_diagram({"clean": RELIABILITY}))
    assert dict(matplotlib.rcParams) == before
