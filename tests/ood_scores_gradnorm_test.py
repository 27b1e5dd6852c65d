"""GradNorm's closed form against the gradient by torch, by JAX and by finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import fast
from ood_parity import cast, check_module, examples
from scipy.special import log_softmax, softmax

from mollax.ood.head import Head
from mollax.ood.scores import gradnorm


def by_torch(data, temperature, *, order=1):
    """Norm of the gradient of KL(uniform || softmax) with respect to the kernel, one backward pass an example."""
    torch = pytest.importorskip("torch")
    values = []
    for row in data.features:
        kernel = torch.tensor(data.head.kernel, requires_grad=True)
        logits = (torch.from_numpy(row) @ kernel + torch.from_numpy(data.head.bias)) / temperature
        classes = logits.numel()
        uniform = torch.full_like(logits, 1 / classes)
        torch.nn.functional.kl_div(torch.log_softmax(logits, 0), uniform, reduction="sum").backward()
        values.append(float(kernel.grad.abs().pow(order).sum() ** (1 / order)))
    return -np.array(values)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_parity_with_torch(temperature, rng):
    data = examples(rng, count=40)
    reference = by_torch(data, temperature)
    wrong = {
        "sign": -reference,
        "temperature": by_torch(data, temperature + 0.1),
        "L2": by_torch(data, temperature, order=2),
        "the sum over classes": 5 * reference,
        "softmax without uniform": -np.abs(data.features).sum(1),
        "features alone": -np.abs(data.features).sum(1) * softmax(data.logits / temperature, axis=1).max(1),
    }
    check_module(gradnorm, data, data, reference, wrong, temperature=temperature)


def test_jax_gradient(rng):
    data = examples(rng, count=12)
    with jax.enable_x64(True):
        double = cast(data, np.float64)

        def divergence(kernel, row):
            log_p = jax.nn.log_softmax(row @ kernel + double.head.bias)
            return (-jnp.log(log_p.size) - log_p).mean()

        gradients = fast(jax.vmap(jax.grad(divergence), (None, 0)))(double.head.kernel, double.features)
        ours = fast(gradnorm.score)(gradnorm.fit(*double), *double[:2])
    np.testing.assert_allclose(ours, -np.abs(gradients).sum(axis=(1, 2)), rtol=1e-10)


def test_finite_differences(rng):
    data = examples(rng, count=1, width=3, classes=4)
    total, step = 0.0, 1e-5
    for place in np.ndindex(3, 4):
        values = []
        for side in (step, -step):
            kernel = data.head.kernel.copy()
            kernel[place] += side
            values.append(-log_softmax(data.features[0] @ kernel + data.head.bias).mean())
        total += abs(values[0] - values[1]) / (2 * step)
    single = cast(data, np.float32)
    np.testing.assert_allclose(gradnorm.score(gradnorm.fit(*single), *single[:2]), [-total], rtol=1e-4)


def test_by_hand():
    """Probabilities 3/4 and 1/4 are 1/4 away each: |(2, -1)|_1 x 1/2. Uniform logits have no gradient."""
    features = jnp.float32([[2, -1], [2, -1]])
    logits = jnp.log(jnp.float32([[3, 1], [1, 1]]))
    state = gradnorm.fit(features, logits, jnp.int32([0, 1]), Head(jnp.eye(2), jnp.zeros(2)))
    np.testing.assert_allclose(gradnorm.score(state, features, logits), [-1.5, 0], atol=1e-6)


def test_logits_far_apart_stay_finite():
    features, logits = jnp.ones((1, 2), jnp.float32), jnp.float32([[1e4, -1e4, 0]])
    state = gradnorm.fit(features, logits, jnp.int32([0]), Head(jnp.ones((2, 3)), jnp.zeros(3)))
    np.testing.assert_allclose(gradnorm.score(state, features, logits), [-2 * (2 / 3 + 2 / 3)], rtol=1e-6)


def test_bad_input(rng, unhooked):
    data = cast(examples(rng), np.float32)
    with pytest.raises(ValueError, match="temperature must be in"):
        gradnorm.fit(*data, temperature=0.0)
    with pytest.raises(ValueError, match=r"labels must be in 0 \.\. 4"):
        gradnorm.fit(*data._replace(labels=data.labels + 1))
    with pytest.raises(ValueError, match=r"GradNorm is the gradient of a linear last layer: give its Head"):
        gradnorm.fit(*data._replace(head=None))


def test_features_and_logits_of_different_lengths(rng, unhooked):
    data = cast(examples(rng), np.float32)
    with pytest.raises(ValueError, match="features has 5, logits has 1"):
        gradnorm.score(gradnorm.fit(*data), data.features[:5], data.logits[:1])
