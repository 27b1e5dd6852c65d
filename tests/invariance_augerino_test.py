"""Augerino's learned box: densities against SciPy, gradients against closed forms, the stop of the penalty."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from compiling import fast

from mollax.invariance.augerino import Augerino
from mollax.invariance.transforms import affine_matrix, dimension

# Compiles several times faster; nothing here runs long.
IMAGES = jnp.zeros((3, 4, 4, 1))


def drawn(module, variables, keys, images=IMAGES, limits=(0.7, 1.0), *, n, matrices=False):
    """Matrix exponentials take seconds to compile: without them unless asked."""
    draws = module.apply(variables, keys, images, n=n, limits=limits)
    return draws if matrices else draws._replace(matrices=jnp.zeros(()))


draw = fast(drawn, static_argnames=("module", "n", "matrices"))


def variables(*values):
    return {"params": {"width": jnp.array(values, jnp.float32)}}


def softplus(v):
    return np.log1p(np.exp(np.asarray(v)))


@pytest.mark.parametrize("kind", ["rotation", "decoupled", "crop"])
def test_starts_at_softplus_of_zero(kind, key):
    d, keys = dimension(kind), jax.random.split(key, 3)
    module = Augerino(kind)
    start = fast(partial(module.init, n=2))(key, keys, IMAGES)
    np.testing.assert_array_equal(start["params"]["width"], np.zeros(d))
    draws = draw(module, start, keys, n=50)
    width = math.tanh(math.log(2)) if kind == "crop" else math.log(2)
    assert 0.8 * width < np.abs(draws.params).max() <= width
    np.testing.assert_allclose(draws.entropy, d * math.log(2 * width), rtol=1e-5)
    np.testing.assert_allclose(draws.penalty, -width * math.sqrt(d), rtol=1e-6)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(draws)} == {"float32"}


def test_density_is_scipys(key):
    raw = np.array([-1.0, 0.3, 2.0])
    widths = softplus(raw)
    draws = draw(Augerino("rotation_translation"), variables(*raw), key[None], IMAGES[:1], n=2000)
    law = scipy.stats.uniform(-widths, 2 * widths)
    params = np.asarray(draws.params[0])
    np.testing.assert_allclose(draws.log_density[0], law.logpdf(params).sum(-1), rtol=1e-5)
    np.testing.assert_allclose(draws.entropy[0], law.entropy().sum(), rtol=1e-5)
    for i, column in enumerate(params.T):
        assert scipy.stats.kstest(column / widths[i], scipy.stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_gradients(key):
    keys, module = jax.random.split(key, 3), Augerino("translation")
    raw = jnp.array([0.4, -0.6])

    def mean(name, function=jnp.asarray):
        gradient = fast(jax.grad(lambda v: jnp.mean(function(getattr(drawn(module, v, keys, n=6000), name)))))
        return gradient({"params": {"width": raw}})["params"]["width"]

    slope = jax.nn.sigmoid(raw)
    widths = softplus(raw)
    # Descent on the penalty widens: d(-||w||) = -w / ||w||.
    np.testing.assert_allclose(mean("penalty"), -widths / np.linalg.norm(widths) * slope, rtol=1e-5)
    np.testing.assert_allclose(mean("entropy"), slope / widths, rtol=1e-5)
    np.testing.assert_allclose(mean("log_density"), -slope / widths, rtol=1e-5)
    # Reparametrised: E[T_i^2] = w_i^2 / 3, the mean of two columns.
    np.testing.assert_allclose(mean("params", jnp.square), widths / 3 * slope, rtol=0.03)


def test_penalty_stops_at_the_largest_width(key):
    keys = jax.random.split(key, 3)

    def penalty(raw, module):
        return jnp.mean(drawn(module, {"params": {"width": raw}}, keys, n=1).penalty)

    raw = jnp.array([9.0, 0.0])
    for module, on in ((Augerino("translation"), True), (Augerino("translation", max_width=9.0), False)):
        value, gradient = fast(jax.value_and_grad(penalty), static_argnums=1)(raw, module)
        assert (value < -9) == on
        assert bool(jnp.all(gradient < 0)) == on
        assert bool(jnp.any(gradient != 0)) == on


@pytest.mark.parametrize("kind", ["rotation_translation", "crop"])
def test_half_width_is_the_box_of_the_authors(kind, key):
    raw, keys = np.array([-1.0, 0.3, 2.0, 0.5])[: dimension(kind)], jax.random.split(key, 3)
    widths = np.tanh(softplus(raw)) if kind == "crop" else softplus(raw)
    whole, half = (draw(Augerino(kind, half_width=on), variables(*raw), keys, n=2000) for on in (False, True))
    np.testing.assert_allclose(half.params, whole.params / 2, rtol=1e-6)
    for draws, reach in ((whole, widths), (half, widths / 2)):
        largest = np.abs(draws.params).max((0, 1))
        assert (largest <= reach * (1 + 1e-6)).all()
        assert (largest > 0.99 * reach).all()
        law = scipy.stats.uniform(-reach, 2 * reach)
        np.testing.assert_allclose(draws.entropy, law.entropy().sum(), rtol=1e-5)
        np.testing.assert_allclose(draws.log_density[0], law.logpdf(0 * draws.params[0]).sum(-1), rtol=1e-5)
    np.testing.assert_array_equal(half.penalty, whole.penalty)
    np.testing.assert_allclose(half.penalty, -np.linalg.norm(widths), rtol=1e-5)
    # It also stops at the same width.
    stopped = draw(Augerino(kind, half_width=True, max_width=0.9 * widths.max()), variables(*raw), keys, n=1)
    np.testing.assert_array_equal(stopped.penalty, 0)


def test_per_image_noise_and_vmap(key):
    keys, module = jax.random.split(key, 3), Augerino("crop")
    start = variables(0, 1, 2, 3)
    whole = draw(module, start, keys, n=50, matrices=True)
    alone = draw(module, start, keys[1:2], IMAGES[1:2], n=50)
    np.testing.assert_allclose(whole.params[1:2], alone.params, rtol=1e-6)
    assert not np.allclose(whole.params[0], whole.params[1])
    mapped = fast(jax.vmap(lambda k: module.apply(start, k[None], IMAGES[:1], n=50).params[0]))(keys)
    np.testing.assert_allclose(mapped, whole.params, atol=1e-6)
    one = affine_matrix(whole.params[2, 1], kind="crop")
    np.testing.assert_allclose(whole.matrices[2, 1], one, atol=1e-6)
    # Crops stay inside, however wide.
    wide = draw(module, variables(9, 9, 9, 9), keys, n=50, matrices=True)
    size, centre = wide.matrices[..., 1, 1], wide.matrices[..., 1, 2]
    assert (np.abs(centre) + size <= 1 + 1e-6).all()


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "options, n, message",
    [
        ({"kind": "afine"}, 1, "Did you mean 'affine'"),
        ({"kind": "affine", "max_width": 0.0}, 1, r"max_width must be in \(0"),
        ({"kind": "affine"}, 0, "n must be at least 1"),
    ],
)
def test_bad_input(options, n, message, key):
    with pytest.raises(ValueError, match=message):
        Augerino(**options).init(key, jax.random.split(key, 3), IMAGES, n=n)
