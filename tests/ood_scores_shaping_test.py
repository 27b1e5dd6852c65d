"""What scores that reshape activations share: the energy of a head, the percentile, the head's precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import fast
from ood_parity import cast, energy, examples

from mollax.ood.head import Head
from mollax.ood.scores.inputs import dtype_of
from mollax.ood.scores.shaping import activation_percentile, require_head, shaped_energy


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_energy_of_a_head(dtype, tolerance, rng):
    data = examples(rng)
    with jax.enable_x64(dtype == np.float64):
        single = cast(data, dtype)
        values = fast(shaped_energy)(single.head, single.features)
        assert values.dtype == dtype
    np.testing.assert_allclose(values, energy(data.features, data.head), rtol=tolerance, atol=tolerance)


def test_large_logits_do_not_overflow():
    head = Head(jnp.eye(2, dtype=jnp.float32), jnp.zeros(2, jnp.float32))
    np.testing.assert_array_equal(fast(shaped_energy)(head, jnp.float32([[1e6, 0]])), [-1e6])


def test_the_percentile_is_of_all_activations_together():
    assert activation_percentile(np.float32([[0, 1, 2], [3, 4, 10]]), 90.0) == 7.0  # halfway from 4 to 10
    assert activation_percentile(np.float32([[0, 1, 2], [3, 4, 10]]), 100.0) == 10.0
    for percentile in (0.0, 100.1):
        with pytest.raises(ValueError, match="percentile must be in"):
            activation_percentile(np.float32([[0, 1]]), percentile)


def test_the_head_takes_the_dtype_of_the_features(rng):
    data = examples(rng)
    assert dtype_of(data.features) == np.float32  # float64 is not enabled
    head = require_head(cast(data, np.float32).head, "ASH", dtype_of(data.features))
    assert {leaf.dtype for leaf in head} == {np.dtype(np.float32)}
    with jax.enable_x64(True):
        assert dtype_of(data.features) == np.float64
    with pytest.raises(ValueError, match="ASH sends changed features through the last layer: give its Head, not None"):
        require_head(None, "ASH", np.float32)
