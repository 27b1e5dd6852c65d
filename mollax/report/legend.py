"""Lines of several runs told apart: their colors, and one legend above all panels of a figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mollax.report.plots import BLUE, GREEN, INK, MUTED, ORANGE, SKY, WIDTH, _short

PALETTE = (BLUE, ORANGE, GREEN, "#cc79a7", SKY, "#e69f00", INK, MUTED)  # Okabe and Ito; all but two follow the page
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)))
GROUP_COLORS = {"noise": BLUE, "blur": ORANGE, "weather": GREEN, "digital": SKY}
LONGEST = 44  # characters of a label
CHARACTER = 0.073  # width in inches of a character, about
LINE_HEIGHT = 0.22  # inches


def styles(count: int) -> list[dict[str, Any]]:
    """Color and dash of each run; from the ninth on the colors return with dashed lines."""
    return [
        {"color": PALETTE[i % len(PALETTE)], "linestyle": DASHES[(i // len(PALETTE)) % len(DASHES)]}
        for i in range(count)
    ]


def columns(labels: Sequence[str]) -> int:
    """How many labels fit side by side above a figure of the full width."""
    widest = CHARACTER * max(len(_short(label, LONGEST)) for label in labels) + 0.5
    return max(1, min(len(labels), int(WIDTH / widest)))


def height(labels: Sequence[str]) -> float:
    """Inches that `legend` takes."""
    return LINE_HEIGHT * math.ceil(len(labels) / columns(labels)) + 0.1


def legend(figure: Figure, labels: Sequence[str], lines: Sequence[dict[str, Any]]) -> None:
    """Labels above the panels of a figure with constrained layout.

    Args:
      figure: of the full width.
      labels: of the lines; any text, shortened to `LONGEST` characters.
      lines: color, linestyle, linewidth or marker of each.
    """
    handles = [Line2D([], [], **{"linewidth": 2.0, **line}) for line in lines]
    words = [_short(label, LONGEST) for label in labels]
    drawn = figure.legend(
        handles, words, loc="outside upper left", ncols=columns(labels), frameon=False, fontsize=9, labelcolor=INK
    )
    for text in drawn.get_texts():
        text.set_parse_math(False)
