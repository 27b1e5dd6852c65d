"""The choice of theta: known ones are found, leave-one-out regrets little, bad input says so."""

import jax
import numpy as np
import pytest
from drift_brute import log_density as brute

from mollax.drift.kernels import Gaussian
from mollax.drift.theta import choose_theta, class_log_densities, crossed_share, theta_curve


def test_validation_likelihood_finds_a_known_sigma():
    rng = np.random.default_rng(6)
    bank = rng.normal(size=(500, 8)).astype(np.float32)
    for sigma in (0.2, 0.7):
        noise = sigma * rng.normal(size=(1000, 8))
        points = (bank[rng.integers(0, 500, 1000)] + noise).astype(np.float32)
        choice = choose_theta(Gaussian, bank, points=points)
        assert choice.theta == pytest.approx(sigma, rel=0.05)
        assert choice.log_density == choice.curve.max()
        assert list(choice.thetas) == sorted(choice.thetas)
        expected = brute(points, [(1.0, choice.theta, bank)]).mean()
        assert choice.log_density == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("width", [pytest.param(d, marks=() if d in (1, 8) else pytest.mark.slow) for d in range(1, 9)])
def test_leave_one_out_regrets_little(width):
    rng = np.random.default_rng(width)
    bank, fresh = (rng.normal(size=(size, width)).astype(np.float32) for size in (1000, 10_000))
    chosen = choose_theta(Gaussian, bank, sample=None, tolerance=0.02).theta
    thetas = [chosen, *(chosen * np.exp(np.linspace(-1.5, 1.5, 31)))]
    curve = theta_curve(Gaussian, thetas, bank, points=fresh, sample=None)
    assert curve.max() - curve[0] < 0.01
    assert curve.max() - curve[[1, -1]].max() > 0.02  # it could have regretted more


def test_a_bank_of_one_point_has_a_closed_form(rng):
    bank = np.full((1, 3), 4.9, np.float32)
    points = rng.normal(size=(200, 3)).astype(np.float32)
    expected = np.sqrt(np.square(points - bank).mean())
    for same in (bank, np.repeat(bank, 3, axis=0)):
        assert choose_theta(Gaussian, same, points=points).theta == pytest.approx(expected, rel=0.02)
        assert choose_theta(Gaussian, same, points=points, thetas=[1.0, float(expected)]).theta == float(expected)


def test_devices_change_nothing(rng):
    bank, points = (rng.normal(size=(size, 3)).astype(np.float32) for size in (41, 20))
    for options in ({}, {"points": points}):
        one = choose_theta(Gaussian, bank, **options)
        for count in (2, 4):
            several = choose_theta(Gaussian, bank, devices=jax.devices()[:count], **options)
            assert several.theta == pytest.approx(one.theta, rel=1e-3)
            assert several.log_density == pytest.approx(one.log_density, abs=1e-4)
    several = theta_curve(Gaussian, [0.3, 1.0], bank, devices=jax.devices()[:4])
    np.testing.assert_allclose(several, theta_curve(Gaussian, [0.3, 1.0], bank), atol=1e-4)
    with pytest.raises(ValueError, match="devices must name at least one device"):
        choose_theta(Gaussian, bank, devices=[])


def test_candidates_and_samples(rng):
    bank = rng.normal(size=(300, 2)).astype(np.float32)
    thetas = [3.0, 0.02, 0.3]
    choice = choose_theta(lambda sigma: Gaussian(sigma), bank, thetas=thetas, sample=None)
    assert (choice.theta, choice.thetas) == (0.3, tuple(thetas))
    np.testing.assert_array_equal(choice.curve, theta_curve(Gaussian, thetas, bank, sample=None))
    few = theta_curve(Gaussian, thetas, bank, sample=100, seed=1)
    assert np.all(few == theta_curve(Gaussian, thetas, bank, sample=100, seed=1))
    assert np.all(few != theta_curve(Gaussian, thetas, bank, sample=100, seed=2))
    assert np.argmax(few) == 2


def test_strong_kernels_blur_classes(rng):
    labels = np.repeat([0, 1], [300, 30])
    bank = (rng.normal(size=(330, 2)) * [0.1, 1] + np.stack([labels, 0 * labels], 1)).astype(np.float32)
    points, own = bank + np.float32(0.01), labels
    logs = class_log_densities(points, bank, labels, Gaussian(0.2), 2)
    for label in (0, 1):
        expected = brute(points, [(1.0, 0.2, bank[labels == label])])
        np.testing.assert_allclose(logs[:, label], expected, atol=1e-4)
    assert crossed_share(logs, own) < 0.02
    assert crossed_share(logs, 1 - own) > 0.98
    wide = crossed_share(class_log_densities(points, bank, labels, Gaussian(5.0), 2), own)
    assert wide > 0.05


BANK = np.random.default_rng(1).normal(size=(40, 2)).astype(np.float32)
LABELS = np.arange(40) % 2


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: choose_theta(Gaussian, 0 * BANK), "All 40 points of bank are identical"),
        (lambda: choose_theta(Gaussian, BANK[:1]), "two points for leave-one-out; got 1"),
        (lambda: choose_theta(Gaussian, BANK[:1], points=BANK[:1]), "are one point.* give low and high"),
        (lambda: choose_theta(Gaussian, BANK, points=BANK[:, :1]), "points has points of 1 values"),
        (lambda: choose_theta(Gaussian, np.repeat(BANK, 2, axis=0)), "Copies among the points make ever narrower"),
        (lambda: choose_theta(Gaussian, BANK, low=1e-3, high=1e-2), "theta = 0.01 of the range. Give a larger `high`"),
        (lambda: choose_theta(Gaussian, BANK, low=2.0, high=1.0), r"high must be in \(2, inf\); got 1.0"),
        (lambda: choose_theta(Gaussian, BANK, low=0.0), "low must be in"),
        (lambda: choose_theta(Gaussian, BANK, thetas=[1.0], low=0.1), "Give either thetas, or low and high"),
        (lambda: choose_theta(Gaussian, BANK, thetas=[]), "thetas must name at least one theta"),
        (lambda: theta_curve(Gaussian, [], BANK), "thetas must name at least one theta"),
        (lambda: theta_curve(Gaussian, [0.1], BANK, points=BANK, groups=LABELS), "groups are for leave-one-out"),
        (lambda: theta_curve(Gaussian, [0.1], BANK, sample=0), "sample must be at least 1"),
        (lambda: class_log_densities(BANK, BANK, LABELS, Gaussian(1.0), 3), "no point of class 2"),
        (lambda: class_log_densities(BANK, BANK, LABELS, Gaussian(1.0), 1), "bank_labels must lie in 0 to 0"),
        (lambda: class_log_densities(BANK, BANK, LABELS[:9], Gaussian(1.0), 2), "bank_labels has 9"),
        (lambda: crossed_share(np.zeros((0, 2)), LABELS[:0]), "at least one point"),
    ],
)
def test_bad_input(unhooked, call, message):
    with pytest.raises(ValueError, match=message):
        call()
