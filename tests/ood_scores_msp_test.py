"""MSP against SciPy's softmax, by hand, and where 1 - p is rounded to 0."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from ood_distances import check_parity, features

from mollax.ood.scores import msp


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_parity(temperature):
    data = features()

    def reference(data):
        return 1 - scipy.special.softmax(data.query_logits / temperature, axis=1).max(axis=1)

    wrong = {"another temperature": 1 - scipy.special.softmax(data.query_logits / 2, axis=1).max(axis=1)}
    check_parity(msp, data, reference, wrong=wrong, temperature=temperature)


def test_by_hand():
    state = msp.State(jnp.float32(1))
    logits = jnp.log(jnp.array([[1.0, 2, 5], [4, 4, 0.0], [1, 1, 1]], jnp.float32))
    np.testing.assert_allclose(msp.score(state, jnp.zeros((3, 2)), logits), [3 / 8, 1 / 2, 2 / 3], rtol=1e-6)


def test_sure_predictions_keep_their_order():
    logits = jnp.array([[40.0, 0, 0], [41, 0, 0], [60, 0, 1]], jnp.float32)
    mine = np.asarray(msp.score(msp.State(jnp.float32(1)), jnp.zeros((3, 2)), logits), np.float64)
    exact = [2 * np.exp(-40.0), 2 * np.exp(-41.0), np.exp(-60.0) + np.exp(-59.0)]
    np.testing.assert_allclose(mine, exact, rtol=1e-5)


def test_bad_input(unhooked):
    data = features(n=20)
    with pytest.raises(ValueError, match=r"temperature must be in \(0, inf\)"):
        msp.fit(data.train, data.logits, data.labels, None, temperature=0.0)
    with pytest.raises(ValueError, match="features has 20, logits has 19"):
        msp.fit(data.train, data.logits[1:], data.labels, None)
    with pytest.raises(ValueError, match="features has 2, logits has 3"):
        msp.score(msp.State(jnp.float32(1)), jnp.zeros((2, 4)), jnp.zeros((3, 2)))
