"""InstaAug's predicted intervals: SciPy's uniform law between the ends that params show, gradients, bounds."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from compiling import fast

from mollax.invariance.instaaug import InstaAug
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


def started(module, key, images, scale=1.0):
    """Variables with an imagined training: the projection's kernel replaced by noise of that scale."""
    variables = init(module, key, images)
    kernel = variables["params"]["projection"]["kernel"]
    variables["params"]["projection"]["kernel"] = scale * jax.random.normal(key, kernel.shape)
    return variables


def ends(module, variables, images):
    """Lower and upper ends by their definition, in float64."""
    pixels = np.asarray(images, np.float64).reshape(len(images), -1)
    pose, projection = (jax.tree.map(np.float64, variables["params"][name]) for name in ("pose", "projection"))
    e = np.tanh(pixels @ pose["Dense_0"]["kernel"] + pose["Dense_0"]["bias"])
    left, right = np.split(e @ projection["kernel"] + projection["bias"], 2, axis=-1)
    if module.kind != "crop":
        return -module.bound * scipy.special.expit(left - 2), module.bound * scipy.special.expit(right - 2)
    low, high = np.array([0.44, 0.44, 0.86, 0.86]), np.array([0.56, 0.56, 0.98, 0.98])
    b = scipy.special.expit(right + scipy.special.logit(high))
    a = scipy.special.expit(left + scipy.special.logit(low / high))
    return module.bound * (2 * a * b - 1), module.bound * (2 * b - 1)


@pytest.mark.parametrize("kind", ["rotation", "decoupled", "crop"])
def test_draws_are_scipys_uniforms(kind, key, images):
    module = InstaAug(kind, Pose(), bound=0.9)
    variables = started(module, key, images)
    keys = jax.random.split(key, 3)
    draws = draw(module, variables, keys, images, n=400)
    assert draws.params.shape == (3, 400, dimension(kind))
    lower, upper = ends(module, variables, images)
    assert (np.abs(draws.params) <= 0.9 + 1e-6).all()
    width = upper - lower
    shares = (np.asarray(draws.params) - lower[:, None]) / width[:, None]
    assert scipy.stats.kstest(shares.ravel(), "uniform").pvalue > 1e-3
    entropy = scipy.stats.uniform(lower, width).entropy().sum(-1)
    np.testing.assert_allclose(draws.entropy, entropy, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(draws.penalty, -draws.entropy)
    np.testing.assert_allclose(draws.log_density, np.broadcast_to(-entropy[:, None], (3, 400)), rtol=1e-4, atol=1e-4)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(draws)} == {"float32"}


@pytest.mark.parametrize("kind", ["rotation", "crop"])
def test_matrices_are_those_of_the_params(kind, key, images):
    module = InstaAug(kind, Pose())
    variables = started(module, key, images)
    draws = draw(module, variables, jax.random.split(key, 3), images, (0.4, 0.9), n=3, matrices=True)
    one = affine_matrix(draws.params[2, 1], kind=kind, limits=(0.4, 0.9))
    np.testing.assert_allclose(draws.matrices[2, 1], one, atol=1e-6)


def test_start(key, images):
    keys = jax.random.split(key, 3)
    turns = InstaAug("rotation", Pose(), init_scale=1e-3)
    draws = draw(turns, init(turns, key, images), keys, images, n=300)
    # sigmoid(-2) of the range to both sides.
    np.testing.assert_allclose([draws.params.min(), draws.params.max()], [-0.1192, 0.1192], rtol=0.02)
    crops = InstaAug("crop", Pose(), init_scale=1e-3)
    draws = draw(crops, init(crops, key, images), keys, images, n=300)
    found = np.stack([draws.params.min((0, 1)), draws.params.max((0, 1))], -1)
    np.testing.assert_allclose(found, [(-0.12, 0.12)] * 2 + [(0.72, 0.96)] * 2, atol=0.01)


