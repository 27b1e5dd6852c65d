"""BFAct: the gain against SciPy's analog Butterworth filter, the score against NumPy, limits by hand."""

import jax.numpy as jnp
import numpy as np
import pytest
from ood_parity import cast, check_module, energy, examples
from scipy import signal

from mollax.ood.scores import bfact


def gain(ratio, order):
    """|H| of SciPy's analog low-pass filter at angular frequencies in units of the cut-off."""
    numerator, denominator = signal.butter(order, 1.0, analog=True)
    return np.abs(signal.freqs(numerator, denominator, worN=ratio.ravel())[1]).reshape(ratio.shape)


@pytest.mark.parametrize("order, percentile", [(2, 95.0), (1, 80.0), (3, 90.0)])
def test_parity(order, percentile, rng):
    train = examples(rng)
    test = examples(rng, count=40)._replace(head=train.head)

    def reference(order=order, percentile=percentile):
        cut_off = np.percentile(train.features, percentile)
        return energy(test.features * gain(test.features / cut_off, order), train.head)

    cut_off = np.percentile(train.features, percentile)
    wrong = {
        "sign": -reference(),
        "order": reference(order=order + 1),
        "percentile": reference(percentile=percentile - 1),
        "the gain squared": energy(test.features * gain(test.features / cut_off, order) ** 2, train.head),
        "a clip": energy(np.minimum(test.features, cut_off), train.head),
    }
    check_module(bfact, train, test, reference(), wrong, order=order, percentile=percentile)


def test_by_hand(rng):
    """At the cut-off a factor of 1 / sqrt(2), whatever the order; far above it c for N = 1 and 0 for N = 2."""
    data = cast(examples(rng), np.float32)
    for order, far in ((1, 3.0), (2, 0.0)):
        state = bfact.fit(*data, order=order)._replace(cut_off=jnp.float32(3))
        values = bfact.shape(state, jnp.float32([[0.0, 3.0, -3.0, 1e7, 1e30]]))
        np.testing.assert_allclose(values, [[0, 3 / 2**0.5, -3 / 2**0.5, far, 0.0]], rtol=1e-6, atol=1e-5)


def test_a_high_order_is_a_cut(rng):
    state = bfact.fit(*cast(examples(rng), np.float32), order=60)._replace(cut_off=jnp.float32(1))
    np.testing.assert_allclose(bfact.shape(state, jnp.float32([[0.5, 0.9, 1.2]])), [[0.5, 0.9, 0]], atol=1e-3)


def test_bad_input(rng, unhooked):
    data = cast(examples(rng), np.float32)
    with pytest.raises(ValueError, match=r"needs a cut-off above 0, but percentile 5 of the activations is 0"):
        bfact.fit(*data, percentile=5.0)
    with pytest.raises(ValueError, match="order must be at least 1"):
        bfact.fit(*data, order=0)
    with pytest.raises(ValueError, match="BFAct sends changed features"):
        bfact.fit(*data._replace(head=None))
