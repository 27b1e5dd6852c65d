"""The flow as an augmenter: densities, penalty, prior, kinds."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mollax import invariance


class Pose(nn.Module):
    """A linear embedding."""

    @nn.compact
    def __call__(self, images, *, train):
        return nn.Dense(5)(images.reshape(len(images), math.prod(images.shape[1:])))


def apply(augmenter, variables, keys, images, n):
    """Compiled: op by op takes longer."""
    return jax.jit(lambda v, k, x: augmenter.apply(v, k, x, n=n))(variables, keys, images)


def made(kind="rotation_translation", **options):
    flow = invariance.TransformFlow(dimension=invariance.dimension(kind), layers=2, widths=(8,), init_scale=0.3)
    augmenter = invariance.FlowAugmenter(kind=kind, pose=Pose(), flow=flow, **options)
    images = jax.random.normal(jax.random.key(1), (3, 4, 4, 1))
    keys = jax.random.split(jax.random.key(2), 3)
    return augmenter, jax.jit(lambda k, x: augmenter.init(jax.random.key(0), k, x, n=2))(keys, images), keys, images


def test_draws_carry_the_exact_density():
    augmenter, variables, keys, images = made()
    draws = apply(augmenter, variables, keys, images, 6)
    assert draws.params.shape == (3, 6, 3)
    again = jax.jit(lambda v, p, x: augmenter.apply(v, p, x, method="log_prob"))(variables, draws.params, images)
    np.testing.assert_allclose(draws.log_density, again, rtol=2e-3, atol=1e-3)  # at the bounds tanh loses digits
    np.testing.assert_allclose(draws.entropy, -draws.log_density.mean(1), rtol=1e-6)
    np.testing.assert_allclose(draws.penalty, -draws.entropy)
    expected = jax.vmap(jax.vmap(lambda p: invariance.affine_matrix(p, kind="rotation_translation")))(draws.params)
    np.testing.assert_allclose(draws.matrices, expected, atol=1e-6)


def test_an_image_draws_the_same_in_any_batch():
    augmenter, variables, keys, images = made()
    together = apply(augmenter, variables, keys, images, 4).params
    alone = apply(augmenter, variables, keys[1:2], images[1:2], 4).params
    np.testing.assert_allclose(together[1], alone[0], atol=1e-6)
    assert jnp.abs(together[0] - together[1]).min() > 0


def test_a_gaussian_prior_adds_the_norm():
    plain, variables, keys, images = made()
    prior, *_ = made(prior_scale=0.5)
    first, second = (apply(augmenter, variables, keys, images, 4) for augmenter in (plain, prior))
    norm = (first.params**2).sum(-1).mean(-1)
    np.testing.assert_allclose(second.penalty - first.penalty, norm / (2 * 0.25), rtol=1e-5)


def test_the_penalty_widens():
    augmenter, variables, keys, images = made()

    def penalty(variables):
        return augmenter.apply(variables, keys, images, n=50).penalty.mean()

    gradient = jax.jit(jax.grad(penalty))(variables)
    moved = jax.tree.map(lambda v, g: v - 0.02 * g, variables, gradient)
    entropy = [float(apply(augmenter, v, keys, images, 500).entropy.mean()) for v in (variables, moved)]
    assert entropy[1] > entropy[0] + 0.01


@pytest.mark.parametrize(
    "change, message",
    [
        ({"kind": "rotation"}, 'kind "rotation" have 1 parameters, but the flow has 3'),
        ({"kind": "turning"}, "kind must be one of"),
        ({"prior_scale": -1.0}, "prior_scale must be in"),
    ],
)
def test_bad_settings(change, message):
    flow = invariance.TransformFlow(dimension=3)
    with pytest.raises(ValueError, match=message):
        invariance.FlowAugmenter(**{"kind": "rotation_translation", "pose": Pose(), "flow": flow, **change})


def test_no_images_give_no_draws():
    augmenter, variables, keys, images = made()
    draws = apply(augmenter, variables, keys[:0], images[:0], 6)
    assert (draws.params.shape, draws.matrices.shape) == ((0, 6, 3), (0, 6, 2, 3))
    assert (draws.log_density.shape, draws.penalty.shape, draws.entropy.shape) == ((0, 6), (0,), (0,))
    assert augmenter.apply(variables, draws.params, images[:0], method="log_prob").shape == (0, 6)


def test_crops_have_no_gaussian_prior():
    flow = invariance.TransformFlow(dimension=4)
    with pytest.raises(
        ValueError, match=r'kind "crop" are a crop of the middle size.*got prior_scale 0.5. Leave it at'
    ):
        invariance.FlowAugmenter(kind="crop", pose=Pose(), flow=flow, prior_scale=0.5)
    assert invariance.FlowAugmenter(kind="crop", pose=Pose(), flow=flow).prior_scale == 0


def test_crops_stay_inside():
    with pytest.raises(ValueError, match=r"Crops with parameters beyond 1 leave the image; the flow's bound is 1\.5"):
        invariance.FlowAugmenter(kind="crop", pose=Pose(), flow=invariance.TransformFlow(dimension=4, bound=1.5))
