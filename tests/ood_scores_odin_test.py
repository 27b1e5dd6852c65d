"""ODIN against torch autograd on a tiny network, by hand, and epsilon chosen on ID images alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import fast
from ood_parity import cast, check_parity, examples
from scipy.special import softmax
from tiny_torch import SHAPE, jax_network, torch_network, torch_step, weights

from mollax.ood.scores import odin

DEVIATION = (0.25, 0.5)

score = fast(odin.score, static_argnums=2)


def reference(layers, images, *, temperature=1000.0, epsilon=0.02, deviation=DEVIATION, side=-1):
    """By torch: cross-entropy with the prediction at T, the sign of its gradient, the step, the softmax."""
    torch = pytest.importorskip("torch")
    network = torch_network(layers)

    def criterion(values):
        logits = network(values)
        return torch.nn.functional.cross_entropy(logits / temperature, logits.argmax(1), reduction="sum")

    moved = images + side * epsilon * torch_step(images, criterion) / np.array(deviation)
    logits = network(torch.from_numpy(moved)).numpy()
    return -softmax(logits / temperature, axis=1).max(axis=1)


def settings(rng, dtype=np.float32, **options):
    return odin.fit(*cast(examples(rng, count=6), dtype), **options)


def ours(layers, images, dtype, rng, **options):
    with jax.enable_x64(dtype == np.float64):
        state = settings(rng, dtype, **options)
        network = jax_network(layers, dtype)
        values = score(state, jnp.asarray(images, dtype), network)
        assert values.dtype == dtype
    return np.asarray(values, np.float64)


@pytest.mark.parametrize("temperature", [1000.0, 1.0])
def test_parity(temperature, rng):
    layers, images = weights(rng), rng.normal(size=(40, *SHAPE))
    expected = reference(layers, images, temperature=temperature)
    wrong = {
        "sign": -expected,
        "the step's sign": reference(layers, images, temperature=temperature, side=1),
        "no step": reference(layers, images, temperature=temperature, epsilon=0.0),
        "epsilon": reference(layers, images, temperature=temperature, epsilon=0.021),
        "no deviation": reference(layers, images, temperature=temperature, deviation=(1.0, 1.0)),
        "deviations exchanged": reference(layers, images, temperature=temperature, deviation=DEVIATION[::-1]),
        "temperature": reference(layers, images, temperature=temperature * 1.1),
    }
    options = {"temperature": temperature, "epsilon": 0.02, "deviation": DEVIATION}
    double, single = (ours(layers, images, dtype, rng, **options) for dtype in (np.float64, np.float32))
    check_parity(double, single, expected, wrong)


def test_by_hand(rng):
    """Logits 2 x and 0 at T = 2: x = 1 steps up to 1.1, so that the score is -sigmoid(1.1); x = 0 ties and steps up."""
    state = settings(rng, temperature=2.0, epsilon=0.05, deviation=0.5)

    def network(images):
        return jnp.concatenate([2 * images[:, 0, 0], jnp.zeros_like(images[:, 0, 0])], axis=1)

    values = score(state, jnp.float32([1, -1, 0]).reshape(3, 1, 1, 1), network)
    np.testing.assert_allclose(values, [-1 / (1 + np.exp(-1.1)), -1 / (1 + np.exp(-1.1)), -1 / (1 + np.exp(-0.1))])


def test_no_gradient_counts_as_positive(rng):
    """sign(0) = 1, so that the step goes down where the network does not care: 4 pixels by .5."""

    def network(images):
        total = jax.lax.stop_gradient(images.sum(axis=(1, 2)))
        return jnp.concatenate([total, jnp.zeros_like(total)], axis=1)

    values = score(settings(rng, epsilon=0.5, temperature=1.0), jnp.ones((1, 2, 2, 1), jnp.float32), network)
    np.testing.assert_allclose(values, [-1 / (1 + np.exp(-2.0))], rtol=1e-6)


def test_examples_do_not_meet(rng):
    layers, images = weights(rng), jnp.asarray(rng.normal(size=(6, *SHAPE)), jnp.float32)
    state, network = settings(rng, epsilon=0.1), jax_network(layers, jnp.float32)
    together = score(state, images, network)
    alone = np.concatenate([score(state, images[i : i + 1], network) for i in range(6)])
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_epsilon_is_chosen_on_id_images(rng):
    """The largest mean of the reference over the grid, whatever the batches."""
    layers, images = weights(rng), rng.normal(size=(30, *SHAPE))
    grid = (0.0, 0.05, 0.2, 0.4, 0.8, 1.6)
    means = [-reference(layers, images, epsilon=epsilon).mean() for epsilon in grid]
    assert 0 < np.argmax(means) < len(grid) - 1
    with jax.enable_x64(True):
        state = settings(rng, np.float64, deviation=DEVIATION)
        network = jax_network(layers, np.float64)
        batches = [jnp.asarray(images[:20]), jnp.asarray(images[20:])]
        new, chosen = odin.choose_epsilon(state, batches, network, grid=grid)
        assert float(new.epsilon) == chosen.epsilon == grid[int(np.argmax(means))]
        assert new._replace(epsilon=state.epsilon) == state
    np.testing.assert_allclose(chosen.confidences, means, rtol=1e-10)
    assert chosen.grid == grid


def test_equal_confidences_choose_the_smallest(rng):
    def network(images):
        return jnp.broadcast_to(jnp.float32([[1, 0]]), (images.shape[0], 2))

    batches = [jnp.zeros((2, 2, 2, 1), jnp.float32)]
    assert odin.choose_epsilon(settings(rng), batches, network)[1].epsilon == 0.0


def test_default_grid():
    assert odin.EPSILONS[:3] == (0.0, 0.0004, 0.0008)
    assert odin.EPSILONS[-1] == 0.0048


@pytest.mark.parametrize(
    "options, message",
    [
        ({"temperature": 0.0}, "temperature must be in"),
        ({"epsilon": -0.1}, "epsilon must be in"),
        ({"deviation": (0.2, 0.0)}, "deviation must be in"),
        ({"deviation": ()}, "deviation must be a number or one number a channel"),
    ],
)
def test_bad_options(options, message, rng):
    with pytest.raises(ValueError, match=message):
        settings(rng, **options)


@pytest.mark.parametrize(
    "batches, grid, message",
    [
        ([], (0.0,), "no ID validation images"),
        ([np.zeros((1, *SHAPE), np.float32)], (), "grid of epsilon is empty"),
        ([np.zeros((1, *SHAPE), np.float32)], (-0.1,), "epsilon must be in"),
        ([np.full((1, *SHAPE), np.nan, np.float32)], (0.0, 0.1), "mean confidence at epsilon 0 is not finite"),
    ],
)
def test_bad_choices(batches, grid, message, rng):
    network = jax_network(weights(rng), np.float32)
    with pytest.raises(ValueError, match=message):
        odin.choose_epsilon(settings(rng), map(jnp.asarray, batches), network, grid=grid)


def test_bad_images(rng, unhooked):
    network = jax_network(weights(rng), np.float32)
    with pytest.raises(ValueError, match="There are 3 deviations for images of 2 channels"):
        odin.score(settings(rng, deviation=(1.0, 1.0, 1.0)), jnp.zeros((1, *SHAPE)), network)
    with pytest.raises(ValueError, match="images must have 4 axes"):
        odin.score(settings(rng), jnp.zeros(SHAPE), network)
