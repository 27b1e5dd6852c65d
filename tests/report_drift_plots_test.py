"""Figures of an audit draw what they are given, and say so where there is nothing."""

import audit_block
import numpy as np
import pytest

from mollax.report import drift_plots as plots


def text_of(figure):
    words = [text.get_text() for axes in figure.axes for text in [*axes.texts, *axes.get_xticklabels()]]
    words += [axes.get_title("left") + axes.get_title() for axes in figure.axes]
    words += [axes.get_xlabel() + axes.get_ylabel() for axes in figure.axes]
    return " ".join([*words, *(text.get_text() for text in figure.texts)])


def test_histogram():
    figure = plots.contribution_histogram(audit_block.made())
    axes = figure.axes[0]
    assert len(axes.patches) == 4
    assert "11.3 % of new images" in text_of(figure)
    assert axes.lines[0].get_xdata()[0] == 120
    assert "No histogram" in text_of(plots.contribution_histogram(audit_block.made(histogram=None)))
    broken = {**audit_block.made()["histogram"], "edges": [0, 1]}
    with pytest.raises(ValueError, match="same length"):
        plots.contribution_histogram(audit_block.made(histogram=broken))


def test_curves():
    block = audit_block.made()
    figure = plots.theta_curves(block)
    assert len(figure.axes) == 3
    held, excess, confused = figure.axes[0].lines[0], figure.axes[1].lines[0], figure.axes[2].lines[0]
    np.testing.assert_allclose(held.get_ydata(), np.array(block["curve"]["held"]) / 784)
    np.testing.assert_allclose(
        excess.get_ydata(), np.array(block["curve"]["new"]) - np.array(block["curve"]["held"]), rtol=1e-12
    )
    np.testing.assert_allclose(confused.get_ydata(), 100 * np.array(block["curve"]["confused"]))
    figure = plots.theta_curves(audit_block.made(curve={**block["curve"], "confused": None}))
    assert len(figure.axes) == 2
    assert "no strength" in text_of(plots.theta_curves(audit_block.made(curve=None)))


def test_pairs():
    figure = plots.image_pairs(audit_block.pictures(8))
    assert len(figure.axes) == 16
    assert "900 nats" in text_of(figure)
    assert "…" in text_of(figure)
    assert "training" in text_of(figure)
    assert len(plots.image_pairs(audit_block.pictures(3, nearest=False)).axes) == 3
    empty = {**audit_block.pictures(1), "images": np.zeros((0, 2, 2, 1)), "names": [], "contributions": []}
    assert "No images" in text_of(plots.image_pairs(empty))


def test_bars():
    rows = audit_block.made()["folders"]
    figure = plots.breakdown_bars([*rows, {**rows[0], "name": "$x^2$", "low": None, "high": None}], "By folder")
    axes = figure.axes[0]
    assert len(axes.patches) == 4
    assert len(axes.collections) == 3
    assert [label.get_text() for label in axes.get_yticklabels()][-1] == "day2  (50)"
    many = [{**rows[0], "name": str(i), "value": float(i)} for i in range(50)]
    assert len(plots.breakdown_bars(many, "").axes[0].patches) == plots.MAX_ROWS
    assert "nothing to break down" in text_of(plots.breakdown_bars([], ""))
