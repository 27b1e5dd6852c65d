"""Steps of the input against torch's gradient, and the length with the largest mean confidence."""

import jax.numpy as jnp
import numpy as np
import pytest
from tiny_torch import SHAPE, jax_network, torch_network, torch_step, weights

from mollax.ood.scores import perturb


def test_direction_is_torchs_sign_over_the_deviation(rng):
    pytest.importorskip("torch")
    layers, images = weights(rng), rng.normal(size=(8, *SHAPE))
    network = jax_network(layers, np.float32)
    steps = perturb.direction(
        lambda values: network(values)[:, 0], jnp.asarray(images, jnp.float32), jnp.float32([0.25, 0.5])
    )
    expected = -torch_step(images, lambda values: torch_network(layers)(values)[:, 0].sum()) / [0.25, 0.5]
    np.testing.assert_array_equal(steps, expected.astype(np.float32))


def test_the_best_length_by_hand():
    """Confidence 1 - (x - .3)^2 from x = 0 in steps of 1: best at .3 of the grid, means known, over uneven batches."""
    chosen = perturb.choose(
        lambda images: 1 - (images[:, 0, 0, 0] - 0.3) ** 2,
        jnp.ones_like,
        (jnp.zeros((count, 1, 1, 1), jnp.float32) for count in (3, 1)),
        (0.0, 0.1, 0.3, 0.6),
    )
    assert chosen.epsilon == 0.3
    assert chosen.grid == (0.0, 0.1, 0.3, 0.6)
    np.testing.assert_allclose(chosen.confidences, [0.91, 0.96, 1.0, 0.91], rtol=1e-6)


def test_uneven_batches_count_by_image():
    batches = [jnp.zeros((1, 1, 1, 1), jnp.float32), jnp.ones((3, 1, 1, 1), jnp.float32)]
    chosen = perturb.choose(lambda images: images[:, 0, 0, 0], jnp.zeros_like, batches, (0.0,))
    np.testing.assert_allclose(chosen.confidences, [0.75])


def test_deviations():
    np.testing.assert_array_equal(perturb.channel_deviation(0.5), [0.5])
    np.testing.assert_array_equal(perturb.channel_deviation((0.5, 1)), [0.5, 1.0])
    with pytest.raises(ValueError, match="got none"):
        perturb.channel_deviation(())
    with pytest.raises(ValueError, match="deviation must be in"):
        perturb.channel_deviation(0.0)
