"""Figures that lay several runs over each other, from the rows of `mollax.report.comparison.comparison_rows`.

Figures as in `mollax.report.plots`. A line or bar is the mean over seeds, a band or whisker one standard deviation;
runs without the corruption benchmark are left out where a figure is about it. Numbers of figures are the paper's
(Heinonen et al., AISTATS 2025).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mollax.report.comparison import MEAN, METRICS, SCALES, TITLES, Row, deviation, value
from mollax.report.corruptions import corruption_polygon
from mollax.report.legend import GROUP_COLORS, height, legend, styles
from mollax.report.plots import BLUE, INK, MUTED, SKY, WIDTH, _figure, _message, _restrain, _short
from mollax.report.table import benchmark_names

MAX_PANELS = 6  # of `severity_polygons`


def clean_corrupted_slopes(rows: Sequence[Row]) -> Figure:
    """From clean to corrupted images, a line for each run and a panel for each metric (fig 5): the flatter, the better.

    Both ends are over the same test images: severity 0 and the mean over severities 1 to 5.
    """
    rows = _corrupted(rows)
    if not rows:
        return _message("No run has the corruption benchmark.")
    figure = _figure(WIDTH, 3.2 + height(_labels(rows)))
    panels = figure.subplots(1, len(METRICS))
    for axes, metric in zip(panels, METRICS, strict=True):
        _restrain(axes, TITLES[metric])
        for row, style in zip(rows, styles(len(rows)), strict=True):
            curve = row["curves"][MEAN][metric]
            start, end = SCALES[metric] * np.array([curve["mean"][0], np.mean(curve["mean"][1:])], np.float64)
            axes.plot([0, 1], [start, end], marker="o", markersize=5, linewidth=1.8, **style)
            spread = deviation(row, metric, "corrupted")
            if math.isfinite(spread):
                axes.errorbar(1, end, spread, color=style["color"], linewidth=1.2, capsize=3)
        axes.set_xticks([0, 1], ["clean", "corrupted"], color=INK)
        axes.set_xlim(-0.15, 1.15)
        axes.set_ylim(0, 1.04 * axes.get_ylim()[1])
        axes.grid(axis="x", visible=False)
    legend(figure, _labels(rows), styles(len(rows)))
    return figure


def severity_comparison(rows: Sequence[Row]) -> Figure:
    """Error, NLL and ECE against severity, 0 to 5: the mean of all test corruptions and each group (fig 9, 10)."""
    rows = _corrupted(rows)
    if not rows:
        return _message("No run has the corruption benchmark.")
    parts = (MEAN, *rows[0]["groups"])
    figure = _figure(WIDTH, 1.9 * len(METRICS) + 0.2 + height(_labels(rows)))
    grid = figure.subplots(len(METRICS), len(parts), sharex=True, sharey="row", squeeze=False)
    for (line, metric), (column, part) in product(enumerate(METRICS), enumerate(parts)):
        axes = grid[line, column]
        _restrain(axes, ("mean of all" if part == MEAN else part) if line == 0 else "")
        for row, style in zip(rows, styles(len(rows)), strict=True):
            mean, sd = (SCALES[metric] * _floats(row["curves"][part][metric][kind]) for kind in ("mean", "sd"))
            axes.plot(range(6), mean, linewidth=1.7, **style)
            if np.isfinite(sd).all():
                axes.fill_between(range(6), mean - sd, mean + sd, color=style["color"], alpha=0.15, linewidth=0)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if column == 0:
            axes.set_ylabel(TITLES[metric], fontsize=9, color=MUTED)
        if line == len(METRICS) - 1:
            axes.set_xlabel("severity", fontsize=9, color=MUTED)
    for first in grid[:, 0]:  # after all is drawn, for the panels of a line share their axis
        first.set_ylim(0, first.get_ylim()[1])
    legend(figure, _labels(rows), styles(len(rows)))
    return figure


def severity_polygons(rows: Sequence[Row]) -> Figure:
    """Error of each corruption and severity, the first run's against another's, a panel for each other run (fig 8).

    The marks are regular polygons, from triangles at severity 1 to heptagons at severity 5, in the colors of the
    groups. Below the dashed diagonal the other run errs less. At most `MAX_PANELS` other runs are shown.
    """
    rows = _corrupted(rows)
    if len(rows) < 2:
        return _message("Fewer than two runs have the corruption benchmark.")
    base, others = rows[0], rows[1 : MAX_PANELS + 1]
    columns = min(3, len(others))
    lines = math.ceil(len(others) / columns)
    figure = _figure(1.3 + (WIDTH - 1.3) * max(columns, 1.5) / 3, (2.9 if columns > 1 else 4.3) * lines + 0.2)
    figure.set_layout_engine("constrained", w_pad=0.1)  # the browser's letters are wider than those measured here
    panels = np.ravel(figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False))
    for axes in panels[len(others) :]:
        axes.set_axis_off()
    for axes, other in zip(panels, others, strict=False):
        _polygon_panel(axes, base, other)
    end = 1.04 * max(max(_errors(row, name).max() for name in row["corruptions"]) for row in rows[: len(others) + 1])
    panels[0].set(xlim=(0, end), ylim=(0, end))
    shapes = [Line2D([], [], linestyle="", color=MUTED, **_mark(severity)) for severity in range(1, 6)]
    colors = [Line2D([], [], linestyle="", marker="o", color=GROUP_COLORS.get(group, INK)) for group in base["groups"]]
    words = [*base["groups"], *(f"severity {severity}" for severity in range(1, 6))]
    figure.legend(
        [*colors, *shapes],
        words,
        loc="outside right upper",
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
        handletextpad=0.2,
    )
    return figure


def _polygon_panel(axes: Axes, base: Row, other: Row) -> None:
    _restrain(axes)
    names = list(base["corruptions"])
    for name in names:
        group = next(group for group, block in base["groups"].items() if name in block["names"])
        for severity, x, y in zip(range(1, 6), _errors(base, name), _errors(other, name), strict=True):
            axes.plot(x, y, **_mark(severity), color=GROUP_COLORS.get(group, INK), markeredgewidth=0, alpha=0.7)
    axes.axline((0, 0), slope=1, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    axes.set_aspect("equal")
    axes.set_xlabel(f"error (%): {_short(base['label'], 32)}", fontsize=8.5, color=MUTED, parse_math=False)
    axes.set_ylabel(f"error (%): {_short(other['label'], 32)}", fontsize=8.5, color=MUTED, parse_math=False)


def _errors(row: Row, name: str) -> np.ndarray:
    """Error in percent at severities 1 to 5."""
    return 100 * _floats(row["curves"][name]["error"]["mean"])[1:]


def _mark(severity: int) -> dict[str, Any]:
    """A regular polygon with severity + 2 corners, larger for larger severities."""
    return {"marker": (severity + 2, 0, 0), "markersize": 3.5 + 1.1 * severity}


def comparison_bars(rows: Sequence[Row]) -> Figure:
    """Error of every run on clean images, each group of corruptions and their mean, or on the stresses (fig 6)."""
    columns: list[tuple[str, tuple[str, ...]]] = [("clean", ("clean",))]
    if any("corrupted" in row for row in rows):
        columns.append((f"mean of {len(_corrupted(rows)[0]['corruptions'])}", ("corrupted",)))
        columns += [(group, ("groups", group)) for group in _corrupted(rows)[0]["groups"]]
    else:
        columns += [(stress, ("stress", stress)) for stress in list(rows[0]["stress"])[:5]]
    figure = _figure(WIDTH, 0.3 * len(rows) + 1.0)
    panels = np.ravel(figure.subplots(1, len(columns), sharey=True, squeeze=False))
    for axes, (title, keys) in zip(panels, columns, strict=True):
        _restrain(axes, _short(title, 20))
        _bar_panel(axes, [value(row, "error", *keys) for row in rows], [deviation(row, "error", *keys) for row in rows])
    panels[0].set_yticks(range(len(rows)), [_short(row["label"], 36) for row in rows], color=INK, parse_math=False)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    figure.supxlabel("error (%)", fontsize=9, color=MUTED)
    return figure


def _bar_panel(axes: Axes, errors: Sequence[float], deviations: Sequence[float]) -> None:
    """One bar a run, the best darker, with its whisker and its number at the right."""
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    known = [error for error in errors if math.isfinite(error)]
    if not known:
        return
    for place, (error, spread) in enumerate(zip(errors, deviations, strict=True)):
        if not math.isfinite(error):
            continue
        best = error == min(known) and len(known) > 1
        axes.barh(place, error, height=0.62, color=BLUE if best else SKY, alpha=0.9 if best else 0.55)
        if math.isfinite(spread):
            axes.hlines(place, error - spread, error + spread, color=INK, linewidth=1.2)
        number = axes.text(1, place, f"{error:.1f}", color=INK, fontsize=8.5, ha="right", va="center")
        number.set_transform(axes.get_yaxis_transform())
    axes.set_xlim(0, 1.5 * max(known) if max(known) > 0 else 1.0)


def corruption_polygons(rows: Sequence[Row]) -> Figure:
    """`mollax.report.corruptions.corruption_polygon` of the means over seeds, one polygon a run."""
    blocks = {
        row["label"]: {
            "groups": row["groups"],
            "corruptions": {
                name: {metric: spreads[metric]["mean"] for metric in METRICS}
                for name, spreads in row["corruptions"].items()
            },
        }
        for row in _corrupted(rows)
    }
    if not blocks or len(benchmark_names(next(iter(blocks.values())))) < 3:
        return _message("No run has three or more test corruptions.")
    return corruption_polygon(blocks)


def _corrupted(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if "corrupted" in row]


def _labels(rows: Sequence[Row]) -> list[str]:
    return [row["label"] for row in rows]


def _floats(values: Sequence[float | None]) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values], np.float64)
