"""--kernel: what it may say, the kernels that come of it, and the choice of their strength."""

import numpy as np
import pytest

from mollax.auditing.kernels import OPTIONS, choose, family, parse
from mollax.drift.averaged_mollifier import AveragedMollifier
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
