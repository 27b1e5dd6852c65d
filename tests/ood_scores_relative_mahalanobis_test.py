"""Relative Mahalanobis against the two distances of the paper by SciPy and scikit-learn, and by hand."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial.distance
from ood_distances import Features, check_parity, features
from sklearn.covariance import EmpiricalCovariance, shrunk_covariance

from mollax.ood.scores import relative_mahalanobis
from mollax.ood.scores.mahalanobis import SingularCovarianceError


def distances(data: Features, *, shrinkage: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances to the nearest class and to all training features."""
    classes = data.logits.shape[1]
    means = np.stack([data.train[data.labels == label].mean(axis=0) for label in range(classes)])
    within = EmpiricalCovariance(assume_centered=True).fit(data.train - means[data.labels]).covariance_
    covariance = shrunk_covariance(within, shrinkage)
    background = EmpiricalCovariance().fit(data.train).covariance_ - within + covariance
    mean = data.train.mean(axis=0, keepdims=True)
    near, far = (
        scipy.spatial.distance.cdist(data.queries, points, "mahalanobis", VI=np.linalg.inv(matrix)).min(axis=1) ** 2
        for points, matrix in ((means, covariance), (mean, background))
    )
    return near, far


@pytest.mark.parametrize("shrinkage, d, k", [(0.0, 12, 4), (0.2, 12, 4), (0.0, 3, 6)])
def test_parity(shrinkage, d, k):
    data = features(d=d, k=k)

    def reference(data):
        near, far = distances(data, shrinkage=shrinkage)
        return near - far

    near, far = distances(data, shrinkage=shrinkage)
    wrong = {
        "no background": near,
        "half of it": near - far / 2,
        "another shrinkage": np.subtract(*distances(data, shrinkage=0.1)),
    }
    check_parity(relative_mahalanobis, data, reference, wrong=wrong, shrinkage=shrinkage)


def test_by_hand():
    # As in Mahalanobis: variances 2 and 1/2 within; the means at 0 and 10 add 25 to the first.
    cross = np.array([[2.0, 0], [-2, 0], [0, 1], [0, -1]])
    train = np.concatenate([cross, cross + np.array([[10, 0]])]).astype(np.float32)
    labels = np.repeat(np.arange(2, dtype=np.int32), 4)
    state = relative_mahalanobis.fit(train, np.zeros((8, 2), np.float32), labels, None)
    queries = jnp.array([[0, 0], [2, 3], [5, 7]], jnp.float32)
    mine = relative_mahalanobis.score(state, queries, jnp.zeros((3, 2)))
    expected = [0 - 25 / 27, (4 / 2 + 18) - (9 / 27 + 18), (25 / 2 + 98) - 98]
    np.testing.assert_allclose(mine, expected, rtol=1e-5, atol=1e-5)


def test_bad_input(unhooked):
    data = features(n=40)
    with pytest.raises(SingularCovarianceError, match="shrinkage"):
        relative_mahalanobis.fit(np.where(np.arange(12) == 3, 0.5, data.train), data.logits, data.labels, None)
    with pytest.raises(ValueError, match="the first is class 4"):
        relative_mahalanobis.fit(data.train, np.zeros((40, 5)), data.labels, None)
    state = relative_mahalanobis.fit(data.train, data.logits, data.labels, None)
    with pytest.raises(ValueError, match="features has 2, logits has 3"):
        relative_mahalanobis.score(state, jnp.zeros((2, 12)), jnp.zeros((3, 4)))
