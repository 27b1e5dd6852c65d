"""Mahalanobis against scikit-learn's tied covariance and SciPy's distance, by hand, and singular covariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial.distance
from ood_distances import Features, agrees, check_parity, features, scores
from sklearn.covariance import EmpiricalCovariance, shrunk_covariance

from mollax.ood.scores import mahalanobis
from mollax.ood.scores.mahalanobis import SingularCovarianceError


def reference(data: Features, *, shrinkage: float = 0.0, tied: bool = True) -> np.ndarray:
    """The smallest squared distance of each query, by SciPy with scikit-learn's covariance."""
    means = np.stack([data.train[data.labels == label].mean(axis=0) for label in range(4)])
    centered = data.train - (means[data.labels] if tied else data.train.mean(axis=0))
    covariance = EmpiricalCovariance(assume_centered=True).fit(centered).covariance_
    precision = np.linalg.inv(shrunk_covariance(covariance, shrinkage))
    return scipy.spatial.distance.cdist(data.queries, means, "mahalanobis", VI=precision).min(axis=1) ** 2


@pytest.mark.parametrize("shrinkage", [0.0, 0.3])
def test_parity(shrinkage):
    data = features()
    wrong = {
        "another shrinkage": reference(data, shrinkage=0.1),
        "the covariance of all": reference(data, shrinkage=shrinkage, tied=False),
        "not squared": np.sqrt(reference(data, shrinkage=shrinkage)),
    }
    check_parity(mahalanobis, data, lambda data: reference(data, shrinkage=shrinkage), wrong=wrong, shrinkage=shrinkage)


def test_by_hand():
    # Two classes about (0, 0) and (10, 0), each +-(2, 0), +-(0, 1): variances within are 4 * 2 / 4 = 2 and 1 / 2.
    cross = np.array([[2.0, 0], [-2, 0], [0, 1], [0, -1]])
    train = np.concatenate([cross, cross + np.array([[10, 0]])]).astype(np.float32)
    labels = np.repeat(np.arange(2, dtype=np.int32), 4)
    state = mahalanobis.fit(train, np.zeros((8, 2), np.float32), labels, None)
    queries = jnp.array([[0, 0], [2, 3], [10, 1], [7, 0]], jnp.float32)
    mine = mahalanobis.score(state, queries, jnp.zeros((4, 2)))
    np.testing.assert_allclose(mine, [0, 4 / 2 + 9 / 0.5, 1 / 0.5, 9 / 2], rtol=1e-5, atol=1e-5)


def test_collapsed_classes_in_single_precision():
    # Class means 1000 standard deviations apart, as networks trained to the end have them.
    data = features()
    means = 1000 * np.random.default_rng(1).normal(size=(4, 12))
    data = data._replace(
        train=(data.train + means[data.labels]), queries=data.queries + means[np.arange(80) % 4]
    )._replace(logits=np.zeros((300, 4)), query_logits=np.zeros((80, 4)))
    rounded = data._replace(train=data.train.astype(np.float32), queries=data.queries.astype(np.float32))
    mine = scores(mahalanobis, data, np.float32)
    exact = rounded._replace(train=rounded.train.astype(np.float64), queries=rounded.queries.astype(np.float64))
    assert agrees(mine, reference(exact), 1e-3)


def test_a_memmap_gives_the_same(tmp_path):
    data = features()
    np.save(tmp_path / "bank.npy", data.train.astype(np.float32))
    bank = np.load(tmp_path / "bank.npy", mmap_mode="r")
    states = [mahalanobis.fit(array, data.logits, data.labels, None) for array in (bank, np.array(bank))]
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_singular_covariances_are_named():
    data = features()
    for broken in (
        np.where(np.arange(12) == 3, 0.5, data.train),  # a feature that never changes
        np.where(np.arange(12) == 3, data.train[:, :1] + data.train[:, 1:2], data.train),  # one that follows
    ):
        with pytest.raises(SingularCovarianceError, match=r"is singular: it has rank 11.*shrinkage=0\.01") as raised:
            mahalanobis.fit(broken, data.logits, data.labels, None)
        assert isinstance(raised.value, ValueError)
        state = mahalanobis.fit(broken, data.logits, data.labels, None, shrinkage=0.01)
        assert all(np.isfinite(leaf).all() for leaf in state)
    with pytest.raises(SingularCovarianceError, match=r"rank 6\. .*fewer than 16"):
        mahalanobis.fit(data.train[:10], data.logits[:10], data.labels[:10], None)


def test_constant_features_are_singular_too():
    with pytest.raises(SingularCovarianceError, match="rank 0"):
        mahalanobis.fit(np.ones((6, 3)), np.zeros((6, 2)), np.arange(6) % 2, None)


def test_bad_input(unhooked):
    data = features(n=40)
    with pytest.raises(ValueError, match="1 of 5 have none, the first is class 4"):
        mahalanobis.fit(data.train, np.zeros((40, 5)), data.labels, None)
    with pytest.raises(ValueError, match=r"shrinkage must be in \[0, 1\]"):
        mahalanobis.fit(data.train, data.logits, data.labels, None, shrinkage=1.5)
    with pytest.raises(ValueError, match="features has 40, logits has 39"):
        mahalanobis.fit(data.train, data.logits[1:], data.labels, None)
    with pytest.raises(ValueError, match="features of 1 examples are not finite"):
        mahalanobis.fit(np.where(np.arange(40)[:, None] == 3, np.nan, data.train), data.logits, data.labels, None)
    state = mahalanobis.fit(data.train, data.logits, data.labels, None)
    with pytest.raises(ValueError, match="features has 2, logits has 3"):
        mahalanobis.score(state, jnp.zeros((2, 12)), jnp.zeros((3, 4)))
