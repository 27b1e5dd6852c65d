"""Parity of a score with its formula in NumPy float64: values, ranks, and that a wrong formula is noticed."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from compiling import fast
from scipy.special import logsumexp
from scipy.stats import rankdata

from mollax.ood.head import Head


class Examples(NamedTuple):
    """Float64 arrays: what a score is fitted on or computed of."""

    features: np.ndarray
    logits: np.ndarray
    labels: np.ndarray
    head: Head


def examples(rng: np.random.Generator, count: int = 60, width: int = 24, classes: int = 5) -> Examples:
    """Activations as after a ReLU, with zeros, and the logits of a random head."""
    kernel, bias = rng.normal(size=(width, classes)), rng.normal(size=classes)
    features = np.maximum(rng.normal(0.3, 1.0, (count, width)), 0) * rng.gamma(2.0, 1.0, (count, 1))
    return Examples(features, features @ kernel + bias, rng.integers(0, classes, count), Head(kernel, bias))


def cast(data: Examples, dtype: Any) -> Examples:
    """The examples as JAX arrays of one precision."""
    features, logits, kernel, bias = (jnp.asarray(x, dtype) for x in (data.features, data.logits, *data.head))
    return Examples(features, logits, jnp.asarray(data.labels, jnp.int32), Head(kernel, bias))


def energy(features: np.ndarray, head: Head) -> np.ndarray:
    """-log sum exp of the head's logits."""
    return -logsumexp(features @ head.kernel + head.bias, axis=1)


def computed(module: Any, fitted_on: Examples, at: Examples, dtype: Any, **options: Any) -> np.ndarray:
    """Scores by the module, jitted, in one precision."""
    with jax.enable_x64(dtype == np.float64):
        state = module.fit(*cast(fitted_on, dtype), **options)
        assert {leaf.dtype for leaf in jax.tree.leaves(state)} <= {np.dtype(dtype), np.dtype(np.int32)}
        values = fast(module.score)(state, *cast(at, dtype)[:2])
        assert values.dtype == dtype
        assert values.shape == at.labels.shape
    return np.asarray(values, np.float64)


def agree(ours: np.ndarray, reference: np.ndarray, share: float, *, ranks: bool = False) -> bool:
    """Whether scores agree within a share of the reference's standard deviation, and in their ranks."""
    near = np.abs(ours - reference).max() <= share * reference.std()
    return bool(near and (not ranks or np.array_equal(rankdata(ours), rankdata(reference))))


def check_parity(
    double: np.ndarray,
    single: np.ndarray,
    reference: np.ndarray,
    wrong: Mapping[str, np.ndarray],
) -> None:
    """Asserts agreement in both precisions, and none with any wrong formula."""
    assert len(np.unique(reference)) > len(reference) / 2
    assert agree(double, reference, 1e-6, ranks=True)
    assert agree(single, reference, 1e-3)
    for name, values in wrong.items():
        assert not agree(single, values, 1e-3), f"{name} is not noticed"
        assert not agree(double, values, 1e-6), f"{name} is not noticed"


def check_module(
    module: Any,
    fitted_on: Examples,
    at: Examples,
    reference: np.ndarray,
    wrong: Mapping[str, np.ndarray],
    **options: Any,
) -> None:
    """`check_parity` of a score of features and logits."""
    run = partial(computed, module, fitted_on, at, **options)
    check_parity(run(dtype=np.float64), run(dtype=np.float32), reference, wrong)
