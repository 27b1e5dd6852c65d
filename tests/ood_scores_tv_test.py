"""The score of TV-OOD against T in float64, its sign, its variants beyond saturation, and its messages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from compiling import fast
from hypothesis import given, settings
from hypothesis import strategies as st

from mollax.ood.scores import tv
from mollax.ood.total_variation import bounded_critic


def reference(variant, free, logits):
    """What METHODS section 3 writes, in terms of T = tanh(v) / 2, turned so that high is OOD."""
    t = np.tanh(free.astype(np.float64)) / 2
    own = t[np.arange(len(t)), logits.argmax(axis=1)]
    return {"prediction": -own, "extra": t[:, -1], "difference": t[:, -1] - own}[variant]


def undone(variant, score):
    """T's value of a score."""
    return np.tanh(score) if variant == "difference" else np.tanh(score) / 2


def scored(variant, free, logits):
    state = tv.fit(free, logits, jnp.zeros(len(free), jnp.int32), None, variant=variant)
    return tv.score(state, free, logits)


@pytest.mark.parametrize("variant", tv.VARIANTS)
def test_is_the_methods_score_before_saturation(rng, variant):
    free, logits = rng.normal(size=(300, 5)), rng.normal(size=(300, 4))
    expected = reference(variant, free, logits)
    spread = expected.std()
    with jax.enable_x64(True):
        found = scored(variant, jnp.asarray(free), jnp.asarray(logits))
        assert found.dtype == jnp.float64
        np.testing.assert_allclose(undone(variant, np.asarray(found)), expected, atol=1e-6 * spread)
        np.testing.assert_array_equal(scipy.stats.rankdata(found), scipy.stats.rankdata(expected))
    single = scored(variant, jnp.float32(free), jnp.float32(logits))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(undone(variant, np.asarray(single)), expected, atol=1e-3 * spread)
    # What would be wrong: the other sign, another column than the prediction's, the logits' own rank.
    for wrong in (-expected, reference(variant, np.roll(free, 1, axis=1), logits)):
        assert np.abs(undone(variant, np.asarray(single)) - wrong).max() > 0.1
    if variant != "extra":
        second = np.where(logits == logits.max(axis=1, keepdims=True), -np.inf, logits)
        assert np.abs(undone(variant, np.asarray(single)) - reference(variant, free, second)).max() > 0.1


def test_by_hand():
    free = jnp.array([[2.0, -1.0, -3.0], [-2.0, 0.5, 4.0]])  # an ID image and an outlier
    logits = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(scored("prediction", free, logits), [-2, -0.5])
    np.testing.assert_allclose(scored("extra", free, logits), [-3, 4])
    difference = np.arctanh([(np.tanh(-3) - np.tanh(2)) / 2, (np.tanh(4) - np.tanh(0.5)) / 2])
    np.testing.assert_allclose(scored("difference", free, logits), difference, rtol=1e-5)
    assert tv.NEEDS == "critic"


@pytest.mark.parametrize("variant", tv.VARIANTS)
def test_is_high_for_outliers_of_the_best_critic(rng, variant):
    # T* = +1/2 at an image's own label and -1/2 elsewhere; the classifier calls outliers something.
    labels, guesses = rng.integers(0, 4, 50), rng.integers(0, 4, 50)
    free_id, free_ood = 3 * (2 * np.eye(5)[labels] - 1), 3 * (2 * np.eye(5)[np.full(50, 4)] - 1)
    scores_id = scored(variant, jnp.float32(free_id), jnp.float32(np.eye(4)[labels]))
    scores_ood = scored(variant, jnp.float32(free_ood), jnp.float32(np.eye(4)[guesses]))
    assert scores_ood.min() > scores_id.max()


@pytest.mark.parametrize("variant", tv.VARIANTS)
def test_nothing_ties_where_tanh_saturates(variant):
    own = np.linspace(12, 40, 50, dtype=np.float32)
    free = np.stack([own, np.zeros(50), -own - 1], axis=1).astype(np.float32)
    logits = jnp.float32(np.tile([1.0, 0.0], (50, 1)))
    assert len(np.unique(np.asarray(bounded_critic(jnp.float32(free)))[:, 0])) <= 2  # 1/2, or the number below it
    for sign in (1, -1):
        found = np.asarray(scored(variant, jnp.float32(sign * free), logits))
        assert (np.diff(-sign * found) > 0).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31))
def test_difference_orders_as_the_difference_of_t(seed):
    rng = np.random.default_rng(seed)
    free = 4 * rng.normal(size=(40, 4))
    logits = rng.normal(size=(40, 3))
    t = reference("difference", free, logits)
    found = np.asarray(scored("difference", jnp.float32(free), jnp.float32(logits)))
    order = np.argsort(t)
    clear = np.diff(t[order]) > 1e-6
    assert (np.diff(found[order])[clear] > 0).all()


def test_state_is_a_pytree_and_the_variant_is_in_it(rng):
    free, logits = jnp.float32(rng.normal(size=(6, 4))), jnp.float32(rng.normal(size=(6, 3)))
    score = fast(tv.score)
    for variant in tv.VARIANTS:  # one program for all
        state = tv.fit(free, logits, jnp.zeros(6, jnp.int32), None, variant=variant)
        assert all(leaf.ndim == 0 for leaf in jax.tree.leaves(state))
        np.testing.assert_allclose(score(state, free, logits), tv.score(state, free, logits), rtol=1e-5)


def test_bad_input(unhooked):
    free, logits, labels = jnp.zeros((5, 4)), jnp.zeros((5, 3)), jnp.zeros(5, jnp.int32)
    state = tv.fit(free, logits, labels, None)
    with pytest.raises(ValueError, match="variant must be one of 'prediction', 'extra', 'difference'; got 'extras'"):
        tv.fit(free, logits, labels, None, variant="extras")
    with pytest.raises(ValueError, match=r"critic must have 4 outputs, .* got 3. Give its free outputs"):
        tv.fit(logits, logits, labels, None)
    with pytest.raises(ValueError, match="critic must have 4 outputs"):
        tv.score(state, jnp.zeros((5, 64)), logits)
    with pytest.raises(ValueError, match="critic has 5, logits has 4"):
        tv.score(state, free, logits[:4])
    with pytest.raises(ValueError, match="labels has 3"):
        tv.fit(free, logits, labels[:3], None)
    with pytest.raises(ValueError, match="critic of 1 examples are not finite, the first is number 2"):
        tv.fit(free.at[2, 1].set(jnp.nan), logits, labels, None)
