"""The averaged mollifier against its mixture and against adaptive integration over t; mass; nodes; bad input."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import fast
from drift_brute import log_density as brute
from drift_brute import mass
from scipy.integrate import quad
from scipy.stats import beta, multivariate_normal

from mollax.drift.averaged_mollifier import AveragedMollifier, fit_nodes
from mollax.drift.density import log_density
from mollax.mollify import blur, blur_scale

SHAPE = (1, 2, 1)


def compiled(bank, kernel):
    """The log-density as a compiled function of points."""
    call = fast(lambda x: log_density(x, jnp.asarray(bank, x.dtype), kernel))
    return lambda x: np.asarray(call(jnp.asarray(x)))


def blurred(bank, t, shape):
    """The bank as the mollifier blurs it at temperature t."""
    images = jnp.asarray(bank.reshape(-1, *shape))
    scale = blur_scale(jnp.float32(t), shape[1])
    return np.asarray(jax.vmap(lambda image: blur(image, scale))(images)).reshape(bank.shape)


def test_the_mixture_written_out(rng):
    shape, floor, nodes = (3, 4, 1), 0.1, 4
    bank, queries = (rng.random((size, 12)).astype(np.float32) for size in (20, 6))
    kernel = AveragedMollifier(shape, floor, 1.0, 3.0, (1.0, 2.0, 1.0), noise_nodes=nodes, blur_nodes=nodes)
    mixture = [(0.25, floor, bank)]
    edges = 2 / np.pi * np.arcsin(floor ** (1 - np.arange(nodes + 1) / nodes))
    mixture.append((0.5 * beta(1, 3).cdf(edges[0]), floor, np.sqrt(1 - floor**2) * bank))
    for k, share in enumerate(np.diff(beta(1, 3).cdf(edges))):
        sigma = floor ** (1 - (k + 0.5) / nodes)
        mixture.append((0.5 * share, sigma, np.sqrt(1 - sigma**2) * bank))
    for k, share in enumerate(np.diff(beta(1, 3).cdf(np.linspace(0, 1, nodes + 1)))):
        mixture.append((0.25 * share, floor, blurred(bank, (k + 0.5) / nodes, shape)))
    assert sum(weight for weight, *_ in mixture) == pytest.approx(1)
    np.testing.assert_allclose(compiled(bank, kernel)(queries), brute(queries, mixture), atol=1e-4)


def test_many_nodes_are_the_integral(rng):
    floor, bank = 0.1, rng.random((3, 2)).astype(np.float32)
    queries = rng.random((4, 2)).astype(np.float32)
    kernel = AveragedMollifier(SHAPE, floor, noise_nodes=200, blur_nodes=100)

    def at(query, center, sigma):
        return multivariate_normal(center, sigma**2 * np.eye(2)).pdf(query)

    def density(query, point):
        def noisy(t):
            sigma = max(np.sin(np.pi * t / 2), floor)
            return beta(1, 2).pdf(t) * at(query, np.sqrt(1 - sigma**2) * point, sigma)

        def blurry(t):
            return beta(1, 2).pdf(t) * at(query, blurred(point[None], t, SHAPE)[0], floor)

        kink = 2 / np.pi * np.arcsin(floor)
        edges = np.linspace(0, 1, 101)
        blurs = sum(blurry(t) for t in (edges[1:] + edges[:-1]) / 2) / 100
        return (at(query, point, floor) + quad(noisy, 0, 1, points=[kink])[0] + blurs) / 3

    expected = [np.log(np.mean([density(query, point) for point in bank])) for query in queries]
    np.testing.assert_allclose(compiled(bank, kernel)(queries), expected, atol=2e-3)


@pytest.mark.parametrize("shares", [(1.0, 1.0, 1.0), (0.0, 0.0, 2.0)])
def test_mass_is_one(rng, shares):
    kernel = AveragedMollifier(SHAPE, 0.3, shares=shares, noise_nodes=5, blur_nodes=3)
    bank = rng.random((3, 2)).astype(np.float32)
    density = compiled(bank, kernel)
    assert mass(lambda x: np.exp(density(x.astype(np.float32))), -6, 7, 2, points=200) == pytest.approx(1, abs=1e-4)


def test_nodes_are_doubled_until_nothing_moves(rng):
    shape = (4, 8, 3)
    bank = rng.random((12, 96)).astype(np.float32)
    queries = (0.9 * bank[:8] + 0.3 * rng.normal(size=(8, 96))).astype(np.float32)
    start = AveragedMollifier(shape, 0.05, shares=(1.0, 1.0, 0.0), noise_nodes=2)
    kernel = fit_nodes(queries, bank, start)
    assert kernel.noise_nodes >= 8
    assert dataclasses.replace(kernel, noise_nodes=start.noise_nodes) == start
    finer = dataclasses.replace(kernel, noise_nodes=4 * kernel.noise_nodes)
    assert np.abs(compiled(bank, finer)(queries) - compiled(bank, kernel)(queries)).max() < 0.15
    with pytest.raises(RuntimeError, match="still move by more than 1e-06 nat at 4 noise nodes"):
        fit_nodes(queries, bank, start, tolerance=1e-6, most=4)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"floor": 0.0}, r"floor must be in \(0, 1\)"),
        ({"floor": 1.0}, r"floor must be in \(0, 1\)"),
        ({"alpha": 0.0}, "alpha must be in"),
        ({"shares": (0.0, 0.0, 0.0)}, "shares must not all be 0"),
        ({"shares": (1.0, -1.0, 0.0)}, "share of noise must be in"),
        ({"shares": (1.0, 1.0)}, "shares must be those of none, noise, blur"),
        ({"noise_nodes": 0}, "noise_nodes must be at least 1"),
        ({"shape": (2, 2)}, "shape must be"),
    ],
)
def test_bad_options(unhooked, options, message):
    with pytest.raises(ValueError, match=message):
        AveragedMollifier(**{"shape": SHAPE, "floor": 0.1, **options})
    with pytest.raises(ValueError, match="2 values; the points have 3"):
        AveragedMollifier(SHAPE, 0.1).groups(3)
