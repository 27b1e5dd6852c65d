"""Classifier and critic under one roof: the classifier's contract, and outputs of both from one pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mollax import models, ood


def test_is_the_classifier_with_a_critic_on_its_features(key):
    net = models.create_model("cnn", classes=3, widths=(2, 2, 4, 4))
    model = ood.CriticClassifier(classifier=net, critic=ood.Critic(3, hidden=(5,)))
    images = jax.random.normal(key, (2, 8, 8, 1))
    variables = model.init(key, images[:1], method="start")
    assert set(variables["params"]) == {"classifier", "critic"}
    alone = {"params": variables["params"]["classifier"]}
    np.testing.assert_array_equal(model.apply(variables, images, train=False), net.apply(alone, images, train=False))
    features = model.apply(variables, images, train=False, method="features")
    maps = model.apply(variables, images, train=False, method="feature_maps")
    np.testing.assert_array_equal(features, net.apply(alone, images, train=False, method="features"))
    np.testing.assert_array_equal(maps, net.apply(alone, images, train=False, method="feature_maps"))
    np.testing.assert_array_equal(
        model.apply(variables, features, method="head"), net.apply(alone, features, method="head")
    )
    critic = ood.Critic(3, hidden=(5,)).apply({"params": variables["params"]["critic"]}, features)
    np.testing.assert_array_equal(model.apply(variables, features, method="judge"), critic)
    assert critic.shape == (2, 4)
    assert jnp.all(critic == 0)  # the critic that knows nothing yet


def test_a_critic_on_logits_gives_one_number(key):
    net = models.create_model("mlp", classes=3, hidden=())
    model = ood.CriticClassifier(classifier=net, critic=ood.LogisticUnit(offset=0.5), on="logits")
    images = jax.random.normal(key, (2, 4, 4, 1))
    variables = model.init(key, images[:1], method="start")
    features = model.apply(variables, images, train=False, method="features")
    logits = model.apply(variables, features, method="head")
    judged = model.apply(variables, features, method="judge")
    np.testing.assert_allclose(judged, 0.5 - jax.nn.logsumexp(logits, axis=1)[:, None], rtol=1e-6)
    with pytest.raises(ValueError, match="on must be one of 'features', 'logits'; got 'maps'"):
        ood.CriticClassifier(classifier=net, critic=ood.Critic(3), on="maps")
