"""Figures of a drift audit, from the block of audit.json. Held-out images are blue, new ones orange; see `plots`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mollax.checks import same_length
from mollax.report.drift_words import Block, nats
from mollax.report.legend import height, legend
from mollax.report.plots import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    WIDTH,
    _figure,
    _floats,
    _message,
    _restrain,
    _short,
    _show,
)
from mollax.report.table import as_float, percent

COLUMNS = 6
MAX_ROWS = 30
_DASHED: dict[str, Any] = {"color": INK, "linewidth": 1.4, "linestyle": (0, (4, 3))}
_DOTTED: dict[str, Any] = {"color": MUTED, "linewidth": 1.0, "linestyle": (0, (1.5, 2))}


def contribution_histogram(block: Block) -> Figure:
    """How surprising held-out and new images are, with the value that 95 % of the held-out ones stay below.

    Raises:
      ValueError: if there is not one edge more than shares.
    """
    histogram = block.get("histogram")
    if not histogram:
        return _message("No histogram was kept.")
    edges = _floats(histogram["edges"])
    words = ["held-out training images", "new images", "95 % of held-out ones lie below"]
    figure = _figure(WIDTH, 2.9 + height(words))
    axes = figure.add_subplot()
    _restrain(axes)
    top = 1.0
    for name, color in (("held", BLUE), ("new", ORANGE)):
        shares = 100 * _floats(histogram[name])
        same_length((f"shares of {name}", "edges but the last"), (shares, edges[:-1]))
        axes.stairs(shares, edges, fill=True, color=color, alpha=0.32, linewidth=0)
        axes.stairs(shares, edges, color=color, linewidth=1.5)
        top = max(top, np.nanmax(shares, initial=0))
    threshold = as_float(block.get("threshold"))
    axes.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0, 1.3 * top))
    axes.set_yticks([tick for tick in (1, 5, 20, 50, 100) if tick < 1.3 * top])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g} %"))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: nats(x)))
    axes.set_xlabel(
        "contribution \u2212log p of an image (nats): to the right, more surprising", fontsize=9, color=MUTED
    )
    if math.isfinite(threshold):
        axes.axvline(min(max(threshold, edges[0]), edges[-1]), **_DASHED)
        flagged = f"{percent(block.get('flagged'), 1)} % of new images"
        axes.text(0.99, 0.97, flagged, transform=axes.transAxes, color=ORANGE, fontsize=9, ha="right", va="top")
    legend(figure, words, [{"color": BLUE, "linewidth": 5}, {"color": ORANGE, "linewidth": 5}, _DASHED])
    return figure


def theta_curves(block: Block) -> Figure:
    """Cross-entropies and their difference against the strength of the augmentation, and how it blurs classes.

    Raises:
      ValueError: if the lists of the curve differ in length.
    """
    curve = block.get("curve")
    if not curve:
        return _message("The kernel has no strength to vary.")
    names = ("theta", "held", "new")
    theta, held, new = (_floats(curve[name]) for name in names)
    same_length(names, (theta, held, new))
    confused = _floats(curve.get("confused"))
    words = ["held-out training images", "new images", "strength of this audit"]
    figure = _figure(WIDTH, 2.8 + height(words))
    panels = figure.subplots(1, 2 + bool(len(confused)))
    dimensions = max(1.0, as_float(block["space"]["dimensions"]))
    lines: Sequence[tuple[str, list[tuple[np.ndarray, str]]]] = [
        ("Cross-entropy (nats per dimension)", [(held / dimensions, BLUE), (new / dimensions, ORANGE)]),
        ("Excess (nats an image)", [(new - held, GREEN)]),
        ("Nearer to another class (% of held-out)", [(100 * confused, BLUE)]),
    ]
    for axes, (title, drawn) in zip(panels, lines[: len(panels)], strict=True):
        _restrain(axes, title)
        for values, color in drawn:
            axes.plot(theta, values, color=color, linewidth=1.7, marker="o", markersize=3.5)
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.set_xticks(theta[:: max(1, len(theta) // 5)])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.2g}"))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.axvline(as_float(block["kernel"]["value"]), **_DASHED)
        axes.set_xlabel(str(curve["name"]), fontsize=9, color=MUTED)
    panels[1].axhline(0, **_DOTTED)
    if len(confused):
        panels[2].set_ylim(bottom=0)
    legend(figure, words, [{"color": BLUE}, {"color": ORANGE}, _DASHED])
    return figure


def image_pairs(pictures: Mapping[str, Any]) -> Figure:
    """New images, and below each the training image that is nearest to it.

    Args:
      pictures: "images" and "nearest" (n, h, w, c) in [0, 1], the latter None where the bank's pixels are not known;
        "names" and "contributions", one an image.
    """
    images, nearest = np.asarray(pictures["images"]), pictures.get("nearest")
    lines = 1 if nearest is None else 2
    if (
        same_length(("images", "names", "contributions"), [pictures[n] for n in ("images", "names", "contributions")])
        == 0
    ):
        return _message("No images to show.")
    rows = math.ceil(len(images) / COLUMNS)
    figure = _figure(WIDTH * min(COLUMNS, len(images)) / COLUMNS, (1.95 if lines == 1 else 3.45) * rows)
    columns = min(COLUMNS, len(images))
    for i, image in enumerate(images):
        row, column = divmod(i, COLUMNS)
        above = figure.add_subplot(rows * lines, columns, row * lines * columns + column + 1)
        _show(above, image)
        above.set_title(_short(_tail(pictures["names"][i]), 21), fontsize=8.5, color=INK, parse_math=False)
        above.set_xlabel(f"{nats(pictures['contributions'][i])} nats", fontsize=8.5, color=ORANGE)
        if column == 0:
            above.set_ylabel("new", fontsize=9, color=MUTED)
        if nearest is not None:
            below = figure.add_subplot(rows * lines, columns, (row * lines + 1) * columns + column + 1)
            _show(below, nearest[i])
            if column == 0:
                below.set_ylabel("training", fontsize=9, color=MUTED)
    return figure


def _tail(name: str) -> str:
    """The end of a long path, which tells files apart."""
    return name if len(name) <= 21 else "…" + name[-20:]


def breakdown_bars(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Excess of each part of the new images with its interval, the largest on top.

    Args:
      rows: "name", "images", "value", "low", "high"; at most `MAX_ROWS` are drawn, those farthest from 0.
      title: of the figure.
    """
    if not rows:
        return _message("There is nothing to break down.")
    kept = sorted(rows, key=lambda row: -abs(as_float(row["value"])))[:MAX_ROWS]
    kept = sorted(kept, key=lambda row: -as_float(row["value"]))
    figure = _figure(WIDTH, 0.27 * len(kept) + 0.9)
    axes = figure.add_subplot()
    _restrain(axes, title)
    axes.grid(axis="y", visible=False)
    for place, row in enumerate(kept):
        _bar(axes, place, row)
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.set_yticks(
        range(len(kept)), [f"{_short(row['name'], 34)}  ({int(row['images']):,})" for row in kept], color=INK
    )
    axes.set_ylim(len(kept) - 0.5, -0.5)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.set_xlabel("excess cross-entropy (nats an image)", fontsize=9, color=MUTED)
    return figure


def _bar(axes: Axes, place: int, row: Mapping[str, Any]) -> None:
    value, low, high = (as_float(row.get(name)) for name in ("value", "low", "high"))
    axes.barh(place, value, height=0.62, color=ORANGE if value > 0 else GREEN, alpha=0.5)
    if math.isfinite(low) and math.isfinite(high):
        axes.hlines(place, low, high, color=INK, linewidth=1.6)
    axes.text(
        1.005, place, nats(value, sign=True), transform=axes.get_yaxis_transform(), fontsize=9, color=INK, va="center"
    )
