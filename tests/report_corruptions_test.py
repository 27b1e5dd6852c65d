"""Corruption results as figures, table and sentence, from a block made by hand."""

import numpy as np
import pytest

from mollax import corrupt
from mollax.evaluators.corruption import aggregate
from mollax.report.corruptions import (
    COLUMNS,
    corruption_columns,
    corruption_polygon,
    corruption_rows,
    corruption_table,
    severity_curves,
)
from mollax.report.table import benchmark_names, corruption_words, headline


def block(names=corrupt.NAMES, slope=0.1):
    cells = {
        name: [{"error": slope * s + i / 1000, "nll": s + i / 100, "ece": 0.01 * s} for s in range(1, 6)]
        for i, name in enumerate(names)
    }
    clean = {"error": 0.05, "nll": 0.4, "ece": 0.02}
    return {"images": 100, "source": "generated here", "clean": clean, "cells": cells, **aggregate(cells)}


def test_curves_start_untouched_and_show_mean_and_groups():
    figure = severity_curves(block())
    errors = figure.axes[0].get_lines()
    assert [line.get_label() for line in errors] == ["noise", "blur", "weather", "digital", "mean of all"]
    for line in errors:
        assert line.get_ydata()[0] == pytest.approx(5.0)
        assert list(line.get_xdata()) == [0, 1, 2, 3, 4, 5]
    # The mean over 15 corruptions of slope s + i / 1000.
    np.testing.assert_allclose(errors[-1].get_ydata()[1:], [100 * (0.1 * s + 0.007) for s in range(1, 6)])
    np.testing.assert_allclose(errors[0].get_ydata()[1:], [100 * (0.1 * s + 0.001) for s in range(1, 6)])
    np.testing.assert_allclose(figure.axes[1].get_lines()[-1].get_ydata()[1], 1.07)


def test_polygons_lay_runs_over_each_other():
    figure = corruption_polygon({"plain": block(slope=0.12), "mollified": block()})
    assert len(figure.axes) == 3
    plain, untouched, mollified, _ = figure.axes[0].get_lines()
    assert (plain.get_label(), mollified.get_label()) == ("plain", "mollified")
    np.testing.assert_allclose(untouched.get_ydata(), 5.0)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["plain", "mollified"]
    assert len(plain.get_ydata()) == 16  # closed
    assert plain.get_ydata()[0] == plain.get_ydata()[-1] == pytest.approx(36.0)
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()][-1] == "JPEG\ncompression"


def test_polygons_of_different_corruptions_are_refused():
    with pytest.raises(ValueError, match="same three or more test corruptions"):
        corruption_polygon({"a": block(), "b": block(corrupt.NAMES[:5])})
    with pytest.raises(ValueError, match="same three or more test corruptions"):
        corruption_polygon({"a": block(corrupt.NAMES[:2])})


def test_rows_go_from_the_widest_mean_to_the_cells():
    rows = corruption_rows(block((*corrupt.NAMES, "saturate")))
    assert [row[0] for row in rows[:7]] == [
        "untouched",
        "mean (15)",
        "noise (3)",
        "Gaussian noise",
        "Shot noise",
        "Impulse noise",
        "blur (4)",
    ]
    assert rows[3][1:] == ("30.0", "3.000", "3.0", "10.0", "20.0", "30.0", "40.0", "50.0")
    assert rows[2][1:] == ("30.1", "3.010", "3.0", "10.1", "20.1", "30.1", "40.1", "50.1")
    assert [row[0] for row in rows[-2:]] == ["held out (1)", "Saturate"]
    assert rows[-1][4:] == rows[-2][4:] == ("11.5", "21.5", "31.5", "41.5", "51.5")
    assert all(len(row) == len(COLUMNS) for row in rows)
    assert rows[1][1] == "30.7"  # the held-out one is not in the mean
    assert rows[0][4:] == ("",) * 5
    html = corruption_table(block())
    assert html.count("<tr>") == 1 + 6 + 15
    assert html.count("<b>") == 6
    assert "style='--e:0.50'>50.0</td>" in html


def test_ten_runs_have_ten_looks():
    runs = {f"run {i}": block(slope=0.1 + i / 1000) for i in range(10)}
    axes = corruption_polygon(runs).axes[0]
    looks = {(line.get_color(), str(line.get_linestyle())) for line in axes.get_lines() if "run" in line.get_label()}
    assert len(looks) == 10


def test_the_headline_names_the_mean_and_the_worst_test_corruption():
    evaluation = {"n": 100, "error": 0.05, "ece": 0.02}
    results = {"evaluations": {"clean": evaluation}, "corruptions": block((*corrupt.NAMES, "saturate"))}
    expected = (
        "Over 15 corruptions at 5 severities the error is 30.7 % on average and the ECE 3.0 %; the worst is JPEG "
        "compression with 31.4 %."
    )
    assert headline(results)[-1] == expected
    del results["corruptions"]
    assert "corruptions" not in " ".join(headline(results))
    assert benchmark_names(block(("fog", "saturate"))) == ["fog"]
    assert corruption_words("elastic_transform") == "Elastic transform"


def test_ratios_to_a_baseline_get_a_column_and_a_sentence():
    ratios = {name: 0.5 + i / 100 for i, name in enumerate(corrupt.NAMES)}
    found = block() | {"relative": {"baseline": "plain <1>", **ratios, "mean": 0.57}}
    rows = {row[0]: row[-1] for row in corruption_rows(found)}
    assert (rows["untouched"], rows["Gaussian noise"], rows["noise (3)"], rows["mean (15)"]) == (
        "",
        "0.500",
        "0.510",
        "0.570",
    )
    assert {len(row) for row in corruption_rows(found)} == {len(corruption_columns(found))} == {len(COLUMNS) + 1}
    assert "error /<br>that of plain &lt;1&gt;" in corruption_table(found)
    results = {"evaluations": {"clean": {"error": 0.1, "n": 10}}, "corruptions": found}
    assert headline(results)[-1].endswith("Relative to plain <1>, that is 57.0 %.")
    found["relative"]["baseline"] = "alexnet"
    assert headline(results)[-1].endswith("Relative to alexnet, the mCE 57.0 %.")
