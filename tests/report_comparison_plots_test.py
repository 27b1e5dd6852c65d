"""Figures of several runs show the numbers of their rows."""

from __future__ import annotations

import numpy as np
import pytest
from comparison_results import results

from mollax.report import comparison_plots as plots
from mollax.report import comparison_rows, legend


@pytest.fixture(scope="module")
def rows() -> list:
    groups = {"plain": [results(0.2), results(0.3)], "mollified": [results(0.1), results(0.12)]}
    return comparison_rows({**groups, "without": [results(0.5, corruptions=False)]})


def test_slopes_go_from_clean_to_corrupted(rows):
    figure = plots.clean_corrupted_slopes(rows)
    plain = figure.axes[0].get_lines()[0]
    np.testing.assert_allclose(plain.get_ydata(), [25.0, 100 * (0.25 + 0.037)])
    assert [axes.get_title("left") for axes in figure.axes] == ["Error (%)", "NLL (nats)", "ECE (%)"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["plain", "mollified"]
    whisker = figure.axes[0].collections[0].get_segments()[0]
    np.testing.assert_allclose(np.ptp(whisker[:, 1]), 2 * 100 * np.std([0.2, 0.3], ddof=1))


def test_severity_curves_of_groups(rows):
    figure = plots.severity_comparison(rows)
    grid = np.array(figure.axes, dtype=object).reshape(3, 5)
    assert [axes.get_title("left") for axes in grid[0]] == ["mean of all", "noise", "blur", "weather", "digital"]
    noise = grid[0, 1].get_lines()[1]
    np.testing.assert_allclose(noise.get_ydata(), [11.0, *(100 * (0.111 + s / 100) for s in range(1, 6))])
    band = grid[2, 0].collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(50 * (0.25 + 0.057) + 50 * np.std([0.2, 0.3], ddof=1))
    for axes in grid[1]:
        assert axes.get_ylim()[0] == 0
        assert axes.get_ylim()[1] > 2 * 0.307


def test_severity_polygons_have_three_to_seven_corners(rows):
    figure = plots.severity_polygons(rows)
    (axes,) = figure.axes
    marks = [line for line in axes.get_lines() if len(line.get_xdata()) == 1]
    assert len(marks) == 75
    assert [mark.get_marker()[0] for mark in marks[:5]] == [3, 4, 5, 6, 7]
    first = marks[0]
    assert (first.get_xdata()[0], first.get_ydata()[0]) == pytest.approx((26.0, 12.0))
    assert axes.get_xlim() == axes.get_ylim()
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["noise", "blur", "weather", "digital", *(f"severity {s}" for s in range(1, 6))]
    assert len(plots.severity_polygons([rows[0], *[rows[1]] * 9]).axes) == plots.MAX_PANELS


def test_bars_name_the_best(rows):
    figure = plots.comparison_bars(rows)
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles == ["clean", "mean of 15", "noise", "blur", "weather", "digital"]
    clean, mean = figure.axes[:2]
    assert [bar.get_width() for bar in clean.patches] == pytest.approx([25.0, 11.0, 50.0])
    assert [bar.get_facecolor()[2] for bar in clean.patches][1] != clean.patches[0].get_facecolor()[2]
    assert len(mean.patches) == 2, "the run without the benchmark has no bar"
    assert [text.get_text() for text in mean.texts] == ["28.7", "14.7"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["plain", "mollified", "without"]


def test_bars_of_stresses_where_nothing_was_corrupted(rows):
    figure = plots.comparison_bars(rows[2:])
    assert [axes.get_title("left") for axes in figure.axes] == ["clean", "contrast:0.3"]
    for draw in (plots.clean_corrupted_slopes, plots.severity_comparison, plots.severity_polygons):
        assert "corruption benchmark" in draw(rows[2:]).texts[0].get_text()
    assert "three or more" in plots.corruption_polygons(rows[2:]).texts[0].get_text()


def test_polygons_are_of_the_means(rows):
    figure = plots.corruption_polygons(rows)
    plain = figure.axes[0].get_lines()[0]
    assert plain.get_ydata()[0] == pytest.approx(28.0)
    assert len(figure.axes[0].get_lines()) == 2


def test_legend_bends_to_long_labels():
    assert legend.columns(["a", "b", "c"]) == 3
    long = [f"{'augmentation ' * 5}{i}" for i in range(7)]
    assert 1 <= legend.columns(long) <= 2
    assert legend.height(long) > legend.height(["a", "b", "c"])
    assert len({str(style) for style in legend.styles(24)}) == 24
