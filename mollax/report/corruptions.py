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
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes
from matplotlib.ticker import MaxNLocator

from mollax.report.plots import BLUE, GREEN, INK, LINE, MUTED, ORANGE, SKY, WIDTH, _figure, _restrain
from mollax.report.table import as_float, benchmark_names, corruption_words, decimal, html_rows, percent

Block = Mapping[str, Any]
METRICS = (("error", "Error (%)", 100.0), ("nll", "NLL (nats)", 1.0), ("ece", "ECE (%)", 100.0))
COLORS = (BLUE, ORANGE, GREEN, SKY)
COLUMNS = ("corruption", "error %", "NLL", "ECE %", "error % at severity 1", "2", "3", "4", "5")


def corruption_rows(block: Block) -> list[tuple[str, ...]]:
    """Cells of a table under `COLUMNS`: mean, groups, then every corruption, means over severities first."""
    rows = [_row(title, row) for title, row in _means(block)]
    for name, row in block["corruptions"].items():
        rows.append(_row(corruption_words(name), row, block["cells"][name]))
    return rows


def corruption_table(block: Block) -> str:
    """`corruption_rows` as HTML."""
    return html_rows(COLUMNS, [[escape(cell) for cell in row] for row in corruption_rows(block)])


def severity_curves(block: Block) -> Figure:
    """Error, NLL and ECE against severity, 0 to 5: the mean in bold and each group (fig 9 and 10 of the paper)."""
    figure = _figure(WIDTH, 3.2)
    panels = figure.subplots(1, len(METRICS))
    groups = {group: row["names"] for group, row in block["groups"].items()}
    for axes, (metric, title, scale) in zip(panels, METRICS, strict=True):
        _restrain(axes, title)
        start = scale * as_float(block["clean"][metric])
        for (group, names), color in zip(groups.items(), COLORS, strict=False):
            curve = [
                np.mean([as_float(row[metric]) for row in at])
                for at in zip(*(block["cells"][n] for n in names), strict=True)
            ]
            axes.plot(range(6), [start, *(scale * value for value in curve)], color=color, linewidth=1.4, label=group)
        if "severities" in block:
            mean = [scale * as_float(row[metric]) for row in block["severities"]]
            axes.plot(range(6), [start, *mean], color=INK, linewidth=2.4, label="mean")
        axes.set_xlabel("severity", fontsize=9, color=MUTED)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(0, 1.06 * axes.get_ylim()[1])
    panels[0].legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="lower right")
    return figure


def corruption_polygon(blocks: Mapping[str, Block]) -> Figure:
    """Error, NLL and ECE of each test corruption as polygons, one for each run (fig 8): smaller is better.

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
    figure = _figure(WIDTH, 3.7)
    for place, (metric, title, scale) in enumerate(METRICS, start=1):
        axes = figure.add_subplot(1, len(METRICS), place, projection="polar")
        assert isinstance(axes, PolarAxes)
        axes.set_theta_zero_location("N")
        axes.set_theta_direction(-1)
        for (run, block), color in zip(blocks.items(), COLORS, strict=False):
            values = [scale * as_float(block["corruptions"][name][metric]) for name in names]
            axes.plot([*angles, angles[0]], [*values, values[0]], color=color, linewidth=1.8, label=run)
            axes.fill(angles, values, color=color, alpha=0.12)
        axes.set_title(title, fontsize=10.5, color=INK, pad=22)
        axes.set_facecolor("none")
        axes.set_xticks(
            angles, [corruption_words(name).replace(" ", "\n") for name in names], fontsize=6.5, color=MUTED
        )
        axes.set_rlim(0)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.tick_params(axis="y", labelsize=7, colors=MUTED)
        axes.grid(color=LINE, linewidth=0.6)
        axes.spines["polar"].set_color(LINE)
        if place == 1 and len(blocks) > 1:
            axes.legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="lower left", bbox_to_anchor=(-0.25, -0.25))
    return figure


def _means(block: Block) -> list[tuple[str, Block]]:
    """The averages with their titles, from the widest to the narrowest."""
    found = [("untouched", block["clean"])]
    if "mean" in block:
        found.append(("mean", block["mean"]))
    found += [(f"{group} ({len(row['names'])})", row) for group, row in block["groups"].items()]
    if "extra_mean" in block:
        found.append(("held out", block["extra_mean"]))
    return found


def _row(title: str, row: Block, severities: Sequence[Block] = ()) -> tuple[str, ...]:
    at = [percent(cell["error"], 1) for cell in severities] or [""] * 5
    return (title, percent(row["error"], 1), decimal(row["nll"], 3), percent(row["ece"], 1), *at)