@pytest.mark.parametrize("kind", ["rotation", "crop"])
def test_gradients(kind, key, images):
    module = InstaAug(kind, Pose())
    variables = started(module, key, images)
    keys = jax.random.split(key, 3)

    def mean_square(bias, n):
        changed = {"params": variables["params"] | {"projection": variables["params"]["projection"] | {"bias": bias}}}
        return jnp.mean(jnp.sum(drawn(module, changed, keys, images, n=n).params ** 2, -1))

    def closed_form(bias):
        changed = {"params": variables["params"] | {"projection": variables["params"]["projection"] | {"bias": bias}}}
        lower, upper = ends(module, changed, images)
        return np.mean(np.sum((lower**2 + lower * upper + upper**2) / 3, -1))

    bias = variables["params"]["projection"]["bias"]
    found = fast(jax.grad(mean_square), static_argnums=1)(bias, 4000)
    steps = 1e-4 * np.eye(len(bias))
    expected = [(closed_form(bias + step) - closed_form(bias - step)) / 2e-4 for step in steps]
    np.testing.assert_allclose(found, expected, rtol=0.08, atol=4e-3)
    # Descent on the penalty widens: the entropy rises.
    gradient = fast(jax.grad(lambda v: jnp.mean(drawn(module, v, keys, images, n=3).penalty)))(variables)
    assert all(np.isfinite(leaf).all() and np.any(leaf != 0) for leaf in jax.tree.leaves(gradient))
    moved = jax.tree.map(lambda p, g: p - 0.01 * g, variables, gradient)
    before, after = (draw(module, v, keys, images, n=3).entropy.mean() for v in (variables, moved))
    assert after > before


def test_tiny_and_huge_intervals_stay_finite(key, images):
    keys = jax.random.split(key, 3)
    for kind in ("rotation", "crop"):
        module = InstaAug(kind, Pose())
        variables = started(module, key, images, scale=30.0)

        def total(v, m=module):
            return sum(jnp.mean(leaf) for leaf in jax.tree.leaves(drawn(m, v, keys, images, n=3)))

        value, gradient = fast(jax.value_and_grad(total))(variables)
        assert np.isfinite(value)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_per_image_noise_and_vmap(key, images):
    keys = jax.random.split(key, 3)
    module = InstaAug("crop", Pose())
    variables = started(module, key, images)
    whole = draw(module, variables, keys, images, n=3)
    alone = draw(module, variables, keys[1:2], images[1:2], n=3)
    for field in ("params", "entropy", "penalty"):
        np.testing.assert_allclose(getattr(whole, field)[1:2], getattr(alone, field), atol=1e-6)
    assert not np.allclose(whole.entropy[0], whole.entropy[1])
    same = draw(module, variables, keys, jnp.stack([images[0]] * 3), n=3)
    assert not np.allclose(same.params[0], same.params[1])
    np.testing.assert_allclose(same.entropy[0], same.entropy[1], rtol=1e-6)
    mapped = jax.vmap(lambda k, x: draw(module, variables, k[None], x[None], n=3).params[0])(keys, images)
    np.testing.assert_allclose(mapped, whole.params, atol=1e-6)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "options, message",
    [
        ({"kind": "rotations"}, "Did you mean 'rotation'"),
        ({"kind": "crop", "bound": 1.5}, r"bound must be in \(0, 1\]"),
        ({"kind": "rotation", "bound": -1.0}, r"bound must be in \(0"),
        ({"kind": "rotation", "init_scale": 0.0}, r"init_scale must be in \(0"),
        ({"kind": "rotation", "pose": lambda x, train: x}, "embedding that pose returns must have 2 axes"),
    ],
)
def test_bad_input(options, message, key, images):
    with pytest.raises(ValueError, match=message):
        InstaAug(**({"pose": Pose()} | options)).init(key, jax.random.split(key, 3), images, n=1)
