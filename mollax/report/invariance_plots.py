"""Figures of learned invariance: the transforms that an augmenter draws and what they are good for.

Figures as in `mollax.report.plots`, of the blocks "invariance" and "rotations" of results.json. Angles are degrees,
counter-clockwise as seen; entropies and divergences are nats; parameters are those of the transform. None and NaN
leave a gap. Numbers of figures are those of Singhal et al., ICCV 2023 (METHODS section 2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes
from matplotlib.ticker import FuncFormatter, LogLocator, MultipleLocator

from mollax.checks import same_length
from mollax.report import plots
from mollax.report.legend import height, legend, styles
from mollax.report.plots import BLUE, INK, LINE, MUTED, ORANGE, SKY, WIDTH, _floats, _message, _restrain, _short
from mollax.report.table import as_float, decimal

Block = Mapping[str, Any]
PerClass = Float[np.ndarray, " k"]
MAX_EXAMPLES, COPIES = 8, 6
WEDGES, BINS = 36, 24  # of 10 degrees each; of a parameter's histogram
COMPARED = 3  # images whose pairs of parameters share a panel
MAX_DOTS = 2400  # of a figure of pairs, which bounds the size of a report
MAX_ALIGNED, ALIGNED_COLUMNS = 20, 10  # classes
MAX_NAMED, UNEQUAL = 20, 1.2  # classes whose dots are named; ratio of sizes from which they are an axis
OPPOSITE = {"decoupled_rotation": (0, 1), "decoupled": (1, 3)}  # two entries of the exponent, opposite in rotations
# Inches of an example: the words above it, those below, the gap between its pictures, the room of a histogram's words.
_HEAD, _FOOT, _GAP, _ROOM = 0.44, 0.26, 0.06, {True: 0.3, False: 0.85}
_BOX = np.array([[-1, 1, 1, -1, -1], [-1, -1, 1, 1, -1]])
_DASHED: dict[str, Any] = {"color": MUTED, "linewidth": 1.5, "linestyle": (0, (4, 3))}


def signed(value: Any, digits: int = 2) -> str:
    """A number with a true minus sign, or a dash where there is none."""
    return decimal(value, digits).replace("-", "−")


def degrees(value: Any) -> str:
    """A whole number of degrees, or a dash where there is none."""
    return f"{signed(value, 0)}°" if math.isfinite(as_float(value)) else decimal(None)


def transform_examples(
    examples: Sequence[Block], pictures: Block | None = None, *, parameters: Sequence[str], bound: float | None = None
) -> Figure:
    """Images, copies under six of their drawn transforms, and histograms of all that were drawn for each (fig 4, 8).

    Angles are drawn around a circle, no rotation at the top; the area of a wedge is the share of draws in it. Where
    there are none, every parameter has a histogram of its own, each as high as its fullest bin.

    Args:
      examples: "label", "entropy", "params" (n x d), "angles" (n) or None and "angle_range" (2) or None of each, lists
        or arrays; at most `MAX_EXAMPLES` are shown.
      pictures: "examples" (m, h, w, c) and "drawn" (m, copies, h, w, c) in [0, 1]; None draws the histograms alone.
      parameters: names of the d parameters.
      bound: of the parameters; None takes the largest of those given.

    Raises:
      ValueError: if there are not as many pictures as examples.
    """
    if not examples:
        return _message("No transforms to show.")
    if pictures is not None:
        same_length(("examples", "their images", "their copies"), (examples, pictures["examples"], pictures["drawn"]))
    examples, tables = examples[:MAX_EXAMPLES], [_table(example, len(parameters)) for example in examples]
    reach = bound or max((float(np.abs(table).max(initial=0)) for table in tables), default=0) or 1.0
    turns = any(len(_floats(example.get("angles"))) for example in examples)
    side = 1.2 if turns else 1.0
    small = (side - _GAP) / 2
    strip = 0.0 if pictures is None else side + 2 * _GAP + COPIES // 2 * (small + _GAP)
    most = 4 if pictures is None else 2
    columns, wide = min(most, len(examples)), (WIDTH - 0.1) / most
    tall = _HEAD + max(side, 0.2 * len(parameters)) + _FOOT
    figure = Figure((wide * columns + 0.1, tall * math.ceil(len(examples) / columns)), facecolor=plots.PAPER)
    for i, example in enumerate(examples):
        left, top = 0.1 + wide * (i % columns), tall * (i // columns)
        words = _place(figure, left, top, wide - 0.3, _HEAD)
        words.set_axis_off()
        title = f"{i + 1}  {_short(example['label'], 22 if pictures is None else 40)}"
        words.text(0, 0.62, title, fontsize=10, color=INK, parse_math=False)
        words.text(0, 0.2, _summary(example), fontsize=8.5, color=MUTED)
        top += _HEAD
        if pictures is not None:
            plots._show(_place(figure, left, top, side, side), pictures["examples"][i])
            for j, copy in enumerate(pictures["drawn"][i][:COPIES]):
                x = left + side + 2 * _GAP + j % (COPIES // 2) * (small + _GAP)
                plots._show(_place(figure, x, top + j // (COPIES // 2) * (small + _GAP), small, small), copy)
        left += strip + _ROOM[turns] + (0.3 if turns and pictures is None else 0)
        if turns:
            axes = _place(figure, left, top + 0.14, side - 0.2, side - 0.2, projection="polar")
            assert isinstance(axes, PolarAxes)
            _wedges(axes, _floats(example.get("angles")))
        else:
            axes = _place(figure, left, top, wide - strip - _ROOM[turns] - 0.4, tall - _HEAD - _FOOT)
            _ridges(axes, tables[i], [_short(name.replace("_", " "), 14) for name in parameters], reach)
    return figure


def _place(figure: Figure, x: float, y: float, width: float, high: float, **options: Any) -> Axes:
    """Axes of a place in inches from the left and from the top."""
    across, down = figure.get_size_inches()
    return figure.add_axes((x / across, 1 - (y + high) / down, width / across, high / down), **options)


def _summary(example: Block) -> str:
    words = f"entropy {signed(example.get('entropy'))}"
    # Not percentiles of the angles on a line: the range may contain half a turn.
    if (ends := example.get("angle_range")) is not None:
        words += f" · {' to '.join(map(degrees, ends))}"
    return words


def _table(example: Block, d: int) -> Float[np.ndarray, "n d"]:
    """The parameters of an example, only draws that are finite."""
    given = example.get("params")
    params = np.array([_floats(row) for row in (() if given is None else given)], np.float64).reshape(-1, d)
    return params[np.isfinite(params).all(axis=1)]


def _wedges(axes: PolarAxes, angles: Float[np.ndarray, " n"]) -> None:
    """A histogram around the circle, 0 at the top and positive angles to the left, as images turn."""
    axes.set_theta_zero_location("N")
    axes.set_facecolor("none")
    angles = angles[np.isfinite(angles)]
    step = 360 / WEDGES  # wedges are centred on 0, so that draws which all but stay where they are make one
    counts = np.bincount(np.rint(angles / step).astype(np.int64) % WEDGES, minlength=WEDGES)
    radii = np.sqrt(counts / max(len(angles), 1))
    axes.bar(np.deg2rad(step * np.arange(WEDGES)), radii, np.deg2rad(step), color=SKY, edgecolor=BLUE, linewidth=0.6)
    axes.set_rlim(0, 1.04 * max(radii.max(), 1e-3))
    axes.set_yticks([])
    axes.set_xticks(np.deg2rad([0, 90, 180, 270]), ["0°", "90°", "180°", "−90°"], fontsize=7.5, color=MUTED)
    axes.tick_params(axis="x", pad=-1)
    axes.grid(color=LINE, linewidth=0.6)
    axes.spines["polar"].set_color(LINE)


def _ridges(axes: Axes, params: Float[np.ndarray, "n d"], names: Sequence[str], reach: float) -> None:
    """A histogram for each parameter, one below the other."""
    _restrain(axes)
    edges = np.linspace(-reach, reach, BINS + 1)
    for level, values in enumerate(params.T[::-1]):
        counts = np.histogram(np.clip(values, -reach, reach), edges)[0]
        shape = level + 0.85 * counts / max(counts.max(), 1)
        axes.stairs(shape, edges, baseline=level, fill=True, facecolor=SKY, edgecolor=BLUE, linewidth=0.7)
    axes.set(xlim=(-1.04 * reach, 1.04 * reach), ylim=(0, len(names)))
    _name_rows(axes, np.arange(len(names))[::-1] + 0.35, names, MUTED)
    _three_ticks(axes.xaxis, reach)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)


def _name_rows(axes: Axes, places: Sequence[float] | np.ndarray, names: Sequence[str], color: str) -> None:
    axes.set_yticks(places, names, color=color, fontsize=8.5)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)


def _three_ticks(axis: Axis, reach: float) -> None:
    axis.set_ticks([-reach, 0, reach], [f"−{reach:.2g}", "0", f"{reach:.2g}"], fontsize=8)


def parameter_pairs(
    examples: Sequence[Block], *, parameters: Sequence[str], kind: str = "", bound: float | None = None
) -> Figure:
    """Every two parameters of the drawn transforms against each other, in the box that bounds them (fig 7).

    Of two parameters every example has a panel; of more, every pair has one, with the first `COMPARED` examples in
    colors. A dashed diagonal marks rotations, where a kind is in `OPPOSITE`. At most `MAX_DOTS` draws are shown.

    Args:
      examples, parameters, bound: as in `transform_examples`; the box is left out for None.
      kind: of the transforms.
    """
    d, names = len(parameters), [_short(name.replace("_", " "), 14) for name in parameters]
    pairs = list(combinations(range(d), 2))
    if not pairs or not examples:
        return _message("Pairs need two parameters and an image.")
    examples = examples[: MAX_EXAMPLES if d == 2 else COMPARED]
    tables = [_table(example, d) for example in examples]
    everyone = range(len(examples))
    panels = [(pair, (i,)) for pair in pairs for i in everyone] if d == 2 else [(pair, (*everyone,)) for pair in pairs]
    columns = min({2: 4, 6: 5}.get(d, 3), len(panels))
    rows, size = math.ceil(len(panels) / columns), WIDTH / max(columns, 3)
    labels = [f"{i + 1}  {_short(example['label'], 30)}" for i, example in enumerate(examples)]
    colors = [BLUE] * len(examples) if d == 2 else [style["color"] for style in styles(len(examples))]
    figure = plots._figure(size * columns, 0.98 * size * rows + (height(labels) if d > 2 else 0))
    shown = max(1, MAX_DOTS // (len(pairs) * len(examples)))
    reach = bound or max((float(np.abs(table).max(initial=0)) for table in tables), default=0) or 1.0
    for place, ((first, second), members) in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, columns, place)
        _restrain(axes, labels[members[0]] if d == 2 else "")
        axes.set(xlim=(-1.06 * reach, 1.06 * reach), ylim=(-1.06 * reach, 1.06 * reach), aspect="equal")
        if bound:
            axes.plot(*(bound * _BOX), color=MUTED, linewidth=0.8)
            axes.spines[:].set_visible(False)
        if (first, second) == OPPOSITE.get(kind):
            axes.plot([-reach, reach], [reach, -reach], **_DASHED)
        for i in members:
            x, y = tables[i][:shown, first], tables[i][:shown, second]
            axes.plot(x, y, "o", color=colors[i], markersize=2.6, markeredgewidth=0, alpha=0.6)
        axes.set_xlabel(names[first], fontsize=8.5, color=MUTED, parse_math=False, labelpad=1)
        axes.set_ylabel(names[second], fontsize=8.5, color=MUTED, parse_math=False, labelpad=1)
        _three_ticks(axes.xaxis, reach)
        _three_ticks(axes.yaxis, reach)
    if d > 2:
        legend(figure, labels, [{"color": color, "marker": "o", "linestyle": ""} for color in colors])
    return figure


def input_rotation_band(block: Block) -> Figure:
    """Drawn angles against the rotation of the input: 1 %, 50 % and 99 %, and the median that would undo it.

    Args:
      block: "angles", "low", "median" and "high"; the last three have None where draws have no direction.

    Raises:
      ValueError: if their lengths differ.
    """
    angles, low, median, high = (_floats(block[name]) for name in ("angles", "low", "median", "high"))
    same_length(("angles", "low", "median", "high"), (angles, low, median, high))
    figure = plots._figure(0.75 * WIDTH, 3.9)
    axes = figure.subplots()
    _restrain(axes, "Angles drawn for rotated images")
    axes.fill_between(angles, low, high, color=SKY, alpha=0.3, linewidth=0, label="98 % of the drawn angles")
    axes.plot(angles, median, "o-", color=BLUE, linewidth=2.4, markersize=5, label="their median")
    axes.plot(angles, -angles, color=ORANGE, linewidth=1.4, linestyle=(0, (4, 3)), label="exactly undone", zorder=3)
    if not np.isfinite(median).any():
        box = {"facecolor": plots.PAPER, "edgecolor": LINE}
        words = "the drawn angles have no direction"
        axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=INK, bbox=box, zorder=4)
    _angle_axis(axes.xaxis, angles, "rotation of the input")
    _angle_axis(axes.yaxis, np.concatenate([angles, low, high]), "drawn angle")
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _angle_axis(axis: Axis, angles: Float[np.ndarray, " n"], label: str) -> None:
    """Ticks at parts of a turn."""
    width = np.ptp(angles[np.isfinite(angles)]) if np.isfinite(angles).any() else 0.0
    axis.set_major_locator(MultipleLocator(next((step for step in (1, 2, 5, 15, 30) if width <= 8 * step), 60)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: degrees(value)))
    axis.set_label_text(label, fontsize=9, color=MUTED)


def aligned_means(before: np.ndarray, after: np.ndarray, block: Block) -> Figure:
    """Mean images of classes before and after alignment, each with the class's relative spread (fig 10g).

    Args:
      before, after: (k, h, w, c) in [0, 1]; the first `MAX_ALIGNED` are shown.
      block: "names", "before" and "after" (spreads) of the k classes.

    Raises:
      ValueError: if lengths do not fit.
    """
    names = ("images before", "images after", "names", "before", "after")
    if same_length(names, (before, after, *(block[name] for name in names[2:]))) == 0:
        return _message("No class was aligned.")
    count = min(len(before), MAX_ALIGNED)
    columns = min(count, ALIGNED_COLUMNS)
    rows, cell = math.ceil(count / columns), WIDTH / max(columns, 7)
    figure = plots._figure(max(cell * columns, 2.2), (2 * cell + 0.55) * rows)
    for i in range(count):
        row, column = divmod(i, columns)
        for part, (images, key) in enumerate(((before, "before"), (after, "after"))):
            axes = figure.add_subplot(2 * rows, columns, (2 * row + part) * columns + column + 1)
            plots._show(axes, images[i])
            axes.set_xlabel(f"spread {decimal(block[key][i])}", fontsize=8.5, color=INK)
            if part == 0:
                axes.set_title(_short(block["names"][i], int(cell * 13)), fontsize=9, color=INK, parse_math=False)
            if column == 0:
                axes.set_ylabel(key, fontsize=9, color=MUTED)
    return figure


def rotation_accuracy(angles: Sequence[float], accuracy: Mapping[str, Sequence[Any]]) -> Figure:
    """Accuracy (a fraction for each angle) against the rotation of test images, a line for each method (fig 10e).

    Raises:
      ValueError: if lengths differ.
    """
    if same_length(("angles", *accuracy), (angles, *accuracy.values())) == 0 or not accuracy:
        return _message("No rotation was tested.")
    lines = [{**style, "marker": "os^D"[i % 4], "markersize": 4.5} for i, style in enumerate(styles(len(accuracy)))]
    figure = plots._figure(WIDTH, 3.4 + height(list(accuracy)))
    axes = figure.subplots()
    _restrain(axes, "Accuracy (%)")
    for values, style in zip(accuracy.values(), lines, strict=True):
        axes.plot(_floats(angles), 100 * _floats(values), linewidth=1.9, **style)
    axes.set_ylim(0, 102)
    _angle_axis(axes.xaxis, _floats(angles), "rotation of the test images")
    legend(figure, list(accuracy), lines)
    return figure


def expected_kl_dots(block: Block) -> Figure:
    """How far predictions move when images turn, and accuracy: a dot a class against its size (fig 9, 11).

    Classes of one size would stand on one line: they are listed instead, the steadiest first. Of more than
    `MAX_NAMED` classes only the two extreme ones of a panel are named, or the extreme ones listed.

    Args:
      block: "names", "class_sizes", "ekld" (nats), "accuracy" (fractions), and "degrees".

    Raises:
      ValueError: if lengths differ.
    """
    keys = ("names", "class_sizes", "ekld", "accuracy")
    if same_length(keys, [block[key] for key in keys]) == 0:
        return _message("No class was tested.")
    sizes, moved, right = (_floats(block[key]) for key in keys[1:])
    sizes[~(sizes > 0)] = np.nan  # has no place on a logarithmic axis
    by_size = np.isfinite(sizes).any() and np.nanmax(sizes) > UNEQUAL * np.nanmin(sizes)
    order = np.argsort(np.where(np.isfinite(moved), moved, np.inf), kind="stable")
    if len(order) > MAX_NAMED:
        order = np.concatenate([order[: MAX_NAMED // 2], order[-(MAX_NAMED // 2) :]])
    figure = plots._figure(WIDTH, 3.6 if by_size else 0.24 * len(order) + 1.0)
    panels = figure.subplots(1, 2, sharey=not by_size)
    _restrain(panels[0], f"Expected KL within ±{degrees(block.get('degrees'))} (nats)")
    _restrain(panels[1], "Accuracy (%)")
    for axes, values, color, rise in zip(panels, (moved, 100 * right), (ORANGE, BLUE), (40, -40), strict=True):
        if by_size:
            _against_size(axes, sizes, values, block["names"], color=color, rise=rise)
            axes.set_ylim(bottom=0 if axes is panels[0] else None)
        else:
            axes.plot(values[order], np.arange(len(order)), "o", color=color, markersize=6)
            axes.set_xlim(0, 103 if axes is panels[1] else None)
    if not by_size:
        _name_rows(panels[0], range(len(order)), [_short(block["names"][i], 24) for i in order], INK)
        panels[0].set_ylim(len(order) - 0.5, -0.5)
    return figure


def _against_size(
    axes: Axes, sizes: PerClass, values: PerClass, names: Sequence[Any], *, color: str, rise: float
) -> None:
    """Dots over class sizes; their names lean across the trend, so that neighbors stay clear of each other."""
    axes.semilogx(sizes, values, "o", color=color, markersize=6)
    there = [i for i in range(len(names)) if math.isfinite(sizes[i]) and math.isfinite(values[i])]
    there.sort(key=lambda i: values[i])
    lean: dict[str, Any] = {"rotation": rise, "rotation_mode": "anchor", "va": "center", "textcoords": "offset points"}
    lean |= {"fontsize": 8, "color": INK, "parse_math": False}
    for i in there if len(names) <= MAX_NAMED else {*there[:1], *there[-1:]}:
        axes.annotate(_short(names[i], 14), (sizes[i], values[i]), (4, math.copysign(4, rise)), **lean)
    axes.margins(x=0.12, y=0.25)
    axes.set_xlabel("training images of the class", fontsize=9, color=MUTED)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(plots._short_number))
    axes.minorticks_off()
