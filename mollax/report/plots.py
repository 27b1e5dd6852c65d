"""Figures of the report, drawn from plain numbers. Every function returns a `matplotlib.figure.Figure`.

Nothing here touches pyplot or its global state, so no backend, window or display is involved: save a figure
with `figure.savefig(path)`. Images are (n, h, w, c) floats in [0, 1] with one or three channels; errors, ECE
and label weights are fractions, shown in percent; NLL is in nats. None and NaN leave a gap.

Colors are those of Okabe and Ito, told apart by color-blind readers. The report replaces each by a CSS
variable (`THEME`), so that figures follow a light or dark page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from mollax.checks import rank, same_length
from mollax.report.table import as_float, decimal, percent

INK, MUTED, LINE, PAPER = "#1f2328", "#656d76", "#d0d7de", "#ffffff"
BLUE, ORANGE, GREEN, SKY = "#0072b2", "#d55e00", "#009e73", "#56b4e9"
COLORS = ("--ink", "--muted", "--line", "--paper", "--blue", "--orange", "--green", "--sky")
THEME = dict(zip((INK, MUTED, LINE, PAPER, BLUE, ORANGE, GREEN, SKY), COLORS, strict=True))

WIDTH = 10.0  # inches; 960 CSS pixels in a page
GRID_COLUMNS = 8
FEW = 10  # images: bins of a reliability diagram with fewer are drawn pale
MAX_SAMPLES = 16
MAX_MISTAKES = 24
MAX_SIDE = 96  # pixels: larger images are reduced to this, which bounds the size of a report
MAX_POINTS = 200  # points of a training curve; longer ones are averaged in blocks


@dataclass(frozen=True)
class Curve:
    """One line of a training panel: `scale * row[key] + offset`."""

    key: str
    label: str
    color: str
    scale: float = 1.0
    offset: float = 0.0


PANELS: tuple[tuple[str, tuple[Curve, ...]], ...] = (
    (
        "Loss (nats)",
        (
            Curve("train/loss", "training, soft labels", BLUE),
            Curve("validation/nll", "validation NLL", ORANGE),
        ),
    ),
    (
        "Error (%)",
        (
            Curve("train/accuracy", "training, mollified", BLUE, -100.0, 100.0),
            Curve("validation/error", "validation", ORANGE, 100.0),
        ),
    ),
    ("Validation ECE (%)", (Curve("validation/ece", "validation", ORANGE, 100.0),)),
    ("Learning rate", (Curve("train/lr", "training", BLUE),)),
    ("Gradient norm", (Curve("train/grad_norm", "training", BLUE),)),
    ("Training images per second", (Curve("train/images_per_second", "training", BLUE),)),
)


def training_curves(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Loss, error, calibration, learning rate, gradient norm and speed against the step.

    Only panels with at least one number are drawn. A curve of more than `MAX_POINTS` rows is averaged in
    blocks of equal length, with a band from the smallest to the largest value of each block.

    Args:
      history: rows with "step" and any of the keys in `PANELS`.
    """
    panels = []
    for title, curves in PANELS:
        drawn = [(curve, *_series(history, curve)) for curve in curves]
        drawn = [(curve, steps, values) for curve, steps, values in drawn if np.isfinite(values).any()]
        if drawn:
            panels.append((title, drawn))
    if not panels:
        return _message("No training history to show.")
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = _figure(WIDTH * columns / 3, 2.5 * rows + 0.1)
    for i, (title, drawn) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, i + 1)
        _restrain(axes, title)
        for curve, steps, values in drawn:
            _draw_curve(axes, curve, steps, values)
        axes.set_xlabel("step", fontsize=9, color=MUTED)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(_short_number))
        if title.startswith("Training images"):
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_formatter(FuncFormatter(_short_number))
        if len(drawn) > 1:
            axes.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    return figure


