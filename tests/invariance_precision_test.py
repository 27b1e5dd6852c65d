"""Precision of parameters and densities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mollax.invariance.precision import at_least_float32


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_half_precision_becomes_single(dtype):
    found = at_least_float32(jnp.array([0.1, -3.0], dtype))
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, np.asarray(jnp.array([0.1, -3.0], dtype), np.float32))


def test_double_precision_stays():
    with jax.enable_x64(True):
        assert at_least_float32(jnp.array([0.1], jnp.float64)).dtype == jnp.float64
