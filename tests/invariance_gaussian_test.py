"""The probabilistic spatial transformer against SciPy's normal law, quadrature of the divergence, closed gradients."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from compiling import fast

from mollax.invariance.gaussian import Gaussian
from mollax.invariance.transforms import affine_matrix, dimension

# Compiles several times faster; nothing here runs long.


class Pose(nn.Module):
    """Pixels as the embedding."""

    @nn.compact
    def __call__(self, images, *, train):
        return nn.tanh(nn.Dense(5)(images.reshape(len(images), -1)))


def drawn(module, variables, keys, images, limits=(0.7, 1.0), *, n, matrices=False):
    """Matrix exponentials take seconds to compile: without them unless asked."""
    draws = module.apply(variables, keys, images, n=n, limits=limits)
    return draws if matrices else draws._replace(matrices=jnp.zeros(()))


draw = fast(drawn, static_argnames=("module", "n", "matrices"))


@pytest.fixture
def images(rng):
    return jnp.asarray(rng.normal(size=(3, 4, 4, 1)), jnp.float32)


@partial(fast, static_argnums=0)
def init(module, key, images):
    return module.init(key, jax.random.split(key, len(images)), images, n=1)


def started(module, key, images, scale=0.3):
    """Variables with an imagined training: the projection's kernel replaced by noise of that scale."""
    variables = init(module, key, images)
    kernel = variables["params"]["projection"]["kernel"]
    variables["params"]["projection"]["kernel"] = scale * jax.random.normal(key, kernel.shape)
    return variables


def moments(module, variables, images):
    """Mean and scale by their definition, in float64."""
    pixels = np.asarray(images, np.float64).reshape(len(images), -1)
    pose, projection = (jax.tree.map(np.float64, variables["params"][name]) for name in ("pose", "projection"))
    e = np.tanh(pixels @ pose["Dense_0"]["kernel"] + pose["Dense_0"]["bias"])
    mean, log_ratio = np.split(e @ projection["kernel"] + projection["bias"], 2, axis=-1)
    return mean, module.prior_scale * np.exp(log_ratio)


@pytest.mark.parametrize("kind", ["rotation", "decoupled"])
def test_draws_are_scipys_normals(kind, key, images):
    module = Gaussian(kind, Pose(), prior_scale=0.2)
    variables = started(module, key, images)
    draws = draw(module, variables, jax.random.split(key, 3), images, n=400)
    mean, scale = moments(module, variables, images)
    assert draws.params.shape == (3, 400, dimension(kind))
    law = scipy.stats.norm(mean[:, None], scale[:, None])
    params = np.asarray(draws.params, np.float64)
    np.testing.assert_allclose(draws.log_density, law.logpdf(params).sum(-1), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(draws.entropy, law.entropy().sum(-1)[:, 0], rtol=1e-4, atol=1e-4)
    assert scipy.stats.kstest(((params - mean[:, None]) / scale[:, None]).ravel(), "norm").pvalue > 1e-3
    assert {leaf.dtype.name for leaf in jax.tree.leaves(draws)} == {"float32"}


def test_matrices_are_those_of_the_params(key, images):
    module = Gaussian("rotation", Pose(), prior_scale=0.4)
    variables = started(module, key, images)
    draws = draw(module, variables, jax.random.split(key, 3), images, n=2, matrices=True)
    one = affine_matrix(draws.params[2, 1], kind="rotation")
    np.testing.assert_allclose(draws.matrices[2, 1], one, atol=1e-6)


def test_penalty_is_the_divergence_by_quadrature(key, images):
    module = Gaussian("translation", Pose(), prior_scale=0.2)
    variables = started(module, key, images)
    penalty = draw(module, variables, jax.random.split(key, 3), images, n=1).penalty
    prior = scipy.stats.norm(0, 0.2)
    for found, means, scales in zip(penalty, *moments(module, variables, images), strict=True):
        total = 0.0
        for mean, scale in zip(means, scales, strict=True):
            law = scipy.stats.norm(mean, scale)
            total += scipy.integrate.quad(
                lambda t, law=law: law.pdf(t) * (law.logpdf(t) - prior.logpdf(t)), mean - 9 * scale, mean + 9 * scale
            )[0]
        np.testing.assert_allclose(found, total, rtol=1e-4)


def test_starts_at_the_prior_around_the_identity(key, images):
    module = Gaussian("affine", Pose(), init_scale=1e-3)
    keys = jax.random.split(key, 3)
    draws = draw(module, init(module, key, images), keys, images, n=500)
    np.testing.assert_allclose(draws.params.mean((0, 1)), np.zeros(6), atol=0.01)
    np.testing.assert_allclose(draws.params.std((0, 1)), np.full(6, 0.1), rtol=0.1)
    assert (draws.penalty >= -1e-6).all()
    assert (draws.penalty < 1e-3).all()


def test_gradients(key, images):
    module = Gaussian("translation", Pose(), prior_scale=0.5)
    variables = started(module, key, images)
    keys = jax.random.split(key, 3)
    mean, scale = moments(module, variables, images)

    def gradient(function, n=1):
        tree = fast(jax.grad(lambda v: function(drawn(module, v, keys, images, n=n))))(variables)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))
        return tree["params"]["projection"]["bias"]

    # With respect to means and logarithms of scales, averaged over three images.
    divergence = gradient(lambda draws: draws.penalty.mean())
    expected = np.concatenate([mean / 0.25, scale**2 / 0.25 - 1], axis=-1).mean(0)
    np.testing.assert_allclose(divergence, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradient(lambda draws: draws.entropy.mean()), [0, 0, 1, 1], atol=1e-6)
    np.testing.assert_allclose(gradient(lambda draws: draws.log_density.mean()), [0, 0, -1, -1], atol=1e-6)
    # E[T^2] = m^2 + s^2, by reparametrisation.
    square = gradient(lambda draws: jnp.mean(jnp.sum(draws.params**2, -1)), n=4000)
    np.testing.assert_allclose(square, np.concatenate([2 * mean, 2 * scale**2], -1).mean(0), rtol=0.08, atol=0.02)


