"""Results on the corruption benchmark as pictures, a table and a sentence: the block "corruptions" of results.json.

Figures as in `mollax.report.plots`. A severity of 0 is the same images untouched. Averages are over the 15 test
corruptions or those of them that were run; the 4 held out for validation have rows of their own and are in no average.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes
from matplotlib.ticker import MaxNLocator

from mollax.report.legend import GROUP_COLORS, height, legend, styles
from mollax.report.plots import INK, LINE, MUTED, WIDTH, _figure, _restrain
from mollax.report.table import (
    as_float,
    benchmark_names,
    corruption_words,
    decimal,
    heat_cell,
    html_rows,
    percent,
)

Block = Mapping[str, Any]
METRICS = (("error", "Error (%)", 100.0), ("nll", "NLL (nats)", 1.0), ("ece", "ECE (%)", 100.0))
COLUMNS = ("corruption", "error %", "NLL", "ECE %", "error % at severity 1", "2", "3", "4", "5")


def corruption_columns(block: Block) -> tuple[str, ...]:
    """Titles of `corruption_rows`: `COLUMNS`, and one more where the block has errors relative to a baseline."""
    return (*COLUMNS, *([f"error / that of {block['relative']['baseline']}"] if "relative" in block else []))


def corruption_rows(block: Block) -> list[tuple[str, ...]]:
    """Cells of a table: untouched, the mean, then every group followed by its corruptions."""
    return [
        (*_means(title, row), *([percent(cell["error"], 1) for cell in severities] or [""] * 5), *_ratio(block, names))
        for title, row, severities, names in _rows(block)
    ]


def _ratio(block: Block, names: Sequence[str]) -> list[str]:
    """The mean ratio to the baseline, of one corruption or of several; nothing without a baseline."""
    if "relative" not in block:
        return []
    return [decimal(float(np.mean([block["relative"][name] for name in names])), 3) if names else ""]


def corruption_table(block: Block) -> str:
    """`corruption_rows` as HTML: averages in bold, errors the more deeply colored, the higher they are."""
    lines = []
    for title, row, severities, names in _rows(block):
        name, *means = (escape(cell) for cell in _means(title, row))
        heat = [heat_cell(cell["error"]) for cell in severities] or [""] * 5
        lines.append([name if len(names) == 1 else f"<b>{name}</b>", *means, *heat, *_ratio(block, names)])
    columns = [
        escape(column).replace(" at ", " at<br>").replace(" / ", " /<br>") for column in corruption_columns(block)
    ]
    return html_rows(columns, lines)


def _means(title: str, row: Block) -> tuple[str, ...]:
    return (title, percent(row["error"], 1), decimal(row["nll"], 3), percent(row["ece"], 1))


def _rows(block: Block) -> list[tuple[str, Block, list[Block], Sequence[str]]]:
    """Title, means, metrics at severities 1 to 5 and the names of the corruptions that it is of, for every row."""
    rows: list[tuple[str, Block, list[Block], Sequence[str]]] = [("untouched", block["clean"], [], ())]
    if "mean" in block:
        names = benchmark_names(block)
        rows.append((f"mean ({len(names)})", block["mean"], _severities(block, names), names))
    parts = [(group, row, row["names"]) for group, row in block["groups"].items()]
    if "extra_mean" in block:
        tested = {name for _, _, names in parts for name in names}
        parts.append(("held out", block["extra_mean"], [name for name in block["cells"] if name not in tested]))
    for title, mean, names in parts:
        rows.append((f"{title} ({len(names)})", mean, _severities(block, names), names))
        rows += [(corruption_words(name), block["corruptions"][name], block["cells"][name], (name,)) for name in names]
    return rows


def severity_curves(block: Block) -> Figure:
    """Error, NLL and ECE against severity, 0 to 5: the mean in bold and each group (fig 9 and 10 of the paper)."""
    lines = {
        group: (row["names"], {"color": GROUP_COLORS.get(group, MUTED), "linewidth": 1.6})
        for group, row in block["groups"].items()
    }
    if "mean" in block:
        lines["mean of all"] = (benchmark_names(block), {"color": INK, "linewidth": 2.6})
    figure = _figure(WIDTH, 3.5)
    panels = figure.subplots(1, len(METRICS))
    for axes, (metric, title, scale) in zip(panels, METRICS, strict=True):
        _restrain(axes, title)
        start = as_float(block["clean"][metric])
        for label, (names, style) in lines.items():
            curve = [start, *(row[metric] for row in _severities(block, names))]
            axes.plot(range(6), scale * np.array(curve), **style, label=label)
        axes.set_xlabel("severity", fontsize=9, color=MUTED)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_ylim(0, 1.06 * axes.get_ylim()[1])
    legend(figure, list(lines), [style for _, style in lines.values()])
    return figure


def corruption_polygon(blocks: Mapping[str, Block]) -> Figure:
    """Error, NLL and ECE of each test corruption as polygons, one for each run: smaller is better.

    Where a block has "clean", a dotted circle shows the value on the same images untouched.

    Args:
      blocks: {name of the run: its block}; all with the same corruptions.

    Raises:
      ValueError: if the runs do not have the same test corruptions, or fewer than three.
    """
    first = next(iter(blocks.values()))
    names = benchmark_names(first)
    if any(benchmark_names(block) != names for block in blocks.values()) or len(names) < 3:
        raise ValueError("A polygon needs the same three or more test corruptions from every run.")
    angles = np.linspace(0, 2 * math.pi, len(names), endpoint=False)
    several = len(blocks) > 1
    figure = _figure(WIDTH, 3.35 + several * height(list(blocks)))
    for place, (metric, title, scale) in enumerate(METRICS, start=1):
        axes = figure.add_subplot(1, len(METRICS), place, projection="polar")
        assert isinstance(axes, PolarAxes)
        for (run, block), style in zip(blocks.items(), styles(len(blocks)), strict=True):
            values = [scale * as_float(block["corruptions"][name][metric]) for name in names]
            axes.plot([*angles, angles[0]], [*values, values[0]], linewidth=1.8, label=run, **style)
            axes.fill(angles, values, color=style["color"], alpha=0.12 / len(blocks))
            if "clean" in block:
                untouched = np.full(100, scale * as_float(block["clean"][metric]))
                circle = np.linspace(0, 2 * math.pi, 100)
                axes.plot(circle, untouched, color=style["color"], linewidth=1.2, linestyle=(0, (1, 1.6)))
        _polar(axes, title, angles, [corruption_words(name).replace(" ", "\n") for name in names])
    if several:
        legend(figure, list(blocks), styles(len(blocks)))
    return figure


def _polar(axes: PolarAxes, title: str, angles: Float[np.ndarray, " n"], words: Sequence[str]) -> None:
    """Clockwise from the top, quiet circles, words that stand clear of the rim."""
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    axes.set_title(title, fontsize=10.5, color=INK, pad=10)
    axes.set_facecolor("none")
    axes.set_xticks(angles, words, fontsize=7.5, color=MUTED, linespacing=0.95)
    for angle, label in zip(angles, axes.get_xticklabels(), strict=True):
        side = math.sin(angle)  # words at the left end at the rim, words at the right begin there
        label.set_horizontalalignment("center" if abs(side) < 0.25 else "left" if side > 0 else "right")
    axes.tick_params(axis="x", pad=1)
    axes.set_rlim(0)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_rlabel_position(math.degrees(angles[1]) / 2)  # between two spokes
    axes.tick_params(axis="y", labelsize=7.5, colors=MUTED)
    axes.grid(color=LINE, linewidth=0.6)
    axes.spines["polar"].set_color(LINE)


def _severities(block: Block, names: Sequence[str]) -> list[Block]:
    """The mean over some corruptions at severity 1, ..., 5."""
    metrics = [metric for metric, _, _ in METRICS]
    at = zip(*(block["cells"][name] for name in names), strict=True)
    return [{metric: float(np.mean([as_float(cell[metric]) for cell in cells])) for metric in metrics} for cells in at]
