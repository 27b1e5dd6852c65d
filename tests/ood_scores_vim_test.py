"""ViM against the authors' steps with scikit-learn and NumPy, by hand, and its rule for the dimension."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from ood_distances import Features, check_parity, features
from sklearn.covariance import EmpiricalCovariance

from mollax.ood.head import Head
from mollax.ood.scores import vim


def reference(data: Features, *, dimension: int = 6, origin: bool = True, principal: bool = False) -> np.ndarray:
    """The paper's steps: origin, eigenvectors in falling order, alpha, virtual logit minus energy."""
    weights, bias = np.asarray(data.head.kernel).T, np.asarray(data.head.bias)
    u = -np.linalg.pinv(weights) @ bias if origin else np.zeros(weights.shape[1])
    moment = EmpiricalCovariance(assume_centered=True).fit(data.train - u).covariance_
    values, vectors = np.linalg.eig(moment)
    order = np.argsort(values)[::-1]
    null = vectors[:, order[:dimension] if principal else order[dimension:]]
    alpha = data.logits.max(axis=1).mean() / np.linalg.norm((data.train - u) @ null, axis=1).mean()
    virtual = alpha * np.linalg.norm((data.queries - u) @ null, axis=1)
    return virtual - scipy.special.logsumexp(data.query_logits, axis=1)


@pytest.mark.parametrize("dimension", [None, 9])
def test_parity(dimension):
    data = features()
    used = dimension or 6
    wrong = {
        "another dimension": reference(data, dimension=used + 1),
        "no origin": reference(data, dimension=used, origin=False),
        "the principal space": reference(data, dimension=used, principal=True),
    }
    check_parity(vim, data, lambda data: reference(data, dimension=used), wrong=wrong, dimension=dimension)


def test_by_hand():
    # W = I, b = (-3, -1): logits vanish at u = (3, 1). About it features spread 10 along x, 1 along y.
    head = Head(jnp.eye(2), jnp.array([-3.0, -1]))
    train = np.array([[13, 2], [-7, 0], [13, 0], [-7, 2.0]], np.float32)
    logits = train + np.asarray(head.bias)  # maxima 10, -1, 10, 1: mean 5; residuals |y - 1| are 1
    state = vim.fit(train, logits, np.zeros(4, np.int32), head)
    assert float(state.alpha) == pytest.approx(5, rel=1e-6)
    np.testing.assert_allclose(np.abs(state.complement[:, 0]), [0, 1], atol=1e-6)
    mine = vim.score(state, jnp.array([[3.0, 1], [3, 4]]), jnp.array([[0.0, 0], [0, 3]]))
    np.testing.assert_allclose(mine, [-np.log(2), 5 * 3 - np.log(1 + np.exp(3))], rtol=1e-5)


def test_rule_for_the_dimension():
    rule = {2: 1, 3: 1, 512: 256, 767: 383, 768: 512, 2047: 512, 2048: 1000, 4096: 1000}
    assert {width: vim.principal_dimension(width) for width in rule} == rule


def test_a_memmap_gives_the_same(tmp_path):
    data = features()
    np.save(tmp_path / "bank.npy", data.train.astype(np.float32))
    bank = np.load(tmp_path / "bank.npy", mmap_mode="r")
    head = Head(*(jnp.asarray(leaf.astype(np.float32)) for leaf in data.head))
    states = [vim.fit(array, data.logits, data.labels, head) for array in (bank, np.array(bank))]
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_bad_input(unhooked):
    data = features(n=40)
    head = Head(*(jnp.asarray(leaf.astype(np.float32)) for leaf in data.head))
    with pytest.raises(ValueError, match=r"ViM .*give its Head\(kernel, bias\), not None"):
        vim.fit(data.train, data.logits, data.labels, None)
    with pytest.raises(ValueError, match="dimension=12 of the principal space must be below the 12"):
        vim.fit(data.train, data.logits, data.labels, head, dimension=12)
    with pytest.raises(ValueError, match="dimension must be at least 1"):
        vim.fit(data.train, data.logits, data.labels, head, dimension=0)
    with pytest.raises(ValueError, match="The head maps 12 features to 4 logits, but there are 11"):
        vim.fit(data.train[:, 1:], data.logits, data.labels, head)
    flat = Head(head.kernel, jnp.zeros(4))
    with pytest.raises(ValueError, match="no residual outside of 6 principal dimensions"):
        vim.fit(np.where(np.arange(12) < 6, data.train, 0), data.logits, data.labels, flat)
    state = vim.fit(data.train, data.logits, data.labels, head)
    with pytest.raises(ValueError, match="features has 2, logits has 3"):
        vim.score(state, jnp.zeros((2, 12)), jnp.zeros((3, 4)))
    with pytest.raises(ValueError, match="width must be at least 2"):
        vim.principal_dimension(1)