def _series(
    history: Sequence[Mapping[str, Any]], curve: Curve
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    rows = [row for row in history if curve.key in row and "step" in row]
    steps = np.array([as_float(row["step"]) for row in rows], dtype=np.float64)
    values = np.array([as_float(row[curve.key]) for row in rows], dtype=np.float64)
    values = np.where(np.isfinite(values), values, np.nan)
    return steps, curve.scale * values + curve.offset


def _draw_curve(axes: Axes, curve: Curve, steps: Float[np.ndarray, " n"], values: Float[np.ndarray, " n"]) -> None:
    if len(steps) > MAX_POINTS:
        blocks = [
            (s.mean(), v[np.isfinite(v)])
            for s, v in zip(np.array_split(steps, MAX_POINTS), np.array_split(values, MAX_POINTS), strict=True)
            if np.isfinite(v).any()
        ]
        steps = np.array([step for step, _ in blocks])
        low, high = (np.array([f(block) for _, block in blocks]) for f in (np.min, np.max))
        values = np.array([block.mean() for _, block in blocks])
        axes.fill_between(steps, low, high, color=curve.color, alpha=0.18, linewidth=0)
    marker = "o" if np.isfinite(values).sum() <= 40 else None
    axes.plot(steps, values, color=curve.color, linewidth=1.5, marker=marker, markersize=3.5, label=curve.label)


def reliability_diagram(reliabilities: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Accuracy against confidence, bin by bin, with the share of images in each bin below; one panel a name.

    Bars are the accuracy of a bin, drawn over the bin; the orange stroke spans the gap from there to its
    mean confidence; bins of fewer than `FEW` images are pale. The title gives
    ECE = sum_b n_b/n |accuracy_b - confidence_b| of the very bins drawn.

    Args:
      reliabilities: name -> {"edges": b+1 numbers, "confidence", "accuracy", "count": b numbers each}.

    Raises:
      ValueError: if the lists of one reliability differ in length.
    """
    if not reliabilities:
        return _message("No reliability to show.")
    columns = min(3, len(reliabilities))
    rows = math.ceil(len(reliabilities) / columns)
    figure = _figure(WIDTH * columns / 3, 3.5 * rows)
    panels = np.asarray(figure.subfigures(rows, columns, squeeze=False)).ravel()
    for panel, (name, bins) in zip(panels[: len(reliabilities)], reliabilities.items(), strict=True):
        _reliability_panel(panel, name, bins)
    return figure


def _reliability_panel(panel: SubFigure, name: str, bins: Mapping[str, Any]) -> None:
    same_length(("confidence", "accuracy", "count"), (bins["confidence"], bins["accuracy"], bins["count"]))
    edges = _floats(bins["edges"])
    confidence, accuracy, count = (_floats(bins[key]) for key in ("confidence", "accuracy", "count"))
    if len(edges) != len(count) + 1:
        raise ValueError(
            f"Reliability {name!r} needs one edge more than bins; got {len(edges)} edges, {len(count)} bins."
        )
    full = (np.nan_to_num(count) > 0) & np.isfinite(accuracy) & np.isfinite(confidence)
    share = np.where(full, count, 0.0) / max(count[full].sum(), 1.0)
    ece = float(np.sum((share * np.abs(accuracy - confidence))[full])) if full.any() else math.nan
    centers, widths = (edges[:-1] + edges[1:]) / 2, np.diff(edges)

    axes, histogram = panel.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _restrain(axes, f"{_short(name, 26)}\nECE {percent(ece)} %")
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for bins_drawn, strength in ((full & (count >= FEW), 1.0), (full & (count < FEW), 0.3)):
        middle, right, said = centers[bins_drawn], accuracy[bins_drawn], confidence[bins_drawn]
        axes.bar(middle, right, 0.92 * widths[bins_drawn], color=SKY, alpha=0.55 * strength)
        axes.vlines(middle, right, said, color=ORANGE, linewidth=3, alpha=strength)
        axes.plot(middle, said, "_", color=ORANGE, markersize=8, markeredgewidth=2, alpha=strength)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.set_ylabel("accuracy", fontsize=9, color=MUTED)
    _restrain(histogram)
    histogram.bar(centers, 100 * share, 0.92 * widths, color=MUTED, alpha=0.7)
    histogram.set_ylabel("images (%)", fontsize=9, color=MUTED)
    histogram.set_xlabel("confidence", fontsize=9, color=MUTED)
    histogram.yaxis.set_major_locator(MaxNLocator(2))


def mollified_grid(samples: Mapping[str, Any]) -> Figure:
    """Training images as the network sees them, each under its original, with t, role and remaining label
    mass.

    Ordered by role and then t; of more than `MAX_SAMPLES` images an even selection is shown. The bar under
    each image is the share of the label that stays on the true class.

    Args:
      samples: "images" and "original" (n, h, w, c) in [0, 1], "t" (n,), "role", "label" n words, "weight"
      (n,).

    Raises:
      ValueError: if lengths or image shapes do not fit.
    """
    images, original = np.asarray(samples["images"]), np.asarray(samples["original"])
    rank("images", images, 4, "(number, height, width, channels)")
    rank("original", original, 4, "(number, height, width, channels)")
    names = ("images", "original", "t", "role", "weight", "label")
    if same_length(names, [samples[name] for name in names]) == 0:
        return _message("No mollified images to show.")
    order = sorted(range(len(images)), key=lambda i: (_role_rank(samples["role"][i]), as_float(samples["t"][i])))
    if len(order) > MAX_SAMPLES:
        order = [order[round(i)] for i in np.linspace(0, len(order) - 1, MAX_SAMPLES)]
    columns = min(GRID_COLUMNS, len(order))
    rows = math.ceil(len(order) / columns)
    figure = _figure(max(2.0, WIDTH * columns / GRID_COLUMNS), 3.15 * rows)
    for place, i in enumerate(order):
        row, column = divmod(place, columns)
        above = figure.add_subplot(2 * rows, columns, 2 * row * columns + column + 1)
        below = figure.add_subplot(2 * rows, columns, (2 * row + 1) * columns + column + 1)
        _show(above, original[i])
        _show(below, images[i])
        above.set_title(_short(samples["label"][i]), fontsize=9, color=INK, parse_math=False)
        weight = as_float(samples["weight"][i])
        for end, color in ((1.0, LINE), (min(max(weight, 0.0), 1.0) if weight == weight else 0.0, BLUE)):
            bar = Line2D([0, end], [-0.07, -0.07], color=color, linewidth=4, solid_capstyle="butt")
            bar.set(transform=below.transAxes, clip_on=False)
            below.add_artist(bar)
        words = f"{samples['role'][i]}, t = {decimal(samples['t'][i])}\nlabel {percent(weight, 0)} %"
        words += "\n" if row < rows - 1 else ""  # air between the pairs
        below.set_xlabel(words, fontsize=8.5, color=INK, labelpad=12, parse_math=False)
        if column == 0:
            above.set_ylabel("original", fontsize=9, color=MUTED)
            below.set_ylabel("mollified", fontsize=9, color=MUTED)
    return figure


def _role_rank(role: str) -> tuple[int, str]:
    known = ("none", "noise", "blur")
    return (known.index(role) if role in known else len(known), role)


def mistake_grid(mistakes: Mapping[str, Any]) -> Figure:
    """Misclassified test images, the most confident first: what each is, what was said, and how surely.

    Args:
      mistakes: "images" (m, h, w, c) in [0, 1], "predicted" and "actual" m words, "confidence" (m,). At most
        `MAX_MISTAKES` are shown; none at all gives a figure that says so.

    Raises:
      ValueError: if lengths or the image shape do not fit.
    """
    images = np.asarray(mistakes["images"])
    names = ("images", "predicted", "actual", "confidence")
    if same_length(names, [mistakes[name] for name in names]) == 0:
        return _message("No mistakes to show: every test image was classified correctly.")
    rank("images", images, 4, "(number, height, width, channels)")
    confidence = np.nan_to_num(_floats(mistakes["confidence"]), nan=-1.0)
    order = np.argsort(-confidence, kind="stable")[:MAX_MISTAKES]
    columns = min(GRID_COLUMNS, len(order))
    rows = math.ceil(len(order) / columns)
    figure = _figure(max(2.0, WIDTH * columns / GRID_COLUMNS), 1.95 * rows)
    for place, i in enumerate(order):
        axes = figure.add_subplot(rows, columns, place + 1)
        _show(axes, images[i])
        axes.set_title(f"is {_short(mistakes['actual'][i], 14)}", fontsize=9, color=INK, parse_math=False)
        words = f"said {_short(mistakes['predicted'][i], 13)}\n{percent(mistakes['confidence'][i], 0)} % sure"
        axes.set_xlabel(words, fontsize=9, color=ORANGE, parse_math=False)
    return figure


def stress_bars(evaluations: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Error, NLL and ECE of every evaluation with 95 % intervals; rings mark the value after temperature
    scaling.

    Args:
      evaluations: name -> {"error", "nll", "ece", "interval": name -> (low, high), "scaled": {"nll", "ece"}}.
    """
    if not evaluations:
        return _message("No evaluation to show.")
    figure = _figure(WIDTH, 0.36 * len(evaluations) + 1.1)
    panels = figure.subplots(1, 3, sharey=True)
    kinds = (("error", "Error (%)", 100.0), ("nll", "NLL (nats)", 1.0), ("ece", "ECE (%)", 100.0))
    for axes, (key, title, scale) in zip(panels, kinds, strict=True):
        _restrain(axes, title)
        axes.grid(axis="y", visible=False)
        reach = 0.0
        for place, evaluation in enumerate(evaluations.values()):
            reach = max(reach, _stress_row(axes, place, evaluation, key, scale))
        axes.set_xlim(0, 1.22 * reach if reach > 0 else 1.0)
    panels[0].set_yticks(range(len(evaluations)), [_short(name, 30) for name in evaluations], color=INK)
    panels[0].set_ylim(len(evaluations) - 0.5, -0.5)
    for label in panels[0].get_yticklabels():
        label.set_parse_math(False)
    return figure


def _stress_row(axes: Axes, place: int, evaluation: Mapping[str, Any], key: str, scale: float) -> float:
    """Draws one bar with its interval and ring; returns how far right it reaches."""
    value = scale * as_float(evaluation.get(key))
    if not math.isfinite(value):
        axes.text(0, place, " not available", fontsize=8.5, color=MUTED, va="center")
        return 0.0
    axes.barh(place, value, height=0.58, color=SKY, alpha=0.55)
    ends = [scale * as_float(bound) for bound in (evaluation.get("interval") or {}).get(key) or ()]
    if len(ends) == 2 and all(math.isfinite(end) for end in ends):
        axes.hlines(place, ends[0], ends[1], color=BLUE, linewidth=2)
    scaled = scale * as_float((evaluation.get("scaled") or {}).get(key))
    if key != "error" and math.isfinite(scaled):
        axes.plot(scaled, place, "o", markerfacecolor=PAPER, markeredgecolor=ORANGE, markersize=5.5)
    words = f"{value:.2f}" if scale == 1.0 else f"{value:.1f}"
    axes.text(1, place, words, transform=axes.get_yaxis_transform(), color=INK, fontsize=9, ha="right", va="center")
    return max(x for x in (value, scaled, *ends) if math.isfinite(x))


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)


def _message(text: str) -> Figure:
    """A figure that only says why there is nothing to see."""
    figure = _figure(6.0, 0.8)
    figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=11, color=MUTED)
    return figure


