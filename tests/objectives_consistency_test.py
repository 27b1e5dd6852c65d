"""The Jensen-Shannon divergence against SciPy, its limits, and far logits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax

from mollax.objectives import jensen_shannon


def test_two_predictions_as_scipy(rng):
    logits = rng.normal(0, 3, (2, 20, 5)).astype(np.float32)
    expected = jensenshannon(*softmax(logits.astype(np.float64), axis=-1), axis=-1) ** 2
    np.testing.assert_allclose(jensen_shannon(jnp.asarray(logits)), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("far", [1e2, 1e5])
def test_limits_and_gradients_at_far_logits(far):
    apart = far * jnp.eye(3)[:, None, :]  # three sure predictions of three classes
    np.testing.assert_allclose(jensen_shannon(apart), np.log(3), rtol=1e-5)
    np.testing.assert_allclose(jensen_shannon(jnp.broadcast_to(apart[:1], (3, 4, 3))), 0, atol=1e-6)
    assert jnp.isfinite(jax.grad(lambda x: jensen_shannon(x).sum())(apart)).all()
