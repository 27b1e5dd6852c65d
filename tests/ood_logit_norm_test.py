"""LogitNorm against PyTorch, its length, its lowest loss, and slopes where a norm has none."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from compiling import fast

from mollax.ood.logit_norm import logit_norm


def test_it_is_pytorchs(rng):
    torch = pytest.importorskip("torch")
    logits, labels = rng.normal(0, 3, (6, 5)), rng.integers(5, size=6)
    given = torch.tensor(logits, requires_grad=True)
    normed = given / ((torch.linalg.vector_norm(given, dim=1, keepdim=True) + 1e-7) * 0.04)
    loss = torch.nn.functional.cross_entropy(normed, torch.tensor(labels))
    loss.backward()

    def ours(logits):
        return -jnp.mean(jax.nn.log_softmax(logit_norm(logits))[jnp.arange(6), jnp.asarray(labels)])

    with jax.enable_x64(True):
        value, gradient = fast(jax.value_and_grad(ours))(jnp.asarray(logits))
    assert value.dtype == np.float64
    np.testing.assert_allclose(value, loss.item(), rtol=1e-12)
    np.testing.assert_allclose(gradient, given.grad.numpy(), rtol=1e-10, atol=1e-13)


def test_by_hand():
    found = logit_norm(jnp.float32([[3.0, 4.0], [-0.3, 0.4]]), temperature=0.5)
    np.testing.assert_allclose(found, [[1.2, 1.6], [-1.2, 1.6]], rtol=1e-6)


def test_length_and_lowest_loss(rng):
    logits = rng.normal(0, 100, (20, 7)).astype(np.float32)
    # The bound of the docstring, reached by a one-hot row without its mean.
    logits[0] = np.eye(7)[0] - 1 / 7
    np.testing.assert_allclose(np.linalg.norm(fast(logit_norm)(logits), axis=1), 25, rtol=1e-5)
    losses = -scipy.special.log_softmax(fast(partial(logit_norm, temperature=1.0))(logits), axis=1)
    bound = math.log(1 + 6 * math.exp(-math.sqrt(7 / 6)))
    np.testing.assert_allclose(losses[0, 0], bound, rtol=1e-5)
    assert (losses >= bound - 1e-5).all()


def test_slopes_are_finite_at_zero():
    slope = fast(jax.jacobian(logit_norm))(jnp.zeros(3, jnp.float32))
    np.testing.assert_allclose(slope, np.eye(3) / (1e-7 * 0.04), rtol=1e-6)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_bad_temperature(temperature):
    with pytest.raises(ValueError, match=r"temperature must be in \(0, inf\)"):
        logit_norm(jnp.ones((1, 2)), temperature=temperature)
