"""The MLP against NumPy, with its dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_variables import drawn

from mollax.models import MLP, count_parameters


def test_logits_agree_with_numpy(rng):
    model = MLP(classes=3, hidden=(7, 5))
    images = rng.normal(size=(4, 3, 5, 2)).astype(np.float32)
    params = drawn(model, rng, 3, 5, 2)["params"]
    x = images.reshape(4, -1).astype(np.float64)
    for name in ("hidden1", "hidden2"):
        x = np.maximum(x @ params["trunk"][name]["kernel"] + params["trunk"][name]["bias"], 0)
    expected = x @ params["linear"]["kernel"] + params["linear"]["bias"]
    apply = jax.jit(lambda x, train: model.apply({"params": params}, x, train=train), static_argnums=1)
    np.testing.assert_allclose(apply(images, False), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(apply(images, False), apply(images, True))
    assert count_parameters(params) == 30 * 7 + 7 + 7 * 5 + 5 + 5 * 3 + 3


def test_feature_maps_are_the_features_at_one_position(rng):
    model = MLP(classes=3, hidden=(6,))
    images = jnp.asarray(rng.normal(size=(2, 8, 8, 1)), jnp.float32)
    variables = drawn(model, rng, 8, 8, 1)
    maps = model.apply(variables, images, train=False, method="feature_maps")
    assert maps.shape == (2, 1, 1, 6)
    features = model.apply(variables, images, train=False, method="features")
    np.testing.assert_array_equal(maps[:, 0, 0], features)


def test_without_hidden_layers_it_is_logistic_regression(rng):
    model = MLP(classes=3, hidden=())
    images = jnp.asarray(rng.normal(size=(2, 2, 2, 3)), jnp.float32)
    variables = drawn(model, rng, 2, 2, 3)
    assert list(variables["params"]) == ["linear"]
    features = model.apply(variables, images, train=False, method="features")
    np.testing.assert_array_equal(features, images.reshape(2, 12))


def test_dropout_zeroes_units_and_scales_the_others(rng):
    model = MLP(classes=3, hidden=(400,), dropout=0.25)
    images = jnp.asarray(rng.normal(size=(8, 4, 4, 1)), jnp.float32)
    variables = drawn(model, rng, 4, 4, 1)
    full = np.asarray(model.apply(variables, images, train=False, method="features"))

    @jax.jit
    def features(key):
        return model.apply(variables, images, train=True, method="features", rngs={"dropout": key})

    def dropped(seed):
        return np.asarray(features(jax.random.key(seed)))

    kept = (dropped(1) != 0)[full > 0]
    # Some 1600 units: a standard deviation of 0.011.
    assert abs(kept.mean() - 0.75) < 0.05
    np.testing.assert_allclose(dropped(1)[dropped(1) != 0], full[dropped(1) != 0] / 0.75, rtol=1e-4)
    np.testing.assert_array_equal(dropped(1), dropped(1))
    assert (dropped(1) != dropped(2)).any()


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\); got 1.0"):
        MLP(classes=10, dropout=1.0)
    with pytest.raises(ValueError, match="each of hidden must be at least 1; got 0"):
        MLP(classes=10, hidden=(5, 0))
