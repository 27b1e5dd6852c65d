"""ReAct against NumPy's percentile and clip, and by hand."""

import jax.numpy as jnp
import numpy as np
import pytest
from ood_parity import cast, check_module, energy, examples

from mollax.ood.head import Head
from mollax.ood.scores import react


@pytest.mark.parametrize("percentile", [90.0, 70.0])
def test_parity(percentile, rng):
    train = examples(rng)
    test = examples(rng, count=40)._replace(head=train.head)

    def reference(percentile=percentile, source=train.features, axis=None):
        return energy(np.minimum(test.features, np.percentile(source, percentile, axis=axis)), train.head)

    wrong = {
        "sign": -reference(),
        "percentile": reference(percentile=percentile + 1),
        "the other end": reference(percentile=100 - percentile),
        "a limit a unit": reference(axis=0),
        "test features": reference(source=test.features),
        "no clip": energy(test.features, train.head),
    }
    check_module(react, train, test, reference(), wrong, percentile=percentile)


def test_by_hand():
    """The 90th percentile of 0 .. 10 is 9; the head adds both features into one of two logits."""
    features = jnp.arange(11, dtype=jnp.float32)[:, None].repeat(2, axis=1)
    head = Head(jnp.float32([[1, 0], [1, 0]]), jnp.float32([0, 2]))
    logits = features @ head.kernel
    state = react.fit(features, logits, jnp.zeros(11, jnp.int32), head)
    np.testing.assert_allclose(state.limit, 9)
    values = react.score(state, jnp.float32([[0, 0], [20, 1]]), logits[:2])
    np.testing.assert_allclose(values, [-np.log(1 + np.exp(2)), -np.log(np.exp(10) + np.exp(2))], rtol=1e-6)


def test_the_whole_range_clips_no_training_example(rng):
    data = examples(rng)
    state = react.fit(*cast(data, np.float32), percentile=100.0)
    np.testing.assert_allclose(
        react.score(state, *cast(data, np.float32)[:2]), energy(data.features, data.head), rtol=1e-4
    )


def test_bad_input(rng, unhooked):
    data = cast(examples(rng), np.float32)
    with pytest.raises(ValueError, match="percentile must be in"):
        react.fit(*data, percentile=0.0)
    with pytest.raises(ValueError, match="ReAct sends changed features"):
        react.fit(*data._replace(head=None))
    with pytest.raises(ValueError, match="labels has 59"):
        react.fit(*data._replace(labels=data.labels[1:]))
