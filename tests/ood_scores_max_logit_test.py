"""Max-logit against NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest
from ood_distances import check_parity, features

from mollax.ood.scores import max_logit


def test_parity():
    data = features()
    wrong = {"the smallest logit": -data.query_logits.min(axis=1)}
    check_parity(max_logit, data, lambda data: -data.query_logits.max(axis=1), wrong=wrong)


def test_by_hand():
    logits = jnp.array([[1.0, 7, -3], [-2, -9, -1]], jnp.float32)
    np.testing.assert_array_equal(max_logit.score(max_logit.State(), jnp.zeros((2, 5)), logits), [-7, 1])


def test_bad_input(unhooked):
    data = features(n=20)
    with pytest.raises(ValueError, match="logits of 1 examples are not finite, the first is number 3"):
        max_logit.fit(data.train, np.where(np.arange(20)[:, None] == 3, np.nan, data.logits), data.labels, None)
    with pytest.raises(ValueError, match="features has 2, logits has 3"):
        max_logit.score(max_logit.State(), jnp.zeros((2, 4)), jnp.zeros((3, 2)))
