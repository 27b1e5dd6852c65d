"""Corruptions as pictures and as spectra: figure 11 of Heinonen et al., AISTATS 2025, from plain arrays.

A line of a grid is a group of corruptions. Figures as in `mollax.report.plots`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from mollax.report.plots import BLUE, INK, MUTED, ORANGE, PAPER, WIDTH, _figure, _restrain, _show
from mollax.report.table import corruption_words

Groups = Mapping[str, Sequence[str]]
UNEVEN = 10.0  # times more or less than an even spread at which colors end
COLORS = LinearSegmentedColormap.from_list("uneven", [BLUE, "#9fc9e0", PAPER, "#f0b48a", ORANGE])


def corruption_grid(
    images: Mapping[str, Float[np.ndarray, "h w c"]],
    groups: Groups,
    *,
    first_column: Mapping[str, Float[np.ndarray, "h w c"]],
) -> Figure:
    """One picture under every corruption, a line a group (fig 11a).

    Args:
      images: {corruption: the picture under it}, in [0, 1].
      groups: {group: its corruptions}, one line each.
      first_column: {title: picture} at the left of the lines, the untouched picture first.
    """
    height, width = next(iter(first_column.values())).shape[:2]
    figure, grid = _grid(groups, height / width)
    for axes, (title, image) in zip(grid[:, 0], first_column.items(), strict=False):
        _picture(axes, title, image)
    for line, (group, names) in zip(grid, groups.items(), strict=True):
        for axes, name in zip(line[1:], names, strict=False):
            _picture(axes, corruption_words(name), images[name])
        line[1].set_ylabel(group, fontsize=9.5, color=MUTED)
    return figure


def spectrum_grid(
    spectra: Mapping[str, Float[np.ndarray, "h w"]],
    groups: Groups,
    *,
    first_column: Mapping[str, Float[np.ndarray, "h w"]],
    notes: Mapping[str, str],
) -> Figure:
    """How each corruption's change is spread over cosine frequencies, a line a group (fig 11b, eq 16).

    A pixel is a frequency: its change over the mean change of all frequencies, on a logarithmic scale of colors. White
    is an even spread, that of white noise; orange is more than that, blue less. The mean of the image is at the top
    left, fine detail at the bottom right.

    Args:
      spectra: {corruption: mean |DCT change| per frequency}.
      groups: {group: its corruptions}, one line each.
      first_column: {title: spectrum} at the left of the lines, at most one less than there are groups.
      notes: {corruption: words below its panel}.
    """
    figure, grid = _grid(groups, 1.0, words=0.42)
    for axes, (title, spectrum) in zip(grid[:, 0], first_column.items(), strict=False):
        _spectrum(axes, title, spectrum, "")
    for line, (group, names) in zip(grid, groups.items(), strict=True):
        for axes, name in zip(line[1:], names, strict=False):
            _spectrum(axes, corruption_words(name), spectra[name], notes.get(name, ""))
        line[1].set_ylabel(group, fontsize=9.5, color=MUTED)
    grid[0, 0].set_xlabel("→ finer across", fontsize=8, color=MUTED)
    grid[0, 0].set_ylabel("finer down ←", fontsize=8, color=MUTED)
    _color_bar(figure, grid[-1, 0])
    return figure


def _grid(groups: Groups, aspect: float, words: float = 0.3) -> tuple[Figure, np.ndarray]:
    """Empty panels: one column for references, and as many as the longest group has members."""
    columns = 1 + max(len(names) for names in groups.values())
    figure = _figure(WIDTH, len(groups) * (aspect * (WIDTH / columns - 0.15) + words))
    grid = figure.subplots(len(groups), columns, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    return figure, grid


def _picture(axes: Axes, title: str, image: Float[np.ndarray, "h w c"]) -> None:
    axes.set_axis_on()
    _show(axes, image)
    axes.set_title(title, fontsize=9, color=INK)


def _spectrum(axes: Axes, title: str, spectrum: Float[np.ndarray, "h w"], note: str) -> None:
    axes.set_axis_on()
    _restrain(axes)
    axes.grid(visible=False)
    spread = spectrum / spectrum.mean()
    axes.imshow(np.clip(spread, 1 / UNEVEN, UNEVEN), norm=_norm(), cmap=COLORS, interpolation="none", aspect="auto")
    axes.set_box_aspect(1)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(MUTED)
    axes.spines[:].set_linewidth(0.5)
    axes.set_title(title, fontsize=9, color=INK)
    axes.set_xlabel(note, fontsize=8, color=MUTED)


def _norm() -> LogNorm:
    return LogNorm(1 / UNEVEN, UNEVEN)


def _color_bar(figure: Figure, place: Axes) -> None:
    """The scale of colors, in the panel that the references leave free."""
    inside = place.inset_axes((0.05, 0.0, 0.12, 1.0))
    bar = figure.colorbar(ScalarMappable(_norm(), COLORS), cax=inside)
    bar.set_ticks(
        [1 / UNEVEN, 1.0, UNEVEN], labels=[f"1/{UNEVEN:g} of even", "even (white noise)", f"{UNEVEN:g} × even"]
    )
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.tick_params(labelsize=8, colors=MUTED, length=0)
    bar.outline.set_edgecolor(MUTED)
