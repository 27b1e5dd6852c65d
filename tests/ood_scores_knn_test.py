"""KNN against scikit-learn's brute force: every block size, ties, from a file, by hand, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import fast
from ood_distances import Features, agrees, check_parity, features
from sklearn.neighbors import NearestNeighbors

from mollax.ood.scores import knn


def reference(data: Features, *, k: int = 50, normalize: bool = True) -> np.ndarray:
    """Squared distance to the k-th neighbor, from differences in float64."""
    bank, queries = data.train, data.queries
    if normalize:
        bank, queries = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (bank, queries))
    search = NearestNeighbors(n_neighbors=k, algorithm="kd_tree").fit(bank)
    return search.kneighbors(queries)[0][:, -1] ** 2


@pytest.mark.parametrize("k, normalize", [(50, True), (1, True), (7, False)])
def test_parity(k, normalize):
    data = features()
    wrong = {
        "k + 1": reference(data, k=k + 1, normalize=normalize),
        "normalized or not": reference(data, k=k, normalize=not normalize),
        "not squared": np.sqrt(reference(data, k=k, normalize=normalize)),
    }
    check_parity(
        knn, data, lambda data: reference(data, k=k, normalize=normalize), wrong=wrong, k=k, normalize=normalize
    )


def test_default_is_the_authors():
    data = features()
    state = knn.fit(data.train, data.logits, data.labels, None)
    assert len(state.ranks) == 50
    assert bool(state.normalize)


def test_by_hand():
    bank = np.array([[2.0, 0], [0, 3], [-1, 0], [5, 5]], np.float32)
    queries, logits = jnp.array([[1.0, 0], [0, 0]]), jnp.zeros((2, 2))
    labels, none = np.zeros(4, np.int32), np.zeros((4, 2), np.float32)
    # Unit vectors: distances of (1, 0) are 0, sqrt 2, 2 and sqrt(2 - sqrt 2); of zeros, which stay zeros, all are 1.
    for k, expected in ((2, 2 - np.sqrt(2)), (4, 4.0)):
        mine = fast(knn.score)(knn.fit(bank, none, labels, None, k=k), queries, logits)
        np.testing.assert_allclose(mine, [expected, 1], rtol=1e-6, atol=1e-12)
    for k, expected in ((1, [1, 1]), (3, [10, 9])):
        mine = fast(knn.score)(knn.fit(bank, none, labels, None, k=k, normalize=False), queries, logits)
        np.testing.assert_allclose(mine, expected, rtol=1e-6)


def test_zeros_in_the_bank_stay_zeros():
    bank = np.concatenate([np.zeros((1, 2)), 10 * np.eye(2)]).astype(np.float32)
    state = knn.fit(bank, np.zeros((3, 2), np.float32), np.zeros(3, np.int32), None, k=1)
    mine = fast(knn.score)(state, jnp.array([[-1.0, -1]]), jnp.zeros((1, 2)))
    np.testing.assert_allclose(mine, [1], rtol=1e-6)


@pytest.mark.parametrize("query_rows, bank_rows", [(33, 41), (7, 299)])
def test_blocks_change_nothing(query_rows, bank_rows):
    data = features()
    expected = reference(data, k=21)
    state = knn.fit(data.train.astype(np.float32), data.logits, data.labels, None, k=21)
    queries, logits = jnp.asarray(data.queries.astype(np.float32)), jnp.zeros((80, 4))
    for held in (state, state._replace(bank=np.asarray(state.bank))):
        mine = knn.score(held, queries, logits, query_rows=query_rows, bank_rows=bank_rows)
        assert agrees(np.asarray(mine), expected, 1e-5)


def test_a_memmap_is_searched_where_it_lies(tmp_path):
    data = features()
    bank = np.lib.format.open_memmap(tmp_path / "bank.npy", mode="w+", dtype=np.float32, shape=data.train.shape)
    bank[:] = data.train
    state = knn.fit(bank, data.logits, data.labels, None, k=5)
    assert state.bank is bank
    mine = knn.score(state, data.queries.astype(np.float32), data.query_logits, bank_rows=64)
    assert agrees(np.asarray(mine), reference(data, k=5), 1e-5)


@pytest.mark.parametrize("size, k", [(1, 1), (40, 12), (263, 1), (515, 9), (601, 30)])
def test_largest_is_exact(rng, size, k):
    values = rng.normal(size=(60, size)).astype(np.float32)
    values[30:] = np.round(values[30:])  # ties
    top, places = fast(knn.largest, static_argnums=1)(jnp.asarray(values), k)
    np.testing.assert_array_equal(top, -np.sort(-values, axis=1)[:, :k])
    np.testing.assert_array_equal(np.take_along_axis(values, np.asarray(places), axis=1), top)
    assert all(len(set(row)) == k for row in np.asarray(places).tolist())


def test_largest_when_all_are_in_one_group():
    # Members of a group lie size // group apart: the k largest in one group, the hardest case for maxima.
    values = np.zeros((1, 1024), np.float32)
    values[0, ::64] = np.arange(1, 17)
    top, places = knn.largest(jnp.asarray(values), 4)
    np.testing.assert_array_equal(top[0], [16, 15, 14, 13])
    np.testing.assert_array_equal(places[0], [960, 896, 832, 768])


def test_a_point_of_the_bank_is_its_own_first_neighbor():
    # |q|^2 - 2 q b + |b|^2 would leave rounding errors: of 1e-7 here, of 100 in the second case.
    for scale, normalize in ((1.0, True), (3e4, False)):
        data = features()
        bank = (scale * data.train).astype(np.float32)
        state = knn.fit(bank, data.logits, data.labels, None, k=1, normalize=normalize)
        mine = fast(knn.score)(state, jnp.asarray(bank), jnp.asarray(data.logits.astype(np.float32)))
        assert float(mine.max()) <= 1e-12 * scale**2


def test_features_far_from_zero():
    data = features()
    shifted = data._replace(train=data.train + 500, queries=data.queries + 500)
    shifted = shifted._replace(train=shifted.train.astype(np.float32), queries=shifted.queries.astype(np.float32))
    state = knn.fit(shifted.train, data.logits, data.labels, None, k=10, normalize=False)
    mine = knn.score(state, jnp.asarray(shifted.queries), jnp.zeros((80, 4)))
    double = shifted._replace(train=shifted.train.astype(np.float64), queries=shifted.queries.astype(np.float64))
    assert agrees(np.asarray(mine), reference(double, k=10, normalize=False), 1e-3)


def test_jit_and_no_queries():
    data = features()
    state = knn.fit(data.train.astype(np.float32), data.logits, data.labels, None, k=3)
    queries, logits = jnp.asarray(data.queries.astype(np.float32)), jnp.zeros((80, 4))
    np.testing.assert_allclose(jax.jit(knn.score)(state, queries, logits), knn.score(state, queries, logits), rtol=1e-4)
    assert knn.score(state, queries[:0], logits[:0]).shape == (0,)


def test_bad_input(unhooked):
    data = features(n=40)
    with pytest.raises(ValueError, match="k=41 neighbors are asked of a bank of 40 features"):
        knn.fit(data.train, data.logits, data.labels, None, k=41)
    with pytest.raises(ValueError, match="k must be at least 1"):
        knn.fit(data.train, data.logits, data.labels, None, k=0)
    with pytest.raises(ValueError, match="features of 1 examples are not finite, the first is number 3"):
        knn.fit(np.where(np.arange(40)[:, None] == 3, np.nan, data.train), data.logits, data.labels, None, k=1)
    state = knn.fit(data.train, data.logits, data.labels, None, k=1)
    with pytest.raises(ValueError, match="features has 2, logits has 3"):
        knn.score(state, jnp.zeros((2, 12)), jnp.zeros((3, 4)))
    with pytest.raises(ValueError, match="bank_rows must be at least 1"):
        knn.score(state, jnp.zeros((2, 12)), jnp.zeros((2, 4)), bank_rows=0)


def test_width_of_queries(unhooked):
    data = features(n=40)
    state = knn.fit(data.train, data.logits, data.labels, None, k=1)
    with pytest.raises(ValueError, match=r"features must be \(examples, 12\) as the bank's are; got shape \(2, 11\)"):
        knn.score(state, jnp.zeros((2, 11)), jnp.zeros((2, 4)))
