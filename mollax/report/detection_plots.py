"""Figures of out-of-distribution detection, from the block "ood" of results.json (see `DetectionEvaluator`).

Figures as in `mollax.report.plots`. Images in distribution are the positives and drawn in blue; a set to detect is
orange. Scores are high for what is strange. What was not measured is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mollax.checks import same_length
from mollax.report.detection_numbers import (
    AUROC,
    FPR,
    Block,
    bounds,
    cell,
    counted_sets,
    labels,
    mean,
    ranked,
    score_names,
    score_row,
    set_groups,
    set_names,
    value,
)
from mollax.report.legend import PALETTE, height, legend, styles
from mollax.report.plots import (
    BLUE,
    INK,
    LINE,
    MUTED,
    ORANGE,
    PAPER,
    WIDTH,
    _figure,
    _floats,
    _message,
    _restrain,
    _short,
)
from mollax.report.table import as_float, percent

MAX_CURVES = 6  # scores with a line
MAX_PANELS = 8  # sets with a panel
COLUMNS = 4
MARKERS = {"near": "D", "far": "o", "shifted": "^"}
_THRESHOLD: dict[str, Any] = {"color": INK, "linewidth": 1.4, "linestyle": (0, (4, 3))}
_GUIDE: dict[str, Any] = {"color": MUTED, "linewidth": 1.0, "linestyle": (0, (1.5, 2))}


def histogram_scores(block: Block) -> list[str]:
    """The best score, the first, and "tv" where it was run."""
    order = ranked(block)
    wanted = dict.fromkeys([*order[:1], *score_names(block)[:1], *("tv" for score in order if score == "tv")])
    return [score for score in wanted if score_row(block, score).get("histogram")]


def score_histograms(block: Block) -> Figure:
    """How a score spreads over known images and over each set, with the stored threshold; a line of panels a score.

    Heights grow with the square root of the share, so that the few images that are hard to tell apart are seen. In
    orange, the share of the set beyond the threshold.

    Raises:
      ValueError: if a histogram has not one edge more than shares.
    """
    scores, sets = histogram_scores(block), set_names(block)[:MAX_PANELS]
    if not scores or not sets:
        return _message("No histogram of a score was kept.")
    names, alone = labels(score_names(block)), len(sets) == 1  # then scores stand side by side
    columns = _columns(scores if alone else sets)
    lines = math.ceil(len(sets) / columns)
    rows = 1 if alone else lines * len(scores)
    figure = _figure(WIDTH, (2.6 if alone else 1.75) * rows + height(["known test images"]))
    for (i, score), (j, name) in product(enumerate(scores), enumerate(sets)):
        line, column = (0, i) if alone else (i * lines + j // columns, j % columns)
        axes = figure.add_subplot(rows, columns, line * columns + column + 1)
        _histogram_panel(axes, block, score, name)
        if alone or column == 0:
            axes.set_ylabel(_short(names[score], 20), fontsize=10, color=INK, parse_math=False)
    words = ["known test images", "the set", "threshold"]
    legend(figure, words, [{"color": BLUE, "linewidth": 5}, {"color": ORANGE, "linewidth": 5}, _THRESHOLD])
    return figure


def _columns(sets: Sequence[str]) -> int:
    """Panels side by side; one alone does not fill the width."""
    return min(COLUMNS, max(2, len(sets)))


def _histogram_panel(axes: Axes, block: Block, score: str, name: str) -> None:
    row = score_row(block, score)
    edges, shares = _floats(row["histogram"]["edges"]), row["histogram"]["shares"]
    _restrain(axes, _title(block, name))
    axes.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
    top = 1.0
    for part, color in (("test", BLUE), (name, ORANGE)):
        if part not in shares:
            continue
        heights = 100 * _floats(shares[part])
        same_length((f"shares of {part}", "edges but the last"), (heights, edges[:-1]))
        axes.stairs(heights, edges, fill=True, color=color, alpha=0.35, linewidth=0)
        axes.stairs(heights, edges, color=color, linewidth=1.4)
        top = max(top, np.nanmax(heights, initial=0))
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0, 1.3 * top))
    axes.set_yticks([tick for tick in (1, 5, 20, 50, 100) if tick < 1.3 * top])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g} %"))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    threshold, flagged = as_float(row.get("threshold")), value(block, score, name, "flagged")
    if math.isfinite(threshold):
        axes.axvline(min(max(threshold, edges[0]), edges[-1]), **_THRESHOLD)
    if math.isfinite(flagged):
        words = f"{percent(flagged, 0)} % flagged"
        axes.text(0.98, 0.99, words, transform=axes.transAxes, color=ORANGE, fontsize=8.5, ha="right", va="top")


def _title(block: Block, name: str) -> str:
    return f"{_short(name, 18)} ({set_groups(block)[name]})"


def curve_scores(block: Block) -> list[str]:
    """The first score and the best ones, at most `MAX_CURVES`, of those with curves; the best first."""
    order = [
        score for score in ranked(block) if any(cell(block, score, name).get("curve") for name in set_names(block))
    ]
    first = score_names(block)[:1]
    kept = [*order[: MAX_CURVES - 1], *(score for score in order[MAX_CURVES - 1 :] if score in first)]
    kept += [score for score in order if score not in kept][: MAX_CURVES - len(kept)]
    return [score for score in order if score in kept]


def detection_curves(block: Block) -> Figure:
    """ROC curves above, precision against recall below, known images being the positives; a column for each set.

    Dots are at FPR95. The dotted line of a lower panel is the precision of accepting all images.

    Raises:
      ValueError: if the lists of a curve differ in length.
    """
    scores, sets = curve_scores(block), set_names(block)[:MAX_PANELS]
    if not scores or not sets:
        return _message("No curve of a score was kept.")
    names, columns = labels(score_names(block)), _columns(sets)
    words = [names[score] for score in scores]
    lines = 2 * math.ceil(len(sets) / columns) if len(sets) > 1 else 1  # of one set the panels are side by side
    figure = _figure(WIDTH, (2.4 if columns > 2 else 3.2) * lines + height(words))
    for i, name in enumerate(sets):
        line, column = divmod(i, columns)
        places = [(2 * line + part) * columns + column + 1 for part in (0, 1)] if len(sets) > 1 else [1, 2]
        roc, recall = (figure.add_subplot(lines, columns, place) for place in places)
        _restrain(roc, _title(block, name))
        _restrain(recall)
        _curve_panels(roc, recall, block, scores, name)
        roc.set_xlabel("unknown accepted (%)", fontsize=8.5, color=MUTED)
        recall.set_xlabel("known accepted (%)", fontsize=8.5, color=MUTED)
        if column == 0:
            roc.set_ylabel("known accepted (%)", fontsize=8.5, color=MUTED)
            recall.set_ylabel("known among accepted (%)", fontsize=8.5, color=MUTED)
    legend(figure, words, styles(len(scores)))
    return figure


def _curve_panels(roc: Axes, recall: Axes, block: Block, scores: Sequence[str], name: str) -> None:
    share, lowest = as_float(block.get("tpr")), 100.0
    roc.plot([0, 100], [0, 100], **_GUIDE)
    roc.axhline(100 * share, **_GUIDE)
    for score, style in zip(scores, styles(len(scores)), strict=True):
        curve = cell(block, score, name).get("curve")
        if not curve:
            continue
        tpr, fpr, precision = (100 * _floats(curve[key]) for key in ("tpr", "fpr", "precision"))
        same_length(("tpr", "fpr", "precision"), (tpr, fpr, precision))
        roc.plot(fpr, tpr, linewidth=1.7, label=score, **style)
        roc.plot(100 * value(block, score, name, FPR), 100 * share, "o", color=style["color"], markersize=4.5)
        recall.plot(tpr, precision, linewidth=1.7, label=score, **style)
        lowest = min(lowest, np.nanmin(precision, initial=100))
    known, strange = (value(block, scores[0], name, f"{kind}_count") for kind in ("id", "ood"))
    if math.isfinite(known / (known + strange)):
        base = 100 * known / (known + strange)
        recall.axhline(base, **_GUIDE)
        lowest = min(lowest, base)
    for axes, low in ((roc, 0.0), (recall, 10 * math.floor(lowest / 10 - 0.2) if lowest >= 12 else 0.0)):
        axes.set(xlim=(-2, 102), ylim=(low - 0.02 * (100 - low), 100 + 0.03 * (100 - low)))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))


def detection_dots(block: Block) -> Figure:
    """FPR95 and AUROC of each score and set with 95 % intervals, their means as strokes; the best score on top."""
    scores, sets = ranked(block), set_names(block)
    if not scores or not sets:
        return _message("No score was measured.")
    groups = list(set_groups(block).values())
    averaged = len(counted_sets(block)) > 1
    means_of = "mean of near and far" if len(set(groups)) > 1 else "mean"
    words = [*(_title(block, name) for name in sets), *([means_of] if averaged else [])]
    looks = [
        {**style, "marker": MARKERS.get(group, "o"), "markersize": 5.5, "linestyle": ""}
        for style, group in zip(styles(len(sets)), groups, strict=True)
    ]
    for look in looks[len(PALETTE) :]:  # colors return, hollow
        look["markerfacecolor"] = PAPER
    figure = _figure(WIDTH, (0.2 + 0.085 * len(sets)) * len(scores) + 0.8 + height(words))
    panels = figure.subplots(1, 2, sharey=True)
    reach = 0.34 if len(sets) > 1 else 0.0
    shifts = np.linspace(-reach, reach, len(sets))
    titles = (f"FPR{percent(block.get('tpr'), 0)} (%): lower is better", "AUROC (%): higher is better")
    for axes, key, title in zip(panels, (FPR, AUROC), titles, strict=True):
        _restrain(axes, title)
        for (place, score), (name, look, shift) in product(enumerate(scores), zip(sets, looks, shifts, strict=True)):
            if pair := bounds(block, score, name, key):
                axes.hlines(place + shift, 100 * pair[0], 100 * pair[1], color=look["color"], linewidth=1.4)
            axes.plot(100 * value(block, score, name, key), place + shift, **look)
        if averaged:
            means, rows = [100 * mean(block, score, key) for score in scores], np.arange(len(scores))
            axes.vlines(means, rows - 0.42, rows + 0.42, color=INK, linewidth=2)
        axes.grid(axis="y", visible=False)
        for edge in range(1, len(scores)):
            axes.axhline(edge - 0.5, color=LINE, linewidth=0.6)
        axes.xaxis.set_major_locator(MaxNLocator(6))
    panels[1].axvline(50, **_GUIDE)
    names = labels(score_names(block))
    panels[0].set_yticks(range(len(scores)), [_short(names[score], 30) for score in scores], color=INK, fontsize=9)
    for label in panels[0].get_yticklabels():
        label.set_parse_math(False)
    panels[0].set_ylim(len(scores) - 0.5, -0.5)
    stroke = {"color": INK, "marker": "|", "markersize": 11, "markeredgewidth": 2, "linestyle": ""}
    legend(figure, words, [*looks, stroke][: len(words)])
    return figure
