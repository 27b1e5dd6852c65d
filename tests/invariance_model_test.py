"""Classifier and augmenter as one: contract of a classifier, warps in [0, 1], averages over draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mollax import image, invariance, models

MEAN, STD = jnp.array([0.3]), jnp.array([0.25])


@pytest.fixture
def made():
    classifier = models.create_model("cnn", classes=4, widths=(2, 2, 4, 4))
    model = invariance.TransformedClassifier(classifier, invariance.Uniform("rotation", width=0.5))
    plain = jax.random.uniform(jax.random.key(1), (3, 16, 16, 1))
    keys = jax.random.split(jax.random.key(2), 3)
    images = image.standardize(plain, MEAN, STD)
    return model, model.init(jax.random.key(0), keys, images, method="start"), keys, images, plain


def test_it_is_its_classifier(made):
    model, variables, _, images, _ = made
    alone = {"params": variables["params"]["classifier"]}
    logits = model.apply(variables, images, train=False)
    np.testing.assert_array_equal(logits, model.classifier.apply(alone, images, train=False))
    features = model.apply(variables, images, train=False, method="features")
    np.testing.assert_array_equal(model.apply(variables, features, method="head"), logits)
    maps = model.apply(variables, images, train=False, method="feature_maps")
    np.testing.assert_array_equal(maps.max(axis=(1, 2)), features)


def test_outside_is_black_not_the_mean(made):
    *_, images, plain = made
    matrix = jnp.broadcast_to(image.translation(5.0, 0.0), (3, 2, 3))
    warped = invariance.warp_standardized(images, matrix, mean=MEAN, std=STD)
    np.testing.assert_allclose(warped, -MEAN[0] / STD[0], rtol=1e-5)
    half = jnp.broadcast_to(image.rotation(0.4), (3, 2, 3))
    expected = image.standardize(jax.vmap(image.affine_warp)(plain, half), MEAN, STD)
    np.testing.assert_allclose(invariance.warp_standardized(images, half, mean=MEAN, std=STD), expected, atol=2e-5)


@pytest.mark.parametrize("average", ["probs", "logits", "log_probs"])
def test_prediction_is_the_average_over_the_draws(made, average):
    model, variables, keys, images, plain = made
    found = invariance.predict(keys, images, model=model, variables=variables, mean=MEAN, std=STD, n=5, average=average)
    matrices = model.apply(variables, keys, images, n=5, method="draw").matrices
    each = []
    for i in range(3):
        warped = jnp.stack([image.affine_warp(plain[i], m) for m in matrices[i]])
        each.append(model.apply(variables, image.standardize(warped, MEAN, STD), train=False))
    np.testing.assert_allclose(found, invariance.average_predictions(jnp.stack(each), average=average), atol=1e-4)


def test_rejection_keeps_small_transforms_and_the_image(made):
    model, variables, keys, images, _ = made
    # None of the rotations is so small, so the image alone is left.
    found = invariance.predict(keys, images, model=model, variables=variables, mean=MEAN, std=STD, n=4, radius=1e-9)
    logits = model.apply(variables, images, train=False)
    np.testing.assert_allclose(found, jax.nn.log_softmax(logits), atol=1e-5)


def test_it_runs_under_jit_and_refuses_nonsense(made):
    model, variables, keys, images, _ = made
    common = {"model": model, "mean": MEAN, "std": STD}
    run = jax.jit(lambda v, k, x: invariance.predict(k, x, variables=v, n=2, **common))
    assert run(variables, keys, images).shape == (3, 4)
    for change, message in (({"n": 0}, "n must be at least 1"), ({"n": 1, "radius": -1.0}, "radius must be in")):
        with pytest.raises(ValueError, match=message):
            invariance.predict(keys, images, variables=variables, **common, **change)
