"""Figures of how an augmenter learned: entropy, its weight, and each class's range of angles, over training.

Figures as in `mollax.report.plots`, from the rows of metrics.jsonl; None and NaN leave a gap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from mollax.report import plots
from mollax.report.invariance_plots import degrees, signed
from mollax.report.legend import height, legend, styles
from mollax.report.plots import BLUE, INK, LINE, MUTED, ORANGE, WIDTH, _message, _restrain
from mollax.report.table import as_float

Block = Mapping[str, Any]
RANGE = "validation/range/"  # and a class's name: keys of metrics.jsonl
MAX_CLASSES = 20  # with a line of their own
CURVES = (
    ("Entropy of the transforms (nats)", plots.Curve("train/entropy", "entropy", BLUE)),
    ("Weight of the entropy in the loss", plots.Curve("train/weight", "weight", ORANGE)),
)
_DASHED: dict[str, Any] = {"color": MUTED, "linewidth": 1.5, "linestyle": (0, (4, 3))}


def entropy_curves(history: Sequence[Block], *, max_entropy: float | None = None) -> Figure:
    """Entropy of the drawn transforms and its weight in the loss over training, the warm-up shaded.

    Args:
      history: rows with "step" and "train/entropy", "train/weight" and "train/augmenting", means since the row before.
      max_entropy: the largest possible, dashed; None where nothing bounds it.
    """
    series = [(title, curve, *plots._series(history, curve)) for title, curve in CURVES]
    series = [one for one in series if np.isfinite(one[3]).any()]
    if not series:
        return _message("No entropy was recorded.")
    figure = plots._figure(WIDTH * len(series) / 2, 2.9)
    panels = figure.subplots(1, len(series), squeeze=False)[0]
    for axes, (title, curve, steps, values) in zip(panels, series, strict=True):
        _restrain(axes, title)
        for start, end in _warm_up(history):
            axes.axvspan(start, end, color=LINE, alpha=0.6, linewidth=0)
        plots._draw_curve(axes, curve, steps, values)
        if curve.key == "train/entropy" and math.isfinite(as_float(max_entropy)):
            line = axes.axhline(as_float(max_entropy), label=f"largest possible: {signed(max_entropy)}", **_DASHED)
            axes.legend(handles=[line], frameon=False, fontsize=8.5, labelcolor=INK)
        _step_axis(axes, np.nanmax(steps))
    return figure


def _warm_up(history: Sequence[Block]) -> list[tuple[float, float]]:
    """Spans of steps without augmentation. A row's mean says for which part of the steps since the row before."""
    spans, before = [], 0.0
    for row in history:
        step, share = as_float(row.get("step")), as_float(row.get("train/augmenting"))
        if math.isfinite(step) and math.isfinite(share):
            if share < 1:
                spans.append((before, before + (1 - max(share, 0.0)) * (step - before)))
            before = step
    return spans


def range_curves(history: Sequence[Block]) -> Figure:
    """How widely the images of each class are turned, over training: 1 to 99 % of the drawn angles (fig 8, bottom).

    The mean over a class's validation images, in degrees. Of more than `MAX_CLASSES` classes the widest and the
    narrowest at the end are shown.

    Args:
      history: rows with "step" and "validation/range/NAME".
    """
    names = list(dict.fromkeys(key.removeprefix(RANGE) for row in history for key in row if key.startswith(RANGE)))
    series = {name: plots._series(history, plots.Curve(RANGE + name, name, BLUE)) for name in names}
    series = {name: pair for name, pair in series.items() if np.isfinite(pair[1]).any()}
    if not series:
        return _message("No range of angles was recorded.")
    if len(series) > MAX_CLASSES:
        order = sorted(series, key=lambda name: series[name][1][np.isfinite(series[name][1])][-1])
        series = {name: series[name] for name in (*order[: MAX_CLASSES // 2], *order[-(MAX_CLASSES // 2) :])}
    lines = [{**style, "marker": "os^D"[i % 4], "markersize": 4} for i, style in enumerate(styles(len(series)))]
    figure = plots._figure(WIDTH, 3.2 + height(list(series)))
    axes = figure.subplots()
    _restrain(axes, "Range of the drawn angles")
    for start, end in _warm_up(history):
        axes.axvspan(start, end, color=LINE, alpha=0.6, linewidth=0)
    for (steps, values), style in zip(series.values(), lines, strict=True):
        axes.plot(steps, values, linewidth=1.9, **style)
    axes.set_ylim(0, 365)
    axes.yaxis.set_major_locator(MultipleLocator(60))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: degrees(value)))
    _step_axis(axes, max(np.nanmax(steps) for steps, _ in series.values()))
    legend(figure, list(series), lines)
    return figure


def _step_axis(axes: Axes, last: float) -> None:
    axes.set_xlim(0, max(1.0, 1.02 * last))
    axes.set_xlabel("step", fontsize=9, color=MUTED)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(plots._short_number))
