"""Spectra of changes over a set: the benchmark's corrupted images, and the training's noise and blur."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft

from mollax import evaluators
from mollax.data import Split
from mollax.evaluators import spectrum

IMAGES = 40


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Smooth gray pictures with a little texture, 8 x 8."""
    rng = np.random.default_rng(0)
    ramps = np.linspace(60, 190, 8)[None, :, None, None] + rng.normal(0, 12, (IMAGES, 8, 8, 1))
    return np.clip(ramps, 0, 255).astype(np.uint8)


def transform(images: np.ndarray) -> np.ndarray:
    return scipy.fft.dctn(images.astype(np.float64) / 255, axes=(1, 2), norm="ortho")


def test_corruptions_are_those_of_the_benchmark(images):
    said = []
    found = evaluators.corruption_spectra(
        images, ["gaussian_noise", "contrast"], severities=(2, 4), progress=lambda *news: said.append(news)
    )
    assert list(found) == ["gaussian_noise", "contrast"]
    assert said[0] == ("gaussian_noise 2", 1, 4)
    assert said[-1] == ("contrast 4", 4, 4)
    split = Split(images, np.zeros(IMAGES, np.int32))
    corrupter = evaluators.Corrupter(batch_size=IMAGES)
    for name, change in found.items():
        changed = [np.asarray(corrupter.split(split, name, severity).images) for severity in (2, 4)]
        expected = np.mean([np.abs(transform(c) - transform(images)).mean(axis=(0, 3)) for c in changed], axis=0)
        np.testing.assert_allclose(change, expected, rtol=1e-4, atol=1e-6)


def test_batches_change_nothing(images, monkeypatch):
    whole = evaluators.corruption_spectra(images, ["pixelate"], severities=(5,))["pixelate"]
    trained = evaluators.mollification_spectra(images, mean=np.array([0.5]), std=np.array([0.3]))
    monkeypatch.setattr(spectrum, "BATCH", 12)
    parts = evaluators.corruption_spectra(images, ["pixelate"], severities=(5,))["pixelate"]
    np.testing.assert_allclose(whole, parts, rtol=1e-5, atol=1e-7)
    again = evaluators.mollification_spectra(images, mean=np.array([0.5]), std=np.array([0.3]))
    for role in ("noise", "blur"):
        np.testing.assert_allclose(trained[role], again[role], rtol=1e-4, atol=1e-6)


def test_training_noise_is_even_and_blur_is_not(images):
    found = evaluators.mollification_spectra(images, mean=np.array([0.5]), std=np.array([0.3]))
    noise, blur = found["noise"], found["blur"]
    off = noise.copy()
    off[0] = off[:, 0] = np.nan  # where the images themselves are strong, their fading adds to the noise
    assert np.nanmax(off) / np.nanmin(off) < 2
    assert blur[0, 0] < 1e-5  # heat keeps the mean
    assert blur[1, 0] > 3 * blur[1:, 1:].mean()  # the ramp runs down, and it is what there is to lose
    milder = evaluators.mollification_spectra(images, mean=np.array([0.5]), std=np.array([0.3]), beta=9.0)
    assert milder["noise"].mean() < 0.7 * noise.mean()


def test_noise_scales_with_the_deviation_it_is_standardized_by():
    flat = np.full((60, 8, 8, 1), 128, np.uint8)
    one, two = (
        evaluators.mollification_spectra(flat, mean=np.array([128 / 255]), std=np.array([std]))["noise"]
        for std in (0.1, 0.2)
    )
    np.testing.assert_allclose(two, 2 * one, rtol=1e-3)
    # E|sigma eps| over t ~ Beta(1, 2): sqrt(2 / pi) times E sin(pi t / 2) = 2 int (1 - t) sin(pi t / 2) dt.
    expected = 0.1 * np.sqrt(2 / np.pi) * 2 * (2 / np.pi - 4 / np.pi**2)
    assert one.mean() == pytest.approx(expected, rel=0.15)


def test_spectrum_of_the_images(images):
    np.testing.assert_allclose(
        evaluators.image_spectrum(images), np.abs(transform(images)).mean(axis=(0, 3)), rtol=1e-4, atol=1e-6
    )


def test_bad_input_is_refused(images):
    with pytest.raises(ValueError, match="at least one image"):
        evaluators.corruption_spectra(images[:0])
    with pytest.raises(ValueError, match="gausian_noise"):
        evaluators.corruption_spectra(images, ["gausian_noise"])
    with pytest.raises(ValueError, match="one severity or more"):
        evaluators.corruption_spectra(images, severities=())
