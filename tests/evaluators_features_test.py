"""One pass over a split: features, logits, critic and head agree with the network itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from mollax import models, ood
from mollax.data import LazyImages, Split
from mollax.evaluators import FeaturePass
from mollax.image import standardize
from mollax.ood.scores import generalized_odin, odin, rankfeat


@pytest.fixture(scope="module")
def made():
    net = models.create_model("cnn", classes=10, widths=(2, 2, 4, 4))
    model = ood.CriticClassifier(classifier=net, critic=ood.Critic(10, hidden=(3,)))
    variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), method="start")
    # Biases that are not zero.
    variables = jax.tree.map(lambda leaf: leaf + 0.1, variables)
    images, labels = tiny.digits(30)
    one = FeaturePass(model, image_shape=(8, 8, 1), mean=tiny.MEAN, std=tiny.STD, batch_size=12)
    return model, variables, Split(images, labels), one


def shown(split):
    return standardize(jnp.asarray(split.images, jnp.float32) / 255, tiny.MEAN, tiny.STD)


def test_a_pass_is_what_the_network_says(made):
    model, variables, split, one = made
    found = one.run(variables, split)
    features = model.apply(variables, shown(split), train=False, method="features")
    np.testing.assert_allclose(found.features, features, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found.logits, model.apply(variables, shown(split), train=False), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found.critic, model.apply(variables, features, method="judge"), rtol=1e-5, atol=1e-4)
    lazy = Split(LazyImages(split.images.__getitem__, split.images.shape), split.labels)
    np.testing.assert_array_equal(one.run(variables, lazy).features, found.features)


def test_without_a_critic(made):
    model, variables, split, _ = made
    alone = {"params": variables["params"]["classifier"]}
    one = FeaturePass(model.classifier, image_shape=(8, 8, 1), mean=tiny.MEAN, std=tiny.STD, batch_size=12)
    assert one.run(alone, split).critic is None


def test_the_head_as_arrays(made):
    _, variables, split, one = made
    head = jax.device_get(one.head(variables))
    linear = variables["params"]["classifier"]["linear"]
    np.testing.assert_allclose(head.kernel, linear["kernel"], atol=1e-6)
    np.testing.assert_allclose(head.bias, linear["bias"], atol=1e-6)
    found = one.run(variables, split)
    np.testing.assert_allclose(found.features @ head.kernel + head.bias, found.logits, rtol=1e-4, atol=1e-5)


def test_a_decomposed_head_has_similarities_and_no_arrays(made):
    _, _, split, _ = made
    head = ood.DecomposedConfidence(10, kind="inner")
    model = models.create_model("mlp", classes=10, hidden=(6,), confidence=head)
    variables = jax.tree.map(lambda leaf: leaf + 0.1, model.init(jax.random.key(0), shown(split)[:1], train=False))
    one = FeaturePass(model, image_shape=(8, 8, 1), mean=tiny.MEAN, std=tiny.STD, batch_size=15)
    assert one.head(variables) is None
    found = one.run(variables, split)
    inside = {name: tree["confidence"] for name, tree in variables.items()}
    expected = head.apply(inside, jnp.asarray(found.features), train=False)
    np.testing.assert_allclose(found.logits, expected.logits, rtol=1e-4)
    images = shown(split)
    np.testing.assert_allclose(one.network(variables, generalized_odin)(images), expected.similarities, rtol=1e-4)
    np.testing.assert_allclose(one.network(variables, odin)(images), expected.logits, rtol=1e-4)
    state = generalized_odin.fit(found.features, found.logits, np.asarray(split.labels), None, epsilon=0.0)
    scores = one.image_score(generalized_odin)(variables, state, split)
    np.testing.assert_allclose(scores, -expected.similarities.max(1), rtol=1e-4)


@pytest.mark.parametrize("module", [odin, rankfeat])
def test_scores_of_images_and_maps(made, module):
    model, variables, split, one = made
    found = one.run(variables, split)
    state = module.fit(found.features, found.logits, np.asarray(split.labels), one.head(variables))
    scores = one.image_score(module)(variables, state, split)
    if module is odin:
        expected = odin.score(state, shown(split), lambda images: model.apply(variables, images, train=False))
    else:
        expected = rankfeat.score(state, model.apply(variables, shown(split), train=False, method="feature_maps"))
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-6)
    assert np.std(scores) > 0
    batches = list(one.batches(split))
    assert [len(batch) for batch in batches] == [12, 12, 6]
    np.testing.assert_allclose(np.concatenate(batches), shown(split), atol=1e-6)
