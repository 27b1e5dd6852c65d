"""The critic against NumPy, its start, its precision, whose gradients it stops, and its messages."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import fast

from mollax.ood.critic import Critic
from mollax.ood.divergences import divergence_objective


def filled(critic, key, features):
    """Variables, with an output layer that is not zero."""
    variables = jax.device_get(fast(critic.init)(key, features))
    outputs = variables["params"]["outputs"]
    rng = np.random.default_rng(1)
    outputs["kernel"] = np.float32(rng.normal(size=outputs["kernel"].shape))
    outputs["bias"] = np.float32(rng.normal(size=outputs["bias"].shape))
    return variables


def test_starts_at_zero_and_is_what_numpy_computes(key, rng):
    features = jnp.float32(rng.normal(size=(5, 6)))
    critic = Critic(3, hidden=(7, 4))
    variables = fast(critic.init)(key, features)
    np.testing.assert_array_equal(critic.apply(variables, features), np.zeros((5, 4)))
    variables = filled(critic, key, features)
    x = np.asarray(features, np.float64)
    params = variables["params"]
    for layer in ("hidden1", "hidden2"):
        x = np.maximum(x @ params[layer]["kernel"] + params[layer]["bias"], 0)
    expected = x @ params["outputs"]["kernel"] + params["outputs"]["bias"]
    np.testing.assert_allclose(critic.apply(variables, features), expected, rtol=1e-4, atol=1e-5)


def test_linear_by_default(key):
    params = fast(Critic(10).init)(key, jnp.zeros((2, 6)))["params"]
    assert jax.tree.map(jnp.shape, params) == {"outputs": {"kernel": (6, 11), "bias": (11,)}}


def test_hidden_layers_are_he_normal(key):
    kernel = fast(Critic(2, hidden=(400,)).init)(key, jnp.zeros((2, 50)))["params"]["hidden1"]["kernel"]
    assert float(jnp.std(kernel)) == pytest.approx((2 / 50) ** 0.5, rel=0.03)


def test_features_in_half_precision_are_scored_in_float32(key, rng):
    features = jnp.asarray(rng.normal(size=(5, 6)), jnp.bfloat16)
    critic = Critic(3)
    variables = filled(critic, key, features)
    found = critic.apply(variables, features)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, critic.apply(variables, features.astype(jnp.float32)))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype("float32")}


@pytest.mark.parametrize("stop", [False, True])
def test_head_only_gives_the_network_no_gradient(key, rng, stop):
    images, labels = jnp.float32(rng.normal(size=(6, 5))), jnp.array([0, 1, 2, 0, 1, 2])
    network, critic = nn.Dense(4), Critic(3, stop_gradient=stop)
    below, above = network.init(key, images), filled(critic, key, jnp.zeros((1, 4)))

    def objective(below, above):
        free = critic.apply(above, network.apply(below, images))
        return divergence_objective("tv", free, labels, free, np.full(3, 1 / 3), 0.5)

    of_network, of_critic = fast(jax.grad(objective, (0, 1)))(below, above)
    assert any(leaf.any() for leaf in jax.tree.leaves(of_critic))
    assert any(leaf.any() for leaf in jax.tree.leaves(of_network)) is not stop


def test_bad_input(unhooked, key):
    with pytest.raises(ValueError, match="classes must be at least 1; got 0"):
        Critic(0)
    with pytest.raises(TypeError, match=r"each of hidden must be an integer, got 2.5"):
        Critic(3, hidden=(4, 2.5))
    with pytest.raises(ValueError, match=r"features must have 2 axes .* got shape \(2, 3, 3, 4\)"):
        Critic(3).init(key, jnp.zeros((2, 3, 3, 4)))
