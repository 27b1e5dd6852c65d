"""Fixed boxes of parameters against closed forms, SciPy's uniform law and their own samples."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from compiling import fast

from mollax.invariance.transforms import affine_matrix, dimension
from mollax.invariance.uniform import Uniform

# Compiles several times faster; nothing here runs long.
IMAGES = jnp.zeros((3, 4, 4, 1))


def drawn(module, variables, keys, images=IMAGES, limits=(0.7, 1.0), *, n, matrices=False):
    """Matrix exponentials take seconds to compile: without them unless asked."""
    draws = module.apply(variables, keys, images, n=n, limits=limits)
    return draws if matrices else draws._replace(matrices=jnp.zeros(()))


draw = fast(drawn, static_argnames=("module", "n", "matrices"))


@pytest.mark.parametrize("kind", ["rotation", "rotation_translation", "decoupled", "crop"])
def test_shapes_and_closed_forms(kind, key):
    d, width = dimension(kind), 0.5
    draws = draw(Uniform(kind, width=width), {}, jax.random.split(key, 3), n=8)
    assert draws.params.shape == (3, 8, d)
    assert np.abs(draws.params).max() <= width
    expected = scipy.stats.uniform(-width, 2 * width).logpdf(np.asarray(draws.params)).sum(-1)
    np.testing.assert_allclose(draws.log_density, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(draws.entropy, d * math.log(2 * width), atol=1e-6)
    np.testing.assert_array_equal(draws.penalty, np.zeros(3))
    assert {leaf.dtype.name for leaf in jax.tree.leaves(draws)} == {"float32"}


def test_samples_are_uniform(key):
    draws = draw(Uniform("rotation_translation", width=0.8), {}, key[None], IMAGES[:1], n=2000)
    for column in np.asarray(draws.params[0]).T:
        assert scipy.stats.kstest(column, scipy.stats.uniform(-0.8, 1.6).cdf).pvalue > 1e-3
    assert np.abs(np.corrcoef(np.asarray(draws.params[0]).T) - np.eye(3)).max() < 0.1


@pytest.mark.parametrize("kind", ["decoupled_rotation", "crop"])
def test_matrices_are_those_of_the_params(kind, key):
    module = Uniform(kind, entry_range=0.4)
    draws = draw(module, {}, jax.random.split(key, 3), limits=(0.35, 0.9), n=8, matrices=True)
    one = affine_matrix(draws.params[1, 2], kind=kind, entry_range=0.4, limits=(0.35, 0.9))
    np.testing.assert_allclose(draws.matrices[1, 2], one, atol=1e-6)
    if kind == "crop":
        size, centre = draws.matrices[..., 0, 0], draws.matrices[..., 0, 2]
        assert (np.abs(centre) + size <= 1 + 1e-6).all()


def test_a_draw_depends_on_its_key_alone(key):
    keys, module = jax.random.split(key, 3), Uniform("crop")
    assert not jax.tree.leaves(module.init(key, keys, IMAGES, n=1))
    whole = draw(module, {}, keys, n=8)
    np.testing.assert_array_equal(whole.params[1:2], draw(module, {}, keys[1:2], IMAGES[1:2], n=8).params)
    assert not np.allclose(whole.params[0], whole.params[1])
    mapped = fast(jax.vmap(lambda k: module.apply({}, k[None], IMAGES[:1], n=8).params[0]))(keys)
    np.testing.assert_allclose(mapped, whole.params, atol=1e-6)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "options, message",
    [
        ({"kind": "rotate"}, "Did you mean 'rotation'"),
        ({"kind": "rotation", "width": 0.0}, r"width must be in \(0"),
        ({"kind": "crop", "width": 1.5}, r"width must be in \(0, 1\]"),
        ({"kind": "rotation", "n": 0}, "n must be at least 1"),
        ({"kind": "rotation", "images": jnp.zeros((3, 4, 4))}, "images must have 4 axes"),
        ({"kind": "rotation", "images": IMAGES[:2]}, "one typed key an image: 2 images, keys of shape"),
        ({"kind": "crop", "limits": (0.0, 1.0)}, "limits of a crop"),
    ],
)
def test_bad_input(options, message, key):
    made = {name: options[name] for name in ("kind", "width") if name in options}
    called = {"images": IMAGES, "n": 1} | {name: options[name] for name in options if name not in made}
    with pytest.raises(ValueError, match=message):
        Uniform(**made).init(key, jax.random.split(key, 3), **called)
