"""Figures of the method itself: schedules, degraded images, densities of temperatures and labels, the PNG curve.

As in `mollax.report.plots`: every function takes plain numbers and returns a `matplotlib.figure.Figure`, and
nothing touches pyplot. Equation and figure numbers are those of Heinonen et al., AISTATS 2025; what the
numbers mean is in `mollax.mollify`, which computes them. Temperatures lie in [0, 1], images are floats in
[0, 1] (beyond it they show as black or white), label weights are fractions, shown in percent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon

from mollax.checks import in_range, rank, same_length

# The helpers that give every figure of the package one look.
from mollax.report.plots import BLUE, GREEN, INK, LINE, MUTED, ORANGE, PAPER, SKY, WIDTH, _figure, _restrain, _show

CYCLE = (BLUE, ORANGE, GREEN, SKY)
HEIGHT = math.sqrt(3) / 2  # of the triangle with sides of 1
SNR_SHOWN = (1e-3, 1e3)
RASTER = 241  # points along one side of the square that a simplex is drawn in


def schedule_curves(
    t: Float[np.ndarray, " n"],
    *,
    alpha: Float[np.ndarray, " n"],
    sigma: Float[np.ndarray, " n"],
    snr: Float[np.ndarray, " n"],
    gamma_noise: Mapping[float, Float[np.ndarray, " n"]],
) -> Figure:
    """Signal and noise amplitudes (eq 4), their ratio SNR on a log axis, and label decay (eq 12): figs 1b, 1d.

    Args:
      t: temperatures.
      alpha, sigma: amplitudes of image and noise.
      snr: alpha^2 / sigma^2; an infinity or zero at an end leaves a gap.
      gamma_noise: slope k -> share of the label that is lost.

    Raises:
      ValueError: if lengths differ.
    """
    names = ("t", "alpha", "sigma", "snr", *(f"gamma_noise[{k:g}]" for k in gamma_noise))
    same_length(names, (t, alpha, sigma, snr, *gamma_noise.values()))
    figure = _figure(WIDTH, 2.9)
    amplitudes, ratio, decay = figure.subplots(1, 3)
    _temperature_axis(amplitudes, "Signal and noise: how much of each")
    amplitudes.plot(t, alpha, color=BLUE, linewidth=2, label="image, α = cos(πt/2)")
    amplitudes.plot(t, sigma, color=ORANGE, linewidth=2, label="noise, σ = sin(πt/2)")
    _temperature_axis(ratio, "Signal-to-noise ratio α² / σ²")
    ratio.semilogy(t, np.where(np.isfinite(snr) & (snr > 0), snr, np.nan), color=BLUE, linewidth=2)
    ratio.set_ylim(SNR_SHOWN)
    ratio.minorticks_off()
    ratio.plot([0, 0.5, 0.5], [1, 1, SNR_SHOWN[0]], ":", color=MUTED, linewidth=1.2)
    ratio.plot(0.5, 1, "o", color=ORANGE, markersize=6)
    ratio.annotate(
        "t = ½: as much\nnoise as signal", (0.5, 1), (8, 8), textcoords="offset points", color=INK, fontsize=9
    )
    _temperature_axis(decay, "Share of the label lost to noise, γ")
    for color, (k, gamma) in zip(cycle(CYCLE), gamma_noise.items(), strict=False):
        decay.plot(t, gamma, color=color, linewidth=2, label=f"k = {k:g}")
    for axes in (amplitudes, decay):
        axes.set_ylim(0, 1.02)
        axes.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    return figure


def noise_strip(
    images: Float[np.ndarray, "pictures steps h w c"],
    temperatures: Float[np.ndarray, " steps"],
    snr: Float[np.ndarray, " steps"],
    weights: Float[np.ndarray, " steps"],
) -> Figure:
    """Pictures under growing noise (eq 4), with the SNR and what their label keeps (eq 8, 12).

    Args:
      images: one row a picture, one column a temperature.
      temperatures: of the columns.
      snr: signal-to-noise ratio of each column.
      weights: weight that stays on the true class, the bar and percentage below.

    Raises:
      ValueError: for another rank, or as many temperatures, ratios and weights as there are not columns.
    """
    heads = [f"SNR {'∞' if math.isinf(ratio) else f'{ratio:.2g}'}" for ratio in snr]
    return _strip(images, temperatures, heads, weights)


def blur_strip(
    images: Float[np.ndarray, "pictures steps h w c"],
    temperatures: Float[np.ndarray, " steps"],
    scales: Float[np.ndarray, " steps"],
    weights: Float[np.ndarray, " steps"],
) -> Figure:
    """Pictures under growing blur (eq 5), with its scale in pixels (eq 6) and what their label keeps: fig 2.

    Args:
      images: one row a picture, one column a temperature.
      temperatures: of the columns.
      scales: standard deviation of the blur in pixels.
      weights: weight that stays on the true class, the bar and percentage below.

    Raises:
      ValueError: for another rank, or as many temperatures, scales and weights as there are not columns.
    """
    return _strip(images, temperatures, [f"{scale:.1f} px" for scale in scales], weights)


def _strip(
    images: Float[np.ndarray, "pictures steps h w c"],
    temperatures: Float[np.ndarray, " steps"],
    heads: Sequence[str],
    weights: Float[np.ndarray, " steps"],
) -> Figure:
    rank("images", images, 5, "(pictures, temperatures, height, width, channels)")
    pictures, steps = images.shape[:2]
    names = ("columns of images", "temperatures", "second line of the head", "weights")
    same_length(names, (images[0], temperatures, heads, weights))
    cell = WIDTH / max(steps, 4)
    figure = _figure(cell * steps, 0.96 * cell * pictures * images.shape[2] / images.shape[3] + 0.72)
    grid = figure.subplots(pictures, steps, squeeze=False)
    for row, line in zip(grid, images, strict=True):
        for axes, image in zip(row, line, strict=True):
            _show(axes, image)
    for axes, t, head in zip(grid[0], temperatures, heads, strict=True):
        axes.set_title(f"t = {t:.3g}\n{head}", fontsize=9, color=INK, parse_math=False)
    for axes, weight in zip(grid[-1], map(float, weights), strict=True):
        for end, color in ((1.0, LINE), (min(max(weight, 0.0), 1.0), BLUE)):
            bar = Line2D([0, end], [-0.07, -0.07], color=color, linewidth=4, solid_capstyle="butt")
            bar.set(transform=axes.transAxes, clip_on=False)
            axes.add_artist(bar)
        axes.set_xlabel(f"label {_percent(weight)} %", fontsize=9, color=INK, labelpad=10)
    return figure


def _percent(weight: float) -> str:
    """Two digits: 100, 57, 5.4."""
    return f"{100 * weight:.0f}" if weight >= 0.0995 else f"{100 * weight:.2g}"


def temperature_densities(params: Sequence[tuple[float, float]]) -> Figure:
    """Densities of t ~ Beta(alpha, beta), with the mean in the legend: fig 7.

    Args:
      params: (alpha, beta) pairs.

    Raises:
      ValueError: if an alpha or beta is not positive.
    """
    t = np.linspace(0.0, 1.0, 402)[1:-1]  # a density may be infinite at the ends
    figure = _figure(0.55 * WIDTH, 3.2)
    axes = figure.subplots()
    _temperature_axis(axes, "Density of the temperatures drawn in training")
    styles = ("-",) * len(CYCLE) + ("--",) * len(CYCLE)
    for color, style, (a, b) in zip(cycle(CYCLE), cycle(styles), params, strict=False):
        in_range("alpha", a, 0.0, open_low=True)
        in_range("beta", b, 0.0, open_low=True)
        log_density = (a - 1) * np.log(t) + (b - 1) * np.log1p(-t)
        density = np.exp(log_density + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b))
        label = f"Beta({a:g}, {b:g}), mean {a / (a + b):.2f}"
        axes.plot(t, density, style, color=color, linewidth=2, label=label)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    return figure


def dirichlet_simplex(
    labels: Float[np.ndarray, "n 3"],
    names: Sequence[str],
    *,
    corners: tuple[str, str, str] = ("class 1", "class 2", "class 3"),
) -> Figure:
    """Cross-entropy as a density over predictions, Dir(f | 1 + y) (eq 10, 11), with its mode y / sum(y): fig 4.

    Every point of a triangle is a prediction f over three classes; the closer to a corner, the more of it.
    Colors are on one scale in which the uniform density is 1; lines join points of equal density.

    Args:
      labels: (n, 3) weights y, one panel each; they need not sum to one.
      names: titles of the panels.
      corners: class names.

    Raises:
      ValueError: for another shape, a negative weight or a label without weight.
    """
    rank("labels", labels, 2, "(labels, 3)")
    if same_length(("labels", "names"), (labels, names)) == 0 or labels.shape[1] != 3:
        raise ValueError(f"The simplex is drawn for labels over three classes; got labels of shape {labels.shape}.")
    if (labels < 0).any() or not (labels.sum(axis=1) > 0).all():
        raise ValueError("Every label needs weights of at least 0, and one above it.")
    side, up = np.meshgrid(np.linspace(0, 1, RASTER), np.linspace(0, HEIGHT, RASTER))
    first = up / HEIGHT
    second = 1 - side - first / 2
    probs = np.stack([first, second, 1 - first - second], axis=-1)
    inside = (probs >= -1e-9).all(axis=-1)
    modes = labels / labels.sum(axis=1, keepdims=True)
    peaks = [_relative_density(mode[None], label)[0] for mode, label in zip(modes, labels, strict=True)]
    scale = Normalize(0, max(peaks))
    colors = LinearSegmentedColormap.from_list("paper to blue", [PAPER, SKY, BLUE])
    figure = _figure(WIDTH * len(labels) / 3, 3.45)
    panels = figure.subplots(1, len(labels), squeeze=False)[0]
    for axes, name, label, mode, peak in zip(panels, names, labels, modes, peaks, strict=True):
        density = _relative_density(np.clip(probs, 1e-9, 1), label)
        _triangle(axes, np.where(inside, density, np.nan), scale, colors, corners)
        x, y = mode[2] + mode[0] / 2, mode[0] * HEIGHT
        axes.plot(x, y, "o", color=ORANGE, markeredgecolor=PAPER, markersize=9, clip_on=False, zorder=5)
        axes.set_title(name, fontsize=10.5, color=INK, parse_math=False)
        axes.set_xlabel(f"y = {_vector(label)}\nmode {_vector(mode)}, {peak:.1f} × uniform", fontsize=9, color=INK)
    bar = figure.colorbar(ScalarMappable(scale, colors), ax=panels, shrink=0.7, aspect=18)
    bar.set_label("density (uniform = 1)", fontsize=9, color=MUTED)
    bar.ax.tick_params(colors=MUTED, labelsize=8.5, length=0)
    bar.outline.set_edgecolor(LINE)
    return figure


def _relative_density(probs: Float[np.ndarray, "*n 3"], label: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "*n"]:
    """Dir(f | 1 + y) over the density of the uniform distribution on the simplex, which is Gamma(3) = 2."""
    log_beta = sum(math.lgamma(1 + weight) for weight in label) - math.lgamma(3 + label.sum())
    held = label > 0  # 0 log 0 = 0
    return np.exp((label[held] * np.log(probs[..., held])).sum(axis=-1) - log_beta) / 2


def _triangle(
    axes: Axes,
    density: Float[np.ndarray, "rows columns"],
    scale: Normalize,
    colors: LinearSegmentedColormap,
    corners: tuple[str, str, str],
) -> None:
    """A density over the simplex: class 1 at the top, class 2 at the left, class 3 at the right."""
    axes.set(xlim=(-0.12, 1.12), ylim=(-0.13, HEIGHT + 0.13), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    edge = Polygon([(0, 0), (1, 0), (0.5, HEIGHT)], facecolor="none", edgecolor=MUTED, linewidth=1.2, zorder=4)
    axes.add_patch(edge)
    filled = np.nan_to_num(density)
    picture = axes.imshow(filled, origin="lower", extent=(0, 1, 0, HEIGHT), norm=scale, cmap=colors, aspect="equal")
    picture.set_clip_path(edge)
    x, y = np.linspace(0, 1, RASTER), np.linspace(0, HEIGHT, RASTER)
    levels = np.arange(0.25, scale.vmax or 1.0, 0.25)
    axes.contour(x, y, density, levels=levels, colors=PAPER, linewidths=0.8, alpha=0.8)
    for name, place, vertical in zip(corners, ((0.5, HEIGHT + 0.03), (0, -0.03), (1, -0.03)), "btt", strict=True):
        words = {"b": "bottom", "t": "top"}[vertical]
        axes.text(*place, name, ha="center", va=words, fontsize=9, color=MUTED, parse_math=False)


def _vector(values: Float[np.ndarray, " n"]) -> str:
    return "(" + ", ".join(f"{value:.2f}".rstrip("0").rstrip(".") for value in values) + ")"


def png_curve(
    temperatures: Float[np.ndarray, " n"],
    mean: Float[np.ndarray, " n"],
    sd: Float[np.ndarray, " n"] | None = None,
    *,
    powers: Sequence[float] = (0.5, 1.0, 2.0),
    source: str = "",
) -> Figure:
    """Share of PNG bytes that blur takes from images (eq 13) beside its approximations t^k: fig 3.

    The largest deviation of the mean from t is marked.

    Args:
      temperatures: ascending.
      mean: 1 - size(x_t) / size(x_0), mean over images.
      sd: standard deviation over images, drawn as a band; None leaves it out.
      powers: the k of t^k.
      source: what was measured, to be said below.

    Raises:
      ValueError: if lengths differ.
    """
    same_length(("temperatures", "mean"), (temperatures, mean))
    figure = _figure(0.55 * WIDTH, 3.6)
    axes = figure.subplots()
    _temperature_axis(axes, "Share of PNG bytes lost to blur")
    fine = np.linspace(0, 1, 201)
    for power, style in zip(powers, cycle(("--", "-", ":")), strict=False):
        label = "t" if power == 1 else f"t^{power:g}"
        axes.plot(fine, fine**power, style, color=MUTED, linewidth=1.4, label=label)
    if sd is not None:
        same_length(("temperatures", "sd"), (temperatures, sd))
        axes.fill_between(temperatures, mean - sd, mean + sd, color=SKY, alpha=0.35, linewidth=0)
    label = "measured, mean" + (" ± sd" if sd is not None else "")
    axes.plot(temperatures, mean, "o-", color=BLUE, linewidth=2, markersize=4, label=label)
    worst = int(np.argmax(np.abs(mean - temperatures)))
    t, gap = float(temperatures[worst]), float(mean[worst] - temperatures[worst])
    axes.plot([t, t], [t, mean[worst]], color=ORANGE, linewidth=3, solid_capstyle="butt", zorder=4)
    words = f"farthest from t: {gap:+.3f} at t = {t:.3g}"
    axes.text(0.98, 0.05, words, transform=axes.transAxes, color=ORANGE, fontsize=9, ha="right")
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    if source:
        axes.set_xlabel(f"temperature t\n{source}", fontsize=9, color=MUTED, parse_math=False)
    return figure


def _temperature_axis(axes: Axes, title: str) -> None:
    _restrain(axes, title)
    axes.set_xlim(0, 1)
    axes.set_xlabel("temperature t", fontsize=9, color=MUTED)
