"""--kernel: what it may say, the kernels that come of it, and the choice of their strength."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp

from mollax.auditing import kernels
from mollax.auditing.kernels import OPTIONS, choose, choose_finely, family, parse, without_strength
from mollax.drift.averaged_mollifier import AveragedMollifier, fit_nodes
from mollax.drift.kernels import BlurNoise, Gaussian, Mollifier

SHAPE = (4, 4, 1)


def test_words_are_parsed():
    assert parse("gaussian") == ("gaussian", {"sigma": None})
    assert parse("gaussian:sigma=auto") == ("gaussian", {"sigma": None})
    assert parse("blur_noise:scale=2,sigma=.1") == ("blur_noise", {"sigma": 0.1, "scale": 2.0})
    assert all(parse(name)[1] == options for name, options in OPTIONS.items())


@pytest.mark.parametrize(
    "text, message",
    [
        ("gausian", "kernel must be one of .*Did you mean 'gaussian'"),
        ("gaussian:sgma=1", "option of gaussian must be one of 'sigma'"),
        ("gaussian:sigma=wide", "must be NAME=NUMBER, such as sigma=0.1"),
        ("gaussian:sigma=0", "sigma must be in"),
        ("gaussian:sigma=-1", "sigma must be in"),
        ("mollifier:t=2", "t must be in"),
        ("run", "name it with --workdir"),
    ],
)
def test_mistakes(text, message):
    with pytest.raises(ValueError, match=message):
        family(text, shape=SHAPE, run=None)


def test_features_have_no_image_kernels():
    with pytest.raises(ValueError, match="blur_noise is for pixels; in features use --kernel=gaussian"):
        family("blur_noise", shape=None, run=None)
    assert family("gaussian", shape=None, run=None).make(0.5) == Gaussian(0.5)


def test_kernels_come_of_it():
    assert family("mollifier", shape=SHAPE, run=None).make(0.3) == Mollifier(0.3)
    blur = family("blur_noise:scale=2,sigma=.1", shape=SHAPE, run=None)
    assert blur.make(0.1) == BlurNoise(2.0, 0.1, SHAPE)
    assert (blur.given, blur.text, blur.words(0.1)) == (
        0.1,
        "blur_noise:scale=2",
        "a blur of 2 pixels and Gaussian noise of scale 0.1",
    )
    averaged = family("averaged:beta=3", shape=SHAPE, run=None)
    assert averaged.make(0.2) == AveragedMollifier(SHAPE, 0.2, alpha=1.0, beta=3.0)
    assert averaged.standardized
    assert (averaged.text, averaged.strength) == ("averaged:alpha=1,beta=3", "floor")


def hashes(bank):
    return [row.tobytes()[:16] for row in bank]


def test_the_strength_is_near_that_of_known_noise():
    """Points about three far centers with noise of .1: by leave-one-out the kernel's scale is below, of its order."""
    rng = np.random.default_rng(0)
    bank = (rng.integers(0, 3, (120, 1)) + rng.normal(0, 0.1, (120, 3))).astype(np.float32)
    seen = []
    strength, how = choose(
        family("gaussian", shape=None, run=None),
        np.concatenate([bank, bank[:40]]),  # with copies, which would make ever narrower kernels better
        hashes=hashes(np.concatenate([bank, bank[:40]])),
        show=lambda what, done, total: seen.append((what, done, total)),
    )
    assert 0.02 < strength < 0.12
    assert "leave-one-out likelihood of 120 images of 120" in how
    assert seen[-1] == ("choosing sigma", 27, 27)
    found = family("gaussian:sigma=.3", shape=None, run=None)
    assert choose(found, bank, hashes=hashes(bank)) == (0.3, "as asked for")


def test_a_bank_of_identical_images_says_nothing():
    bank = np.ones((20, 3), np.float32)
    with pytest.raises(ValueError, match="All 20 images of the bank are identical"):
        choose(family("gaussian", shape=None, run=None), bank, hashes=hashes(bank))


