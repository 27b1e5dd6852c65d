"""Test-time averages against float64 SciPy, with transforms left out, and the rejection of strong transforms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from mollax.invariance.average import AVERAGES, choose_small
from mollax.invariance.average import average_predictions as eager_average

average_predictions = jax.jit(eager_average, static_argnames="average")


def reference(logits: np.ndarray, average: str) -> np.ndarray:
    """The three averages of (n, k) logits as one would write them down, in float64."""
    logits = logits.astype(np.float64)
    if average == "probs":
        return np.log(scipy.special.softmax(logits, axis=1).mean(axis=0))
    values = logits if average == "logits" else scipy.special.log_softmax(logits, axis=1)
    return scipy.special.log_softmax(values.mean(axis=0))


@pytest.mark.parametrize("average", AVERAGES)
def test_averages_are_scipys(average, rng):
    logits = rng.normal(0, 4, (2, 3, 20, 7)).astype(np.float32)
    keep = rng.random((2, 3, 20)) < 0.4
    keep[..., 5] = True
    average_all = average_predictions(logits, average=average)
    masked = average_predictions(logits, average=average, keep=keep)
    for at in np.ndindex(2, 3):
        np.testing.assert_allclose(average_all[at], reference(logits[at], average), atol=1e-5)
        np.testing.assert_allclose(masked[at], reference(logits[at][keep[at]], average), atol=1e-5)


def test_geometric_means_agree_and_the_arithmetic_one_has_no_veto():
    logits = jnp.array([[4.0, 0.0], [4.0, 0.0], [-60.0, 0.0]])
    by_logits, by_log_probs = (average_predictions(logits, average=a) for a in ("logits", "log_probs"))
    np.testing.assert_allclose(by_logits, by_log_probs, rtol=1e-5, atol=1e-6)
    assert by_logits.argmax() == 1
    np.testing.assert_allclose(np.exp(average_predictions(logits))[0], 2 / 3 / (1 + np.exp(-4)), rtol=1e-6)


@pytest.mark.parametrize("average", AVERAGES)
def test_extreme_logits_stay_normalised(average):
    logits = jnp.array([[1e4, 0.0, -1e4], [1e4, 1e4, 0.0]])
    log_probs = average_predictions(logits, average=average)
    assert float(jnp.exp(log_probs).sum()) == pytest.approx(1, abs=1e-6)
    assert jnp.isfinite(log_probs).all() or average == "probs"
    half = average_predictions(logits.astype(jnp.bfloat16), average=average)
    assert half.dtype == jnp.float32
    # A class that one transform excludes altogether.
    excluded = average_predictions(jnp.array([[0.0, -jnp.inf], [0.0, 0.0]]), average=average)
    np.testing.assert_allclose(np.exp(excluded), [0.75, 0.25] if average == "probs" else [1, 0])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 8), st.sampled_from(AVERAGES))
def test_order_and_shift_do_not_matter(seed, n, average):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (8, 4)).astype(np.float32)
    keep = np.arange(8) < n
    found = average_predictions(jnp.asarray(logits), average=average, keep=jnp.asarray(keep))
    order = rng.permutation(8)
    shifted = logits + rng.normal(size=(8, 1)).astype(np.float32)
    again = average_predictions(jnp.asarray(shifted[order]), average=average, keep=jnp.asarray(keep[order]))
    np.testing.assert_allclose(found, again, atol=1e-5)
    assert float(jnp.exp(found).sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("average", AVERAGES)
def test_dropped_logits_may_be_anything(average):
    keep = jnp.array([True, False])

    def first(logits: jax.Array) -> jax.Array:
        return average_predictions(logits, average=average, keep=keep)[0]

    clean, broken = jnp.array([[1.0, 2.0], [0.0, 0.0]]), jnp.array([[1.0, 2.0], [jnp.nan, jnp.inf]])
    assert first(broken) == first(clean)
    gradient = jax.jit(jax.grad(first))(broken)
    np.testing.assert_array_equal(gradient, jax.jit(jax.grad(first))(clean))
    np.testing.assert_array_equal(gradient[1], 0)
    assert (gradient[0] != 0).all()


@pytest.mark.parametrize("average", AVERAGES)
def test_a_row_without_transforms_is_nan(average):
    keep = jnp.array([[True, True], [False, False]])
    found = average_predictions(jnp.zeros((2, 2, 3)), average=average, keep=keep)
    np.testing.assert_allclose(found[0], np.log(1 / 3), rtol=1e-6)
    assert jnp.isnan(found[1]).all()


def test_rejection_is_of_the_norm(rng):
    params = rng.uniform(-1, 1, (4, 50, 3)).astype(np.float32)
    places, keep = jax.jit(lambda p: choose_small(p, radius=1.0, n=12))(params)
    for row, chosen in zip(np.linalg.norm(params.astype(np.float64), axis=-1), places, strict=True):
        np.testing.assert_array_equal(chosen, np.flatnonzero(row < 1)[:12])
    assert keep.all()
    # One generator alone keeps its whole range, the border excepted.
    three = jnp.array([[0.0, 0.999], [0.8, 0.8], [0.0, 1.0]])
    places, keep = choose_small(three, radius=1.0, n=3)
    assert (places.tolist(), keep.tolist()) == ([0, 1, 2], [True, False, False])
    assert choose_small(three, radius=1.2, n=2)[1].tolist() == [True, True]


def test_an_image_may_have_fewer_small_ones():
    params = jnp.array([[[2.0, 0.0], [0.0, -1.5], [1.5, 0.0]], [[2.0, 2.0], [0.1, 0.0], [0.0, 0.3]]])
    places, keep = choose_small(params, radius=1.0, n=2)
    assert places.tolist() == [[0, 1], [1, 2]]
    assert keep.tolist() == [[False, False], [True, True]]


def test_bad_arguments_are_named(unhooked):
    with pytest.raises(ValueError, match=r"average must be one of .*got 'prob'. Did you mean 'probs'"):
        average_predictions(jnp.zeros((2, 3)), average="prob")
    with pytest.raises(ValueError, match=r"a transform or more; got \(0, 3\)"):
        average_predictions(jnp.zeros((0, 3)))
    with pytest.raises(ValueError, match=r"without classes, \(2,\); got \(3,\)"):
        average_predictions(jnp.zeros((2, 3)), keep=jnp.ones(3, bool))
    with pytest.raises(ValueError, match=r"radius must be in \(0, inf\)"):
        choose_small(jnp.zeros((2, 3)), radius=0.0, n=1)
    with pytest.raises(ValueError, match=r"n must be in 1 \.\. 2, the number of transforms; got 3"):
        choose_small(jnp.zeros((2, 3)), radius=1.0, n=3)
