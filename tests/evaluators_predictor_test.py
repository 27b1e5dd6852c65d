"""Predictions cover every image once, whatever the batch size, and draw the same noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from mollax import evaluators, keys
from mollax.data import Split


@pytest.fixture(scope="module")
def setting():
    network, _, _, state = tiny.problem()
    images, labels = tiny.digits(37)
    stresses = evaluators.create_stresses(["noise:0.5"], mean=tiny.MEAN, std=tiny.STD)
    return network, state.evaluated(), Split(images, labels), stresses


def test_padded_last_batch_changes_nothing(setting):
    network, variables, split, stresses = setting
    expected = network.apply(variables, jnp.asarray((split.images / 255.0 - 0.3) / 0.38, jnp.float32), train=False)
    seen = []
    for size in (16, 37, 100):
        predictor = evaluators.Predictor(network, stresses, batch_size=size, seed=0)
        logits = predictor.logits(variables, split, progress=seen.append)
        np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert seen == [16, 32, 37, 37, 37]


def test_noise_belongs_to_the_image_not_to_the_batch(setting):
    network, variables, split, stresses = setting
    small, large = (evaluators.Predictor(network, stresses, batch_size=size, seed=0) for size in (8, 40))
    noisy = small.logits(variables, split, stress="noise:0.5")
    np.testing.assert_allclose(noisy, large.logits(variables, split, stress="noise:0.5"), atol=1e-4)
    assert np.abs(noisy - small.logits(variables, split)).max() > 0.01
    other = evaluators.Predictor(network, stresses, batch_size=8, seed=1)
    assert np.abs(noisy - other.logits(variables, split, stress="noise:0.5")).max() > 0.01


def test_a_prediction_may_draw_by_the_keys_of_another_stress(setting):
    _, _, split, stresses = setting

    def noise(variables, keys, images):
        """Of the image's brightness nothing, of its key all."""
        return jax.vmap(lambda key: jax.random.normal(key, (3,)))(keys) + 0 * images.sum()

    predictor = evaluators.Predictor(noise, stresses, batch_size=16, seed=0)
    clean = predictor.logits((), split)
    key = keys.stream_key(0, "evaluate/clean")
    for i in (0, 36):  # as serving has them
        own = jax.random.fold_in(jax.random.fold_in(key, i), 1)
        np.testing.assert_allclose(clean[i], jax.random.normal(own, (3,)), atol=1e-6)
    assert np.abs(clean - predictor.logits((), split, stress="noise:0.5")).max() > 0.1
    np.testing.assert_array_equal(clean, predictor.logits((), split, stress="noise:0.5", draws="clean"))
