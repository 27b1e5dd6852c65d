"""Kernels against scipy's Gaussians and the mollifier's own blur; each kernel's mass by integration; bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import fast
from drift_brute import by_scipy, mass
from drift_brute import log_density as brute

from mollax.drift.density import log_density
from mollax.drift.kernels import BlurNoise, Gaussian, HeatBlur, Mollifier
from mollax.mollify import blur

IMAGE = (3, 4, 2)


def blurred(bank, scale, shape):
    """The bank blurred by the mollifier's function."""
    images = jnp.asarray(bank.reshape(-1, *shape))
    return np.asarray(jax.vmap(lambda image: blur(image, scale))(images)).reshape(bank.shape)


def density(bank, kernel):
    """The density as a compiled function of points."""
    compiled = fast(lambda x: jnp.exp(log_density(x, jnp.asarray(bank), kernel)))
    return lambda x: compiled(jnp.asarray(x, jnp.float32))


def mixtures(bank):
    """Every kernel beside its mixture, written by hand."""
    angle = 0.3 * np.pi / 2
    return {
        "gaussian": (Gaussian(0.2), [(1.0, 0.2, bank)]),
        "mollifier": (Mollifier(0.3), [(1.0, np.sin(angle), np.cos(angle) * bank)]),
        "blur": (BlurNoise(0.8, 0.15, IMAGE), [(1.0, 0.15, blurred(bank, 0.8, IMAGE))]),
    }


@pytest.mark.parametrize("name", ["gaussian", "mollifier", "blur"])
def test_exact_in_float64(rng, name):
    with jax.enable_x64(True):
        bank, queries = rng.random((40, 24)), rng.random((11, 24))
        kernel, mixture = mixtures(bank)[name]
        blocks = {"query_rows": 4, "bank_rows": 16}
        mine = fast(lambda q, b: log_density(q, b, kernel, **blocks))(jnp.asarray(queries), jnp.asarray(bank))
        assert mine.dtype == jnp.float64
        np.testing.assert_allclose(mine, brute(queries, mixture), rtol=0, atol=1e-6)
        np.testing.assert_allclose(mine, by_scipy(queries, mixture), rtol=1e-8)


def test_blur_is_the_mollifiers(rng):
    images = rng.random((5, 24)).astype(np.float32)
    mine = HeatBlur(IMAGE)(jnp.float32(0.9), jnp.asarray(images), jnp.arange(5))
    np.testing.assert_allclose(mine, blurred(images, 0.9, IMAGE), atol=1e-6)
    assert np.allclose(HeatBlur(IMAGE)(jnp.float32(0), jnp.asarray(images), jnp.arange(5)), images, atol=1e-6)


@pytest.mark.parametrize(
    "kernel, width",
    [
        (Gaussian(0.1), 1),
        (Gaussian(0.3), 2),
        (Mollifier(0.2), 1),
        (Mollifier(1.0), 2),
        (BlurNoise(0.7, 0.2, (1, 2, 1)), 2),
    ],
)
def test_mass_is_one(rng, kernel, width):
    bank = rng.random((3, width)).astype(np.float32)
    total = mass(density(bank, kernel), -6, 7, width, points=130 * width)
    assert total == pytest.approx(1, abs=1e-4)


def test_the_mollifier_at_one_forgets_the_bank(rng):
    queries = rng.normal(size=(5, 3)).astype(np.float32)
    found = density(rng.random((4, 3)).astype(np.float32), Mollifier(1.0))(queries)
    np.testing.assert_allclose(found, np.exp(-np.square(queries).sum(axis=1) / 2) / (2 * np.pi) ** 1.5, rtol=1e-5)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Gaussian(0.0), r"sigma must be in \(0, inf\); got 0.0"),
        (lambda: Gaussian(-1.0), "sigma must be in"),
        (lambda: Gaussian(float("nan")), "sigma must be in"),
        (lambda: Gaussian(jnp.float32(-1.0)), r"sigma must be in \(0, inf\); got -1"),
        (lambda: Gaussian(jnp.ones(2)), "sigma must be in"),
        (lambda: Gaussian(np.float32(0)), "sigma must be in"),
        (lambda: Mollifier(0.0), "t must be in"),
        (lambda: Mollifier(1.01), r"t must be in \(0, 1\]; got 1.01"),
        (lambda: BlurNoise(-0.1, 0.1, IMAGE), "scale must be in"),
        (lambda: BlurNoise(0.1, 0.0, IMAGE), "sigma must be in"),
        (lambda: BlurNoise(0.1, 0.1, (3, 4, 0)), "channels must be at least 1"),
        (lambda: BlurNoise(0.1, 0.1, IMAGE).groups(25), r"shape \(3, 4, 2\), 24 values; the points have 25"),
    ],
)
def test_bad_numbers(unhooked, make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bad_kinds(unhooked):
    with pytest.raises(TypeError, match="sigma must be a number, got 'wide'"):
        Gaussian("wide")
    with pytest.raises(ValueError, match=r"shape must be \(height, width, channels\)"):
        BlurNoise(0.1, 0.1, (3, 4))
