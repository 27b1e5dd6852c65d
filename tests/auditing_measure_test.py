"""Numbers of an audit against NumPy and scipy, on few points."""

import jax
import numpy as np
import pytest
from scipy.special import logsumexp

from mollax.auditing import measure
from mollax.auditing.kernels import family
from mollax.auditing.reference import Part
from mollax.drift.kernels import Gaussian


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(n, 5)).astype(np.float32) for name, n in (("bank", 40), ("held", 12), ("new", 9))}


def brute(points, bank, sigma):
    squares = np.square(points[:, None].astype(np.float64) - bank[None]).sum(2)
    return logsumexp(-squares / (2 * sigma**2), axis=1) - np.log(len(bank)) - 2.5 * np.log(2 * np.pi * sigma**2)


def part(points, labels=None):
    return Part(points, None, labels, None, tuple(map(str, range(len(points)))))


def test_densities_do_not_depend_on_chunks(points, monkeypatch):
    expected = brute(points["held"], points["bank"], 0.5)
    np.testing.assert_allclose(measure.densities(points["held"], points["bank"], Gaussian(0.5)), expected, rtol=1e-5)
    monkeypatch.setattr(measure, "CHUNK", 5)
    seen = []
    found = measure.densities(
        points["held"], points["bank"], Gaussian(0.5), show=lambda what, done, total: seen.append((done, total))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert seen == [(5, 12), (10, 12), (12, 12)]


def test_all_devices_take_part(points, monkeypatch):
    """Four virtual devices in tests; a single one reads the bank from the host."""
    seen = []
    real = measure.log_density
    monkeypatch.setattr(
        measure, "log_density", lambda *a, devices: (seen.append(devices), real(*a, devices=devices))[1]
    )
    found = measure.densities(points["new"], points["bank"], Gaussian(0.5))
    np.testing.assert_allclose(found, brute(points["new"], points["bank"], 0.5), rtol=1e-5)
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:1])
    measure.densities(points["new"], points["bank"], Gaussian(0.5))
    assert seen == [jax.devices(), None]


def test_nearest_by_brute_force(points, monkeypatch):
    monkeypatch.setattr(measure, "CHUNK", 7)
    squares = np.square(points["new"][:, None] - points["bank"][None]).sum(2)
    np.testing.assert_array_equal(measure.nearest(points["new"], points["bank"]), squares.argmin(1))


def test_histogram_holds_everything():
    rng = np.random.default_rng(0)
    held, new = rng.normal(size=300), rng.normal(3, 1, 200)
    new[0] = 1e6
    found = measure.histogram(held, new)
    assert len(found["edges"]) == 41
    assert found["edges"][-1] < 10
    assert sum(found["held"]) == pytest.approx(1)
    assert sum(found["new"]) == pytest.approx(1)
    assert sum(measure.histogram(np.ones(3), np.ones(3))["new"]) == pytest.approx(1)


def test_the_curve_is_that_of_single_audits(points):
    labels = np.arange(40, dtype=np.int32) % 2
    bank, held = part(points["bank"], labels), part(points["held"], labels[:12])
    found = family("gaussian", shape=None, run=None)
    curve = measure.theta_curve(found, 0.5, (bank, points["bank"]), (held, points["held"]), points["new"], offset=2.0)
    assert 0.5 in curve["theta"]
    assert len(curve["theta"]) == 9
    for theta, held_value, new_value, confused in zip(
        curve["theta"], curve["held"], curve["new"], curve["confused"], strict=True
    ):
        assert held_value == pytest.approx(-brute(points["held"], points["bank"], theta).mean() - 2, rel=1e-4)
        assert new_value == pytest.approx(-brute(points["new"], points["bank"], theta).mean() - 2, rel=1e-4)
        by_class = [brute(points["held"], points["bank"][labels == k], theta) for k in (0, 1)]
        assert confused == pytest.approx(np.mean(np.argmax(by_class, axis=0) != labels[:12]))
    bare = measure.theta_curve(
        found, 0.5, (part(points["bank"]), points["bank"]), (held, points["held"]), points["new"]
    )
    assert bare["confused"] is None


def test_strengths_stay_in_their_range():
    points = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    found = family("mollifier", shape=(2, 2, 1), run=None)
    curve = measure.theta_curve(found, 0.5, (part(points), points), (part(points[:5]), points[:5]), points[5:9])
    assert 0 < min(curve["theta"]) < max(curve["theta"]) < 1
    assert curve["name"] == "t"


def test_baselines_see_a_large_shift(points):
    other = np.random.default_rng(1).normal(2, 1, (40, 5)).astype(np.float32)
    found = measure.baselines(points["bank"], other, seed=0, permutations=99)
    assert list(found) == ["MMD", "Kolmogorov-Smirnov", "classifier"]
    assert all(row["p_value"] <= 0.01 for row in found.values())
    assert found["classifier"]["value"] > 0.9


def test_standardized_points_keep_their_density_in_pixels():
    """p of pixels = p of standardized points times the product of 1 / std."""
    rng = np.random.default_rng(0)
    pixels = rng.random((3, 2 * 2 * 3)).astype(np.float32)
    mean, std = np.array([0.1, 0.5, 0.2]), np.array([0.5, 0.25, 0.2])
    (scaled,), offset = measure.standardized([pixels], (2, 2, 3), mean, std)
    np.testing.assert_allclose(scaled.reshape(3, 4, 3), (pixels.reshape(3, 4, 3) - mean) / std, rtol=1e-5)
    assert offset == pytest.approx(-4 * np.log(std).sum())
