"""Grids of corrupted pictures and of spectra show what they are given, where it belongs."""

from __future__ import annotations

import numpy as np
import pytest

from mollax.report.spectrum_plots import UNEVEN, corruption_grid, spectrum_grid

GROUPS = {"noise": ("gaussian_noise", "shot_noise"), "blur": ("zoom_blur",)}
NAMES = [name for names in GROUPS.values() for name in names]


def panels(figure) -> dict:
    return {axes.get_title(): axes for axes in figure.axes if axes.get_title()}


def test_pictures_stand_under_their_names(rng):
    images = {name: rng.random((8, 12, 3)) for name in NAMES}
    figure = corruption_grid(images, GROUPS, first_column={"untouched": np.zeros((8, 12, 3))})
    found = panels(figure)
    assert list(found) == ["untouched", "Gaussian noise", "Shot noise", "Zoom blur"]
    shown = np.asarray(found["Zoom blur"].images[0].get_array())
    np.testing.assert_array_equal(shown, np.rint(255 * images["zoom_blur"]).astype(np.uint8))
    assert found["Zoom blur"].get_ylabel() == "blur"
    assert [axes.axison for axes in figure.axes] == [True, True, True, False, True, False]


def test_colors_are_shares_of_an_even_spread(rng):
    spectra = {name: rng.random((6, 6)) + 0.5 for name in NAMES}
    spectra["zoom_blur"] = np.eye(6)
    figure = spectrum_grid(
        {**spectra, "shot_noise": 100 * spectra["gaussian_noise"]},
        GROUPS,
        first_column={"images": np.ones((6, 6))},
        notes={"zoom_blur": "noise 3 %"},
    )
    found = panels(figure)
    pictures = {title: np.asarray(axes.images[0].get_array()) for title, axes in found.items()}
    np.testing.assert_allclose(pictures["images"], 1.0)
    np.testing.assert_allclose(pictures["Gaussian noise"], pictures["Shot noise"])
    assert pictures["Gaussian noise"].mean() == pytest.approx(1.0)
    assert pictures["Zoom blur"][0, 0] == pytest.approx(6.0)
    assert pictures["Zoom blur"][0, 1] == pytest.approx(1 / UNEVEN)
    assert found["Zoom blur"].get_xlabel() == "noise 3 %"
    assert found["images"].images[0].norm(1.0) == pytest.approx(0.5), "an even spread is white"
