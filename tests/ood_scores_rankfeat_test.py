"""RankFeat against NumPy's singular value decomposition, by hand, and the two methods against each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import fast
from ood_parity import cast, check_parity, energy, examples

from mollax.ood.scores import rankfeat

pool = fast(rankfeat.pool_without_top, static_argnames=("method", "iterations"))
METHODS = {"svd": {"method": "svd"}, "power": {"iterations": 200}}


def without(maps, count=1, transpose=False):
    """Maps pooled after their `count` largest singular values are set to 0, one SVD an example."""
    pooled = []
    for example in maps.reshape(len(maps), -1, maps.shape[-1]):
        matrix = example.T if transpose else example
        left, values, right = np.linalg.svd(matrix, full_matrices=False)
        values[:count] = 0
        rest = (left * values) @ right
        pooled.append((rest.T if transpose else rest).mean(axis=0))
    return np.stack(pooled)


def maps_like_a_relu(rng, shape=(30, 4, 3, 24)):
    return np.maximum(rng.normal(0.5, 1.0, shape), 0)


def scores(data, maps, dtype, **options):
    with jax.enable_x64(dtype == np.float64):
        state = rankfeat.fit(*cast(data, dtype))
        values = fast(lambda state, maps: rankfeat.score(state, maps, **options))(state, jnp.asarray(maps, dtype))
        assert values.dtype == dtype
    return np.asarray(values, np.float64)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sign", ["relu", "signed"])
def test_parity(method, sign, rng):
    data, options = examples(rng), METHODS[method]
    maps = maps_like_a_relu(rng) if sign == "relu" else rng.normal(size=(30, 2, 3, 24)) + 0.3
    reference = energy(without(maps), data.head)
    np.testing.assert_allclose(without(maps, transpose=True), without(maps), atol=1e-12)
    wrong = {
        "sign": -reference,
        "nothing removed": energy(maps.mean((1, 2)), data.head),
        "two removed": energy(without(maps, count=2), data.head),
        "the rank-1 part itself": energy(maps.mean((1, 2)) - without(maps), data.head),
    }
    double, single = (scores(data, maps, dtype, **options) for dtype in (np.float64, np.float32))
    check_parity(double, single, reference, wrong)


def test_twenty_iterations_are_enough_after_a_relu(rng):
    """The default against the exact method: the largest singular value stands far out of maps that aren't negative."""
    data, maps = examples(rng), maps_like_a_relu(rng)
    exact = scores(data, maps, np.float64, method="svd")
    np.testing.assert_allclose(scores(data, maps, np.float64), exact, atol=1e-6 * exact.std())


def test_by_hand():
    """diag(3, 1) over two positions: the first channel goes, (0, 1) / 2 stays; the head passes it on."""
    maps = jnp.float32([[[[3, 0]], [[0, 1]]]])
    for options in ({}, {"method": "svd"}):
        np.testing.assert_allclose(pool(maps, **options), [[0, 0.5]], atol=1e-6)


def test_rank_one_leaves_nothing_and_zeros_stay(rng):
    outer = np.einsum("np,nd->npd", rng.normal(size=(3, 6)), rng.normal(size=(3, 5))).reshape(3, 2, 3, 5)
    maps = jnp.concatenate([jnp.asarray(outer, jnp.float32), jnp.zeros((1, 2, 3, 5), jnp.float32)])
    for scale in (1.0, 1e-18, 1e18):
        pooled = pool(maps * scale)
        np.testing.assert_allclose(pooled / scale, 0, atol=1e-5)


def test_maps_after_the_relu_keep_the_features_they_pool_to(rng):
    """What is left plus what was taken is the pooled feature, and both are orthogonal."""
    maps = maps_like_a_relu(rng)
    rest = np.asarray(pool(jnp.asarray(maps, jnp.float32)), np.float64)
    taken = maps.mean((1, 2)) - rest
    np.testing.assert_allclose((rest * taken).sum(1), 0, atol=1e-4)


def test_bad_input(rng, unhooked):
    data, maps = cast(examples(rng), np.float32), jnp.ones((2, 2, 2, 24), jnp.float32)
    state = rankfeat.fit(*data)
    with pytest.raises(ValueError, match="feature_maps must have 4 axes"):
        rankfeat.score(state, maps[0])
    with pytest.raises(ValueError, match="method must be one of 'power', 'svd'"):
        rankfeat.score(state, maps, method="eigh")
    with pytest.raises(ValueError, match="iterations must be at least 1"):
        rankfeat.score(state, maps, iterations=0)
    with pytest.raises(ValueError, match="RankFeat sends changed features"):
        rankfeat.fit(*data._replace(head=None))