@pytest.mark.parametrize(
    "text, command",
    [("mollifier", "--kernel=mollifier:t=0.2"), ("blur_noise:scale=0", "--kernel=blur_noise:scale=0,sigma=0.1")],
)
def test_an_optimum_at_an_end_names_an_option_of_the_command(text, command):
    """Pairs of near-copies: the narrower the kernel, the better."""
    rng = np.random.default_rng(0)
    bank = np.repeat(rng.normal(size=(20, 16)), 2, axis=0) + 1e-7 * rng.normal(size=(40, 16))
    with pytest.raises(ValueError, match="likelihood of images is largest at an end") as raised:
        choose(family(text, shape=SHAPE, run=None), bank.astype(np.float32), hashes=[bytes([i]) for i in range(40)])
    assert command in str(raised.value)
    assert "low`" not in str(raised.value)


def test_the_strength_can_be_chosen_on_other_points():
    """A bank of one point, twice: the likelihood of points at distance r in d dimensions is largest at r / sqrt(d)."""
    bank = np.zeros((2, 4), np.float32)
    bank[1, 0] = 1e-3
    directions = np.random.default_rng(0).normal(size=(50, 4))
    points = (0.002 * directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
    found = replace(family("gaussian", shape=None, run=None), high=1.0)
    strength, how = choose(found, bank * 10, hashes=[b"a", b"b"], points=points * 100)
    squares = np.square((points * 100)[:, None] - bank * 10).sum(2)
    thetas = np.geomspace(0.01, 0.9, 2000)
    logs = [logsumexp(-squares / (2 * s**2), axis=1).mean() - 4 * np.log(s) for s in thetas]
    assert strength == pytest.approx(thetas[np.argmax(logs)], rel=0.05)
    assert "by the likelihood of 50 images of --theta-from" in how


def test_text_without_the_strength():
    assert without_strength(*parse("averaged:floor=.2,beta=3")) == "averaged:alpha=1,beta=3"
    assert without_strength(*parse("gaussian:sigma=.2")) == "gaussian"


def test_nodes_are_fitted_before_the_strength_is_final():
    """Many values need more nodes than an averaged kernel starts with; curve and audit then have the same."""
    shape, rng = (32, 32, 3), np.random.default_rng(0)
    bank = rng.normal(size=(8, 3072)).astype(np.float32)
    some = (bank[:6] + 0.3 * rng.normal(size=(6, 3072))).astype(np.float32)
    found = family("averaged:floor=.01", shape=shape, run=None)
    finer, strength, how = choose_finely(found, bank, some, hashes=hashes(bank))
    kernel = finer.make(strength)
    assert (strength, how) == (0.01, "as asked for")
    assert kernel.noise_nodes > 64
    assert kernel == fit_nodes(some, bank, found.make(0.01))
    assert finer.make(0.2) == dataclasses.replace(kernel, floor=0.2)
    plain = family("gaussian:sigma=1", shape=shape, run=None)
    assert choose_finely(plain, bank, some, hashes=hashes(bank))[0] is plain


def test_the_choice_is_repeated_with_the_nodes_that_it_needs(monkeypatch):
    """Fitting and choice are replaced: what matters is which nodes the last choice had."""
    chosen = []
    monkeypatch.setattr(
        kernels,
        "choose",
        lambda found, bank, **options: (0.1, f"with {chosen.append(found.make(0.1)) or chosen[-1].noise_nodes}"),
    )
    monkeypatch.setattr(
        kernels, "fit_nodes", lambda some, bank, kernel: dataclasses.replace(kernel, noise_nodes=128, blur_nodes=32)
    )
    bank = np.zeros((4, 16), np.float32)
    finer, _, how = choose_finely(family("averaged", shape=SHAPE, run=None), bank, bank, hashes=hashes(bank))
    assert [kernel.noise_nodes for kernel in chosen] == [64, 128]
    assert how == "with 128"
    assert finer.make(0.1).blur_nodes == 32


def test_a_floor_that_is_too_low_names_its_option(monkeypatch):
    def never(some, bank, kernel):
        raise RuntimeError("raise the tolerance, or `most`")

    monkeypatch.setattr(kernels, "fit_nodes", never)
    bank = np.zeros((4, 16), np.float32)
    with pytest.raises(ValueError, match=r"floor of 0.02 is too low .* --kernel=averaged:floor=0.04"):
        choose_finely(family("averaged:floor=.02", shape=SHAPE, run=None), bank, bank, hashes=hashes(bank))
