"""Figures of the method: the numbers that are drawn are those that were given, or those of SciPy."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from typing import Any

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from scipy import stats

from mollax import mollify
from mollax.report import method_plots

T = np.linspace(0, 1, 11)


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def png(figure: Figure) -> np.ndarray:
    """The drawn figure; drawing is where a layout fails."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    return np.asarray(Image.open(buffer))


def schedule(**changed: Any) -> Figure:
    alpha, sigma = np.cos(np.pi * T / 2), np.sin(np.pi * T / 2)
    with np.errstate(divide="ignore"):
        given = {"alpha": alpha, "sigma": sigma, "snr": np.square(alpha / sigma)}
    return method_plots.schedule_curves(T, **{**given, "gamma_noise": {1.0: sigma**2, 2.0: sigma**4}, **changed})


def test_schedule_curves_are_the_numbers_given():
    figure = schedule()
    amplitudes, ratio, decay = figure.axes
    np.testing.assert_allclose(amplitudes.lines[0].get_ydata(), np.cos(np.pi * T / 2))
    np.testing.assert_allclose(amplitudes.lines[1].get_ydata(), np.sin(np.pi * T / 2))
    assert ratio.get_yscale() == "log"
    drawn = np.asarray(ratio.lines[0].get_ydata(), dtype=float)
    assert np.isnan(drawn[0]), "infinite at t = 0"
    np.testing.assert_allclose(drawn[5], 1.0)
    assert [line.get_label() for line in decay.lines] == ["k = 1", "k = 2"]
    np.testing.assert_allclose(decay.lines[1].get_ydata(), np.sin(np.pi * T / 2) ** 4)
    png(figure)


@pytest.mark.usefixtures("unhooked")
def test_schedule_names_what_does_not_fit():
    with pytest.raises(ValueError, match=r"gamma_noise\[2\] has 3"):
        schedule(gamma_noise={2.0: np.zeros(3)})
    with pytest.raises(ValueError, match="snr has 2"):
        schedule(snr=np.ones(2))


STRIPS = {"noise": method_plots.noise_strip, "blur": method_plots.blur_strip}


@pytest.mark.parametrize("kind", STRIPS)
@pytest.mark.parametrize("pictures, steps, channels", [(1, 1, 1), (2, 5, 3)])
def test_strips_show_every_picture_at_every_temperature(kind, pictures, steps, channels, rng):
    images = rng.uniform(-0.5, 1.5, (pictures, steps, 8, 8, channels))
    t = np.linspace(0.25, 1, steps)
    weights = np.linspace(1, 0.054, steps)
    figure = STRIPS[kind](images, t, np.linspace(3, 0.5, steps), weights)
    assert len(figure.axes) == pictures * steps
    shown = np.asarray(figure.axes[-1].images[0].get_array(), dtype=float)
    expected = np.clip(images[-1, -1] if channels == 3 else images[-1, -1, ..., 0], 0, 1)
    np.testing.assert_allclose(shown / 255, expected, atol=0.5 / 255 + 1e-9)
    unit = {"noise": "SNR 3", "blur": "3.0 px"}[kind]
    assert figure.axes[0].get_title() == f"t = 0.25\n{unit}"
    bottom = figure.axes[-steps:]
    assert bottom[0].get_xlabel() == "label 100 %"
    assert steps == 1 or bottom[-1].get_xlabel() == "label 5.4 %"
    ends = [axes.lines[1].get_xdata()[1] for axes in bottom]
    np.testing.assert_allclose(ends, weights)
    png(figure)


def test_no_noise_has_an_infinite_ratio():
    one = np.ones(1)
    figure = method_plots.noise_strip(np.zeros((1, 1, 4, 4, 1)), 0 * one, np.inf * one, one)
    assert "SNR ∞" in texts(figure)
    png(figure)


@pytest.mark.parametrize(
    "weight, words", [(1.0, "100"), (0.9951, "100"), (0.1, "10"), (0.0994, "9.9"), (0.005, "0.5"), (0.0, "0")]
)
def test_weights_have_two_digits(weight, words):
    figure = method_plots.blur_strip(np.zeros((1, 1, 4, 4, 1)), np.zeros(1), np.ones(1), np.full(1, weight))
    assert figure.axes[0].get_xlabel() == f"label {words} %"


@pytest.mark.usefixtures("unhooked")
def test_strips_refuse_what_does_not_fit():
    images = np.zeros((1, 3, 4, 4, 1))
    with pytest.raises(ValueError, match="weights has 2"):
        method_plots.blur_strip(images, np.zeros(3), np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match="images must have 5 axes"):
        method_plots.noise_strip(images[0], np.zeros(3), np.ones(3), np.ones(3))


