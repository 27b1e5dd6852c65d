"""Figures of out-of-distribution detection: the numbers given are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from report_detection_test import SETS, block
from report_invariance_plots_test import drawn_as_png, numbers, texts

from mollax.report import detection_plots as plots
from mollax.report.detection_numbers import ranked
from mollax.report.plots import BLUE, ORANGE


def test_histograms_show_the_best_the_first_and_tv():
    found = block()
    assert plots.histogram_scores(found) == ["tv", "msp"]
    figure = plots.score_histograms(found)
    assert len(figure.axes) == 2 * 4
    assert [axes.get_ylabel() for axes in figure.axes[::4]] == ["tv", "msp"]
    for axes, (score, name) in zip(figure.axes, [(s, n) for s in ("tv", "msp") for n in SETS], strict=True):
        row = next(row for row in found["scores"] if row["name"] == score)
        known, strange = axes.patches[1], axes.patches[3]
        np.testing.assert_allclose(known.get_data().edges, row["histogram"]["edges"])
        np.testing.assert_allclose(known.get_data().values, 100 * np.array(row["histogram"]["shares"]["test"]))
        np.testing.assert_allclose(strange.get_data().values, 100 * np.array(row["histogram"]["shares"][name]))
        assert axes.get_ylim()[1] > max(np.max(part.get_data().values) for part in (known, strange))
        (threshold,) = axes.lines
        assert set(threshold.get_xdata()) == {row["threshold"]}
        flagged = found["table"][score][name]["flagged"]
        assert f"{100 * flagged:.0f} % flagged" in [text.get_text() for text in axes.texts]
        assert axes.get_title("left") == f"{name} ({SETS[name][0]})"
    drawn_as_png(figure)


def test_a_threshold_beyond_the_histogram_is_at_its_end_and_missing_ones_are_left_out():
    found = block(scores=1, sets=1)
    edges = found["scores"][0]["histogram"]["edges"]
    found["scores"][0]["threshold"] = 1e9
    (axes,) = plots.score_histograms(found).axes
    assert set(axes.lines[0].get_xdata()) == {edges[-1]}
    found["scores"][0]["threshold"] = None
    del found["scores"][0]["histogram"]["shares"]["test"]
    (axes,) = plots.score_histograms(found).axes
    assert not axes.lines
    assert len(axes.patches) == 2
    del found["scores"][0]["histogram"]
    assert "No histogram" in texts(plots.score_histograms(found))[0]


def test_the_three_histograms_are_those_of_different_scores():
    found = block(scores=5)
    assert plots.histogram_scores(found) == ["knn", "msp"]
    found["table"]["tv"] = found["table"].pop("odin")
    found["scores"][2]["name"] = "tv"
    assert plots.histogram_scores(found) == ["knn", "msp", "tv"]


def test_curves_of_the_first_and_the_best():
    found = block()
    order = ranked(found)
    scores = plots.curve_scores(found)
    assert scores == [*order[:5], "msp"]
    assert order.index("msp") > 5
    figure = plots.detection_curves(found)
    assert len(figure.axes) == 2 * 4
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "tv",
        "tv: variant=extra",
        "knn",
        "energy",
        "ash",
        "msp",
    ]
    for i, name in enumerate(SETS):
        roc, recall = figure.axes[2 * i : 2 * i + 2]
        for score in scores:
            cell = found["table"][score][name]
            curve = {key: 100 * np.array(values) for key, values in cell["curve"].items()}
            drawn = [next(line for line in axes.lines if line.get_label() == score) for axes in (roc, recall)]
            np.testing.assert_allclose(numbers(drawn[0]), np.stack([curve["fpr"], curve["tpr"]], axis=1))
            np.testing.assert_allclose(numbers(drawn[1]), np.stack([curve["tpr"], curve["precision"]], axis=1))
            assert drawn[0].get_color() == drawn[1].get_color()
            assert recall.get_ylim()[0] < curve["precision"].min()
        dots = [numbers(line)[0] for line in roc.lines if line.get_marker() == "o"]
        expected = [[100 * found["table"][score][name]["fpr_at_tpr_id"], 95.0] for score in scores]
        np.testing.assert_allclose(dots, expected)
        base = [line for line in recall.lines if str(line.get_label()).startswith("_")]
        assert base[0].get_ydata()[0] == pytest.approx(100 * 400 / (400 + 200 + 10 * i))
    drawn_as_png(figure)


def test_a_first_score_among_the_best_leaves_room_for_one_more():
    found = block()
    found["scores"] = [found["scores"][4], *found["scores"][:4], *found["scores"][5:]]  # knn first
    assert plots.curve_scores(found) == ranked(found)[:6]


def test_dots_are_at_the_values_with_intervals_and_means():
    found = block()
    figure = plots.detection_dots(found)
    order = ranked(found)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()][:3] == ["tv", "tv: variant=extra", "knn"]
    for axes, key, bound in zip(figure.axes, ("fpr_at_tpr_id", "auroc"), ("fpr_at_tpr", "auroc"), strict=True):
        dots = [numbers(line)[0] for line in axes.lines if line.get_marker() in "Do^" and len(line.get_xdata()) == 1]
        expected = [100 * found["table"][score][name][key] for score in order for name in SETS]
        np.testing.assert_allclose([x for x, _ in dots], expected)
        np.testing.assert_array_equal([round(y) for _, y in dots], np.repeat(np.arange(9), 4))
        strokes = [segment for lines in axes.collections for segment in lines.get_segments()]
        pairs = [
            [100 * end for end in found["table"][score][name]["intervals"][bound]] for score in order for name in SETS
        ]
        np.testing.assert_allclose([segment[:, 0] for segment in strokes[:-9]], pairs)
        means = [100 * np.mean([found["table"][score][name][key] for name in list(SETS)[:3]]) for score in order]
        np.testing.assert_allclose([segment[0, 0] for segment in strokes[-9:]], means)
    assert "mean of near and far" in texts(figure)
    drawn_as_png(figure)


def test_groups_have_shapes_and_no_two_sets_look_the_same():
    figure = plots.detection_dots(block(sets=12, scores=2, resamples=0))
    handles = figure.legends[0].legend_handles[:-1]
    looks = {(line.get_color(), line.get_marker(), line.get_markerfacecolor()) for line in handles}
    assert len(handles) == len(looks) == 12
    assert [line.get_marker() for line in handles[:4]] == ["D", "o", "o", "^"]
    drawn_as_png(figure)


def test_many_sets_fill_several_lines_and_one_set_half_of_one():
    found = block(sets=12, scores=2, resamples=0)
    for figure in (plots.score_histograms(found), plots.detection_curves(found)):
        assert len(figure.axes) == 2 * plots.MAX_PANELS
        drawn_as_png(figure)
    alone = block(scores=1, sets=1)
    roc, recall = plots.detection_curves(alone).axes
    assert roc.get_position().y0 == recall.get_position().y0, "side by side"
    assert len(plots.detection_dots(block(scores=3, sets=1)).legends[0].get_texts()) == 1, "no mean of one set"
    first, second = plots.score_histograms(block(scores=3, sets=1)).axes
    assert (first.get_ylabel(), second.get_ylabel()) == ("energy", "msp")
    assert first.get_position().y0 == second.get_position().y0
    drawn_as_png(plots.detection_curves(alone))
    drawn_as_png(plots.score_histograms(alone))
    drawn_as_png(plots.detection_dots(alone))


def test_what_is_missing_is_left_out():
    found = block()
    found["table"]["tv"]["noise"] = None
    del found["table"]["knn"]["noise"]["curve"]
    figure = plots.detection_curves(found)
    drawn = {line.get_label() for line in figure.axes[4].lines}
    assert "energy" in drawn
    assert not drawn & {"knn", "tv"}
    drawn_as_png(plots.detection_dots(found))
    for cells in found["table"].values():
        for cell in filter(None, cells.values()):
            cell.pop("curve", None)
    assert "No curve" in texts(plots.detection_curves(found))[0]
    assert "No score" in texts(plots.detection_dots({"scores": [], "sets": []}))[0]


def test_lists_of_different_lengths_are_refused():
    found = block(scores=1, sets=1)
    found["table"]["msp"]["digits 6-9"]["curve"]["precision"].pop()
    with pytest.raises(ValueError, match=r"tpr has .* fpr has .* precision has"):
        plots.detection_curves(found)
    found["scores"][0]["histogram"]["edges"].pop()
    with pytest.raises(ValueError, match="shares of test has 40, edges but the last has 39"):
        plots.score_histograms(found)


def test_names_are_no_mathematics():
    found = block(scores=2, sets=1)
    found["sets"][0]["name"] = "$x_1"
    for row in found["scores"]:
        row["histogram"]["shares"]["$x_1"] = row["histogram"]["shares"].pop("digits 6-9")
        found["table"][row["name"]]["$x_1"] = found["table"][row["name"]].pop("digits 6-9")
    for figure in (plots.score_histograms(found), plots.detection_curves(found), plots.detection_dots(found)):
        assert any("$x_1 (near)" in text for text in texts(figure))
        drawn_as_png(figure)


def test_known_images_are_blue_and_sets_orange():
    (axes,) = plots.score_histograms(block(scores=1, sets=1)).axes
    colors = {patch.get_edgecolor() for patch in axes.patches[1::2]}
    expected = {tuple(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)) for color in (BLUE, ORANGE)}
    assert {color[:3] for color in colors} == expected