def test_narrow_widens_and_wide_narrows(key, images):
    module = Gaussian("rotation", Pose())
    keys = jax.random.split(key, 3)
    variables = started(module, key, images, scale=0.0)
    for log_ratio in (-1.0, 1.0):
        variables["params"]["projection"]["bias"] = jnp.array([0.0, log_ratio])
        gradient = fast(jax.grad(lambda v: drawn(module, v, keys, images, n=1).penalty.mean()))(variables)
        assert np.sign(gradient["params"]["projection"]["bias"][1]) == np.sign(log_ratio)


def test_per_image_noise_and_vmap(key, images):
    keys = jax.random.split(key, 3)
    module = Gaussian("affine", Pose())
    variables = started(module, key, images)
    whole = draw(module, variables, keys, images, n=4)
    alone = draw(module, variables, keys[1:2], images[1:2], n=4)
    for field in ("params", "log_density", "entropy", "penalty"):
        np.testing.assert_allclose(getattr(whole, field)[1:2], getattr(alone, field), rtol=1e-5, atol=1e-5)
    same = draw(module, variables, keys, jnp.stack([images[0]] * 3), n=4)
    assert not np.allclose(same.params[0], same.params[1])
    np.testing.assert_allclose(same.entropy[0], same.entropy[1], rtol=1e-6)
    mapped = jax.vmap(lambda k, x: draw(module, variables, k[None], x[None], n=4).params[0])(keys, images)
    np.testing.assert_allclose(mapped, whole.params, atol=1e-6)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "options, message",
    [
        ({"kind": "rotations"}, "Did you mean 'rotation'"),
        ({"kind": "crop"}, "crops would leave the image"),
        ({"kind": "rotation", "prior_scale": 0.0}, r"prior_scale must be in \(0"),
        ({"kind": "rotation", "pose": lambda x, train: x}, "embedding that pose returns must have 2 axes"),
    ],
)
def test_bad_input(options, message, key, images):
    with pytest.raises(ValueError, match=message):
        Gaussian(**({"pose": Pose()} | options)).init(key, jax.random.split(key, 3), images, n=1)