@pytest.mark.parametrize("pair", [(1.0, 2.0), (2.0, 2.0), (1.0, 9.0), (0.5, 0.5)])
def test_temperature_densities_are_those_of_scipy(pair):
    figure = method_plots.temperature_densities([pair])
    line = figure.axes[0].lines[0]
    t, density = (np.asarray(values, dtype=float) for values in line.get_data())
    np.testing.assert_allclose(density, stats.beta(*pair).pdf(t), rtol=1e-10)
    assert line.get_label() == f"Beta({pair[0]:g}, {pair[1]:g}), mean {stats.beta(*pair).mean():.2f}"
    png(figure)


def test_many_densities_differ_in_color_or_line():
    lines = method_plots.temperature_densities([(1.0, float(b)) for b in range(1, 9)]).axes[0].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 8
    with pytest.raises(ValueError, match="beta must be in"):
        method_plots.temperature_densities([(1.0, 0.0)])


LABELS = np.array([[1.0, 0.0, 0.0], [0.5, 0.0, 0.0], [4 / 6, 1 / 6, 1 / 6], [0.2, 0.3, 0.5]])


def test_simplex_marks_the_modes():
    figure = method_plots.dirichlet_simplex(LABELS, ("one-hot", "tempered", "smoothed", "mixed"))
    panels = figure.axes[:4]
    top, left, right = np.array([0.5, math.sqrt(3) / 2]), np.zeros(2), np.array([1.0, 0.0])
    for axes, mode in zip(panels, np.asarray(mollify.dirichlet_mode(jnp.asarray(LABELS))), strict=True):
        place = np.concatenate([np.asarray(values, dtype=float) for values in axes.lines[0].get_data()])
        np.testing.assert_allclose(place, mode @ np.stack([top, left, right]), atol=1e-6)
    assert [axes.get_title() for axes in panels] == ["one-hot", "tempered", "smoothed", "mixed"]
    assert "y = (0.67, 0.17, 0.17)" in panels[2].get_xlabel()
    assert "mode (1, 0, 0), 3.0 × uniform" in panels[0].get_xlabel()
    png(figure)


@pytest.mark.parametrize("label", LABELS)
def test_simplex_density_is_that_of_scipy(label):
    picture = method_plots.dirichlet_simplex(label[None], ("",)).axes[0].images[0]
    drawn = np.asarray(picture.get_array(), dtype=float)
    side, last = len(drawn), len(drawn) - 1
    for row, column in ((10, 40), (side // 3, side // 2), (side // 2, 100)):
        first = row / last
        second = 1 - column / last - first / 2
        probs = np.array([first, second, 1 - first - second])
        np.testing.assert_allclose(drawn[row, column], stats.dirichlet(1 + label).pdf(probs) / 2, rtol=1e-6)
        ours = mollify.dirichlet_log_density(jnp.asarray(probs), jnp.asarray(label))
        np.testing.assert_allclose(math.log(2 * drawn[row, column]), ours, atol=1e-5)
    assert drawn[-1, 0] == 0, "nothing beside the triangle"


@pytest.mark.parametrize(
    "labels, message",
    [
        (np.array([[0.5, 0.6, -0.1]]), "at least 0"),
        (np.zeros((1, 3)), "one above it"),
        (np.zeros((0, 3)), "over three classes"),
        (np.ones((1, 4)), "over three classes"),
        (np.ones(3), "2 axes"),
    ],
)
@pytest.mark.usefixtures("unhooked")
def test_simplex_refuses_what_is_no_label(labels, message):
    with pytest.raises(ValueError, match=message):
        method_plots.dirichlet_simplex(labels, ("",) * len(labels))


def test_png_curve_marks_the_largest_deviation_from_t():
    mean = T + np.where(np.isclose(T, 0.4), -0.15, 0.05)
    figure = method_plots.png_curve(T, mean, np.full(11, 0.02), source="11 images")
    axes = figure.axes[0]
    assert "farthest from t: -0.150 at t = 0.4" in texts(figure)
    assert "11 images" in axes.get_xlabel()
    lines = {line.get_label(): line for line in axes.lines}
    for name, power in (("t^0.5", 0.5), ("t", 1), ("t^2", 2)):
        x, y = (np.asarray(values, dtype=float) for values in lines[name].get_data())
        np.testing.assert_allclose(y, x**power)
    np.testing.assert_allclose(lines["measured, mean ± sd"].get_ydata(), mean)
    band = axes.collections[0].get_paths()[0].vertices
    np.testing.assert_allclose(band[:, 1].min(), (mean - 0.02).min())
    png(figure)


def test_png_curve_without_deviations_has_no_band():
    figure = method_plots.png_curve(T, T**2)
    assert not figure.axes[0].collections
    assert "± sd" not in texts(figure)


@pytest.mark.usefixtures("unhooked")
def test_png_curve_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="sd has 2"):
        method_plots.png_curve(T, T, np.zeros(2))


def test_figures_need_no_jax():
    code = "import sys, mollax.report.method_plots; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