def _restrain(axes: Axes, title: str = "") -> None:
    """Two quiet spines, a faint grid, the title at the left."""
    axes.set_title(title, fontsize=10.5, color=INK, loc="left", parse_math=False)
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.tick_params(colors=MUTED, labelsize=8.5, length=0)
    axes.grid(color=LINE, linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)


def _show(axes: Axes, image: np.ndarray) -> None:
    """One image without ticks: gray for one channel, pixels kept square and sharp when enlarged."""
    pixels = _pixels(image)
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(LINE)


def _pixels(image: np.ndarray) -> UInt8[np.ndarray, "h w *c"]:
    """8-bit pixels for display, (h, w) or (h, w, 3), no side above `MAX_SIDE`.

    Values beyond [0, 1] (noise) show as black or white. Other channel counts than 1 and 3 have no color to
    show: their mean is shown in gray.
    """
    image = np.nan_to_num(np.asarray(image, dtype=np.float64))
    if image.shape[-1] != 3:
        image = image.mean(axis=-1)
    pixels = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    height, width = pixels.shape[:2]
    shrink = MAX_SIDE / max(height, width)
    if shrink < 1:
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
    return pixels


def _floats(values: Any) -> Float[np.ndarray, " n"]:
    return np.array([as_float(value) for value in (() if values is None else values)], dtype=np.float64)


def _short(text: Any, length: int = 15) -> str:
    """`text` on one line of at most `length` characters; of a long list of synonyms the first."""
    line = " ".join(str(text).split())
    if len(line) > length:
        line = line.split(", ")[0]
    return line if len(line) <= length else line[: length - 1] + "…"


def _short_number(value: float, _: Any = None) -> str:
    """1500 as "1.5k", 2000000 as "2M"."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
