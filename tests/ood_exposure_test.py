"""Outlier Exposure against PyTorch's cross-entropy with uniform labels, its minimum and its gradient."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import fast

from mollax.ood.exposure import outlier_exposure


def test_it_is_cross_entropy_against_uniform_labels(rng):
    torch = pytest.importorskip("torch")
    logits = rng.normal(0, 4, (7, 5))
    given = torch.tensor(logits, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(given, torch.full((7, 5), 0.2, dtype=torch.float64))
    loss.backward()
    with jax.enable_x64(True):
        value, gradient = fast(jax.value_and_grad(outlier_exposure))(jnp.asarray(logits))
    np.testing.assert_allclose(value, loss.item(), rtol=1e-12)
    np.testing.assert_allclose(gradient, given.grad.numpy(), atol=1e-14)
    single = fast(outlier_exposure)(jnp.asarray(logits, jnp.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, loss.item(), rtol=1e-6)


def test_by_hand_and_at_its_minimum():
    # LSE(0, log 3) = log 4 and their mean is log(3) / 2.
    value = fast(outlier_exposure)(np.log(np.float32([[1, 3]])))
    np.testing.assert_allclose(value, math.log(4 / math.sqrt(3)), rtol=1e-6)
    value, gradient = fast(jax.value_and_grad(outlier_exposure))(jnp.full((2, 10), 7.0))
    np.testing.assert_allclose(value, math.log(10), rtol=1e-6)
    np.testing.assert_allclose(gradient, 0, atol=1e-8)


def test_large_logits_stay_finite():
    value, gradient = fast(jax.value_and_grad(outlier_exposure))(jnp.float32([[1e4, -1e4, 0.0]]))
    np.testing.assert_allclose(value, 1e4, rtol=1e-6)
    np.testing.assert_allclose(gradient, [[2 / 3, -1 / 3, -1 / 3]], rtol=1e-6)


def test_bad_input(unhooked):
    with pytest.raises(ValueError, match=r"logits_ood must have 2 axes \(examples, classes\)"):
        outlier_exposure(jnp.zeros(3))
    with pytest.raises(ValueError, match="at least one example and one class"):
        outlier_exposure(jnp.zeros((0, 3)))
