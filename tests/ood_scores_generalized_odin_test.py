"""Generalised ODIN against torch autograd on a tiny network with a cosine head, by hand, and its epsilon."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import fast
from ood_parity import cast, check_parity, examples
from tiny_torch import SHAPE, jax_network, torch_network, torch_step, weights

from mollax.ood.scores import generalized_odin

DEVIATION = (0.25, 0.5)

score = fast(generalized_odin.score, static_argnums=2)


def cosine(outputs, norm):
    """A bounded similarity, so that confidence has a maximum along the step."""
    return outputs / norm(outputs)


def reference(layers, images, *, epsilon=0.02, deviation=DEVIATION, side=1, pick="max"):
    """By torch: up the gradient of the largest similarity. `sign(-g)` with sign(0) = 1, as in eq 9 of the paper."""
    torch = pytest.importorskip("torch")
    network = torch_network(layers)

    def confidence(values):
        similarities = cosine(network(values), lambda x: x.norm(dim=1, keepdim=True))
        return similarities.amax(1) if pick == "max" else similarities.mean(1)

    step = -torch_step(images, lambda values: -confidence(values).sum()) / np.array(deviation)
    return -confidence(torch.from_numpy(images + side * epsilon * step)).numpy()


def similarity(layers, dtype):
    network = jax_network(layers, dtype)
    return lambda images: cosine(network(images), lambda x: jnp.linalg.norm(x, axis=1, keepdims=True))


def settings(rng, dtype=np.float32, **options):
    return generalized_odin.fit(*cast(examples(rng, count=6), dtype)[:3], None, **options)


def ours(layers, images, dtype, rng, **options):
    with jax.enable_x64(dtype == np.float64):
        state, network = settings(rng, dtype, **options), similarity(layers, dtype)
        values = score(state, jnp.asarray(images, dtype), network)
        assert values.dtype == dtype
    return np.asarray(values, np.float64)


def test_parity(rng):
    layers, images = weights(rng), rng.normal(size=(40, *SHAPE))
    expected = reference(layers, images)
    wrong = {
        "sign": -expected,
        "the step's sign": reference(layers, images, side=-1),
        "no step": reference(layers, images, epsilon=0.0),
        "epsilon": reference(layers, images, epsilon=0.021),
        "no deviation": reference(layers, images, deviation=(1.0, 1.0)),
        "the mean class": reference(layers, images, pick="mean"),
    }
    options = {"epsilon": 0.02, "deviation": DEVIATION}
    double, single = (ours(layers, images, dtype, rng, **options) for dtype in (np.float64, np.float32))
    check_parity(double, single, expected, wrong)


def test_by_hand(rng):
    """h = (x, -x): the larger is |x|, the step of .1 goes away from 0. With one output, g = x: always up."""
    state = settings(rng, epsilon=0.1)
    images = jnp.float32([2, -3]).reshape(2, 1, 1, 1)
    both = score(state, images, lambda x: jnp.concatenate([x[:, 0, 0], -x[:, 0, 0]], axis=1))
    np.testing.assert_allclose(both, [-2.1, -3.1], rtol=1e-6)
    np.testing.assert_allclose(score(state, images, lambda x: x[:, 0, 0]), [-2.1, 2.9], rtol=1e-6)


def test_without_a_step_it_is_the_largest_similarity(rng):
    network = similarity(weights(rng), np.float32)
    images = jnp.asarray(rng.normal(size=(5, *SHAPE)), jnp.float32)
    values = score(settings(rng), images, network)
    np.testing.assert_allclose(values, -np.asarray(network(images)).max(axis=1), rtol=1e-6)


def test_epsilon_is_chosen_on_id_images(rng):
    layers, images = weights(rng), rng.normal(size=(30, *SHAPE))
    grid = (*generalized_odin.EPSILONS, 0.4, 1.6)
    means = [-reference(layers, images, epsilon=epsilon).mean() for epsilon in grid]
    assert 0 < np.argmax(means) < len(grid) - 1
    with jax.enable_x64(True):
        state = settings(rng, np.float64, deviation=DEVIATION)
        batches = (jnp.asarray(images[i : i + 15]) for i in (0, 15))
        new, chosen = generalized_odin.choose_epsilon(state, batches, similarity(layers, np.float64), grid=grid)
        assert float(new.epsilon) == chosen.epsilon == grid[int(np.argmax(means))]
    np.testing.assert_allclose(chosen.confidences, means, rtol=1e-10)


def test_bad_options(rng):
    with pytest.raises(ValueError, match="epsilon must be in"):
        settings(rng, epsilon=-1.0)
    with pytest.raises(ValueError, match="deviation must be in"):
        settings(rng, deviation=-1.0)
    with pytest.raises(ValueError, match="no ID validation images"):
        generalized_odin.choose_epsilon(settings(rng), [], lambda images: images[:, 0, 0])
