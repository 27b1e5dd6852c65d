"""Energy against SciPy's log-sum-exp, by hand, and at the ends of the temperature."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from ood_distances import check_parity, features

from mollax.ood.scores import energy


@pytest.mark.parametrize("temperature", [1.0, 5.0])
def test_parity(temperature):
    data = features()

    def reference(data, t=temperature):
        return -t * scipy.special.logsumexp(data.query_logits / t, axis=1)

    wrong = {"another temperature": reference(data, 2.0), "no factor T": reference(data) / 2}
    if temperature != 1:
        wrong["no factor T"] = reference(data) / temperature
    check_parity(energy, data, reference, wrong=wrong, temperature=temperature)


def test_by_hand():
    logits = jnp.log(jnp.array([[1.0, 2, 5], [4, 4, 8]], jnp.float32))
    mine = energy.score(energy.State(jnp.float32(1)), jnp.zeros((2, 3)), logits)
    np.testing.assert_allclose(mine, [-np.log(8), -np.log(16)], rtol=1e-6)
    mine = energy.score(energy.State(jnp.float32(0.5)), jnp.zeros((2, 3)), logits)  # (1 + 4 + 25) and (16 + 16 + 64)
    np.testing.assert_allclose(mine, [-np.log(30) / 2, -np.log(96) / 2], rtol=1e-6)


def test_large_logits_stay_finite_and_a_low_temperature_gives_max_logit():
    logits = jnp.array([[3000.0, -3000, 2], [500, 400, 499.5]], jnp.float32)
    mine = energy.score(energy.State(jnp.float32(1e-3)), jnp.zeros((2, 3)), logits)
    np.testing.assert_allclose(mine, [-3000, -500], rtol=1e-6)


def test_bad_input(unhooked):
    data = features(n=20)
    with pytest.raises(ValueError, match=r"temperature must be in \(0, inf\)"):
        energy.fit(data.train, data.logits, data.labels, None, temperature=-1.0)
    with pytest.raises(ValueError, match=r"labels must be in 0 \.\. 3"):
        energy.fit(data.train, data.logits, data.labels + 1, None)
    with pytest.raises(ValueError, match="features has 2, logits has 3"):
        energy.score(energy.State(jnp.float32(1)), jnp.zeros((2, 4)), jnp.zeros((3, 2)))
