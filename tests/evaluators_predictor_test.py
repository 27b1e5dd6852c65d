"""Predictions cover every image once, whatever the batch size, and draw the same noise."""

import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from mollax import evaluators
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
