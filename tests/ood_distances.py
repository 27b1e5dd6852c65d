"""Features to score, and what it means that a score agrees with its formula."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from compiling import fast

from mollax.ood.head import Head


class Features(NamedTuple):
    """Training features (n, d) as after a ReLU, in float64, and queries near and far."""

    train: np.ndarray
    logits: np.ndarray
    labels: np.ndarray
    head: Head
    queries: np.ndarray
    query_logits: np.ndarray


def features(*, n: int = 300, d: int = 12, k: int = 4, queries: int = 80, seed: int = 0) -> Features:
    """Classes about means of their own with correlated coordinates of very different scale."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(k), rng.integers(0, k, n - k)]).astype(np.int32)
    means, mix = rng.normal(size=(k, d)), rng.normal(size=(d, d)) * np.geomspace(1, 0.1, d)

    def draw(labels: np.ndarray) -> np.ndarray:
        return np.logaddexp(0, means[labels] + rng.normal(size=(len(labels), d)) @ mix)

    train = draw(labels)
    tests = draw(rng.integers(0, k, queries)) + rng.choice([0, 1], (queries, 1)) * rng.normal(size=(queries, d))
    kernel, bias = rng.normal(size=(d, k)), rng.normal(size=k)
    return Features(train, train @ kernel + bias, labels, Head(kernel, bias), tests, tests @ kernel + bias)


def scores(module: ModuleType, data: Features, dtype: Any, **options: Any) -> np.ndarray:
    """`fit` on the training features, then `score` of the queries, jitted; float64 needs `jax.enable_x64`."""
    train, logits, queries, query_logits = (
        part.astype(dtype) for part in (data.train, data.logits, data.queries, data.query_logits)
    )
    head = Head(*(jnp.asarray(leaf.astype(dtype)) for leaf in data.head))
    state = module.fit(train, logits, data.labels, head, **options)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
    result = fast(module.score)(state, jnp.asarray(queries), jnp.asarray(query_logits))
    assert result.dtype == dtype
    return np.asarray(result)


def agrees(mine: np.ndarray, reference: np.ndarray, tolerance: float) -> bool:
    """Whether no score is farther off than `tolerance` times the spread of all."""
    return bool(np.abs(mine - reference).max() <= tolerance * np.ptp(reference))


def check_parity(
    module: ModuleType,
    data: Features,
    reference: Callable[[Features], np.ndarray],
    *,
    wrong: dict[str, np.ndarray] | None = None,
    **options: Any,
) -> None:
    """Float64 within 1e-6 of the spread and of the same ranks, float32 within 1e-3, and not so for what is wrong."""
    expected = reference(data)
    with jax.enable_x64(True):
        double = scores(module, data, np.float64, **options)
    single = scores(module, data, np.float32, **options)
    assert agrees(double, expected, 1e-6)
    np.testing.assert_array_equal(np.argsort(double, kind="stable"), np.argsort(expected, kind="stable"))
    assert agrees(single, expected, 1e-3)
    for name, other in {"flipped sign": -expected, **(wrong or {})}.items():
        assert not agrees(single, other, 1e-3), name
        assert not agrees(double, other, 1e-3), name
