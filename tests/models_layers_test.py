"""The shared layers against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from mollax.models.layers import (
    batch_norm,
    conv,
    he_fan_in,
    he_fan_out,
    max_pool2,
    max_pool3,
    mean_pool2,
    torch_linear,
)


@pytest.mark.parametrize("height, width", [(4, 6), (5, 7)])
def test_max_pool_takes_each_square(height, width, rng):
    x = rng.normal(size=(2, height, width, 3)).astype(np.float32)
    y = np.asarray(max_pool2(jnp.asarray(x)))
    assert y.shape == (2, height // 2, width // 2, 3)
    for i in range(height // 2):
        for j in range(width // 2):
            np.testing.assert_array_equal(y[:, i, j], x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max((1, 2)))
    gradient = np.asarray(jax.grad(lambda x: max_pool2(x).sum())(jnp.asarray(x)))
    # Every pooled value sends its one to one place.
    assert gradient.sum() == y.size
    assert set(np.unique(gradient)) == {0.0, 1.0}
    np.testing.assert_allclose((gradient * x).sum(), y.sum(), rtol=1e-5)


@pytest.mark.parametrize("height, width", [(4, 6), (5, 7)])
def test_mean_pool_averages_each_square(height, width, rng):
    x = rng.normal(size=(2, height, width, 3)).astype(np.float32)
    y = np.asarray(mean_pool2(jnp.asarray(x)))
    squares = x[:, : height // 2 * 2, : width // 2 * 2].reshape(2, height // 2, 2, width // 2, 2, 3)
    np.testing.assert_allclose(y, squares.sum((2, 4)) / 4, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("height, width", [(1, 2), (4, 6), (5, 7)])
@pytest.mark.parametrize("stride", [1, 2])
def test_max_pool_takes_each_neighborhood(height, width, stride, rng):
    # Negative everywhere: padding with zeros would be seen.
    x = -np.exp(rng.normal(size=(2, height, width, 3))).astype(np.float32)
    y = np.asarray(max_pool3(jnp.asarray(x), stride=stride))
    rows, columns = range(0, height, stride), range(0, width, stride)
    assert y.shape == (2, len(rows), len(columns), 3)
    for a, i in enumerate(rows):
        for b, j in enumerate(columns):
            near = x[:, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
            np.testing.assert_array_equal(y[:, a, b], near.max((1, 2)))
    gradient = np.asarray(jax.grad(lambda x: max_pool3(x, stride=stride).sum())(jnp.asarray(x)))
    assert gradient.sum() == y.size
    np.testing.assert_allclose((gradient * x).sum(), y.sum(), rtol=1e-5)
    half = max_pool3(jnp.asarray(x, jnp.bfloat16), stride=stride)
    np.testing.assert_array_equal(half, jnp.asarray(y, jnp.bfloat16))


def test_groups_see_their_own_planes_and_padding_can_be_left_out(key, rng):
    x = jnp.asarray(rng.normal(size=(1, 5, 5, 4)), jnp.float32)
    layer = conv(6, pad=0, groups=2)
    variables = layer.init(key, x)
    assert variables["params"]["kernel"].shape == (3, 3, 2, 6)
    y = layer.apply(variables, x)
    assert y.shape == (1, 3, 3, 6)
    changed = np.asarray(layer.apply(variables, x.at[..., :2].add(1.0)) != y)
    assert changed[..., :3].all()
    assert not changed[..., 3:].any()


def test_strided_convolution_starts_at_the_first_position(key):
    layer = conv(1, stride=2)
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    kernel = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1.0)
    y = layer.apply({"params": {"kernel": kernel}}, x)
    np.testing.assert_array_equal(y[0, :, :, 0], [[0, 2], [8, 10]])


class Norm(nn.Module):
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train):
        return batch_norm(x, train=train, dtype=self.dtype, name="norm")


@pytest.mark.parametrize("dtype, tolerance", [(jnp.float32, 1e-5), (jnp.bfloat16, 1e-2)])
def test_batch_norm_has_float32_statistics_and_the_usual_constants(dtype, tolerance, key, rng):
    x = jnp.asarray(rng.normal(size=(32, 8, 8, 4)) * 2.0 + 3.0, jnp.float32).astype(dtype)
    exact = np.asarray(x.astype(jnp.float32), np.float64)
    mean, var = exact.mean((0, 1, 2)), exact.var((0, 1, 2))
    model = Norm(dtype)
    variables = model.init(key, x, train=False)
    y, updates = model.apply(variables, x, train=True, mutable=["batch_stats"])
    stats = updates["batch_stats"]["norm"]
    assert y.dtype == dtype
    assert stats["mean"].dtype == stats["var"].dtype == jnp.float32
    np.testing.assert_allclose(stats["mean"], 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * var, rtol=1e-5)
    expected = (exact - mean) / np.sqrt(var + 1e-5)
    np.testing.assert_allclose(y.astype(jnp.float32), expected, atol=tolerance, rtol=tolerance)


def test_batch_norm_of_a_constant_uses_epsilon(key):
    x = jnp.full((2, 4, 4, 1), 1e-3) * jnp.asarray([-1.0, 1.0]).reshape(2, 1, 1, 1)
    model = Norm()
    y, _ = model.apply(model.init(key, x, train=False), x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(abs(y), 1e-3 / np.sqrt(1e-6 + 1e-5), rtol=1e-4)


def test_initial_variances(key):
    # Also the numbers of Flax's own initialisers, which draw in the kernel's shape.
    scaling, shape = nn.initializers.variance_scaling, (3, 3, 16, 64)
    forward, backward = np.asarray(he_fan_in(key, shape)), np.asarray(he_fan_out(key, shape))
    assert forward.var() == pytest.approx(2 / (9 * 16), rel=0.05)
    assert backward.var() == pytest.approx(2 / (9 * 64), rel=0.05)
    np.testing.assert_allclose(forward, scaling(2.0, "fan_in", "normal")(key, shape), rtol=1e-6)
    head = np.asarray(torch_linear(key, (64, 100)))
    assert 0.124 < abs(head).max() <= 0.125
    np.testing.assert_allclose(head, scaling(1 / 3, "fan_in", "uniform")(key, (64, 100)), atol=1e-7)


def test_a_pools_gradient_goes_to_one_position_whatever_ties_and_nan_stays():
    values = jnp.float32([[1.0, 1.0], [0.5, 1.0]]).reshape(1, 2, 2, 1)
    gradient = jax.grad(lambda x: max_pool2(x).sum())(values)
    np.testing.assert_array_equal(gradient.ravel(), [1, 0, 0, 0])
    for place in range(4):
        spoiled = values.ravel().at[place].set(jnp.nan).reshape(values.shape)
        assert np.isnan(max_pool2(spoiled)).all()
        assert np.isnan(max_pool3(spoiled)).all()
