"""What the network sees and what it is scored on, recomputed by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from scipy import stats

from mollax import augment, mollify, objectives


def prepared(key, images, labels, **options):
    defaults = {"classes": 10, "mean": tiny.MEAN, "std": tiny.STD, "augment": None, "mollifier": None}
    return objectives.prepare(key, jnp.asarray(images), jnp.asarray(labels), **{**defaults, **options})


def test_plain_images_are_standardized_and_labels_one_hot(key):
    images, labels = tiny.digits(4)
    result = prepared(key, images, labels)
    np.testing.assert_allclose(result.images, (images / 255.0 - 0.3) / 0.38, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(result.labels, np.eye(10)[labels])
    assert (np.asarray(result.gamma) == 0).all()


def test_mollified_labels_follow_the_returned_temperatures(key):
    images, labels = tiny.digits(32)
    result = prepared(key, images, labels, mollifier={"noise_power": 2.0})
    t, role = np.asarray(result.t), np.asarray(result.role)
    gamma = np.where(role == 1, np.sin(np.pi * t / 2) ** 4, np.where(role == 2, t, 0.0))
    expected = (1 - gamma[:, None]) * np.eye(10)[labels] + gamma[:, None] / 10
    np.testing.assert_allclose(result.labels, expected, atol=1e-6)
    assert set(role) == {0, 1, 2}


def test_slices_with_their_first_index_equal_the_whole(key):
    images, labels = tiny.digits(16)
    options = {"augment": augment.flip_crop_rotate, "mollifier": {}, "repeats": 2}
    whole = prepared(key, images, labels, **options)
    halves = [prepared(key, images[i : i + 8], labels[i : i + 8], first_index=i, **options) for i in (0, 8)]
    for name in ("t", "role", "labels"):
        np.testing.assert_array_equal(getattr(whole, name), np.concatenate([getattr(h, name) for h in halves]))
    np.testing.assert_allclose(whole.images, np.concatenate([h.images for h in halves]), atol=1e-6)


def test_repeats_are_augmented_and_mollified_by_their_own_draws(key):
    images, labels = tiny.digits(8)
    result = prepared(key, images, labels, mollifier={"roles": ("noise",)}, repeats=3)
    assert result.images.shape == (24, 8, 8, 1)
    assert len(np.unique(np.asarray(result.t))) == 24


def loss_of(loss, marginal, repeats, key):
    images, labels = tiny.digits(8)
    network, objective, _, state = tiny.problem(loss=loss, marginal=marginal, repeats=repeats)
    batch = {"image": jnp.asarray(images), "label": jnp.asarray(labels)}
    value, (metrics, _, extra) = objective(state.params, state.model_state, {"kept": 1}, batch, key, 0)
    examples = prepared(jax.random.split(key)[0], images, labels, mollifier={}, repeats=repeats)
    logits = np.asarray(network.apply(state.evaluated(), examples.images, train=False), np.float64)
    assert extra == {"kept": 1}
    assert float(metrics["loss"]) == float(value)
    hits = logits.argmax(1) == np.repeat(labels, repeats)
    assert float(metrics["accuracy"]) == pytest.approx(hits.mean())
    log_probs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return float(value), (np.asarray(examples.labels) * log_probs).sum(1), logits


@pytest.mark.parametrize("marginal, repeats", [("jensen", 1), ("jensen", 3), ("naive", 3), ("corrected", 3)])
def test_cross_entropy_joined_over_repeats(marginal, repeats, key):
    value, log_likelihood, _ = loss_of("cross_entropy", marginal, repeats, key)
    draws = log_likelihood.reshape(8, repeats)
    p = np.exp(draws)
    mean = p.mean(1)
    expected = {"jensen": draws.mean(1), "naive": np.log(mean)}
    if repeats > 1:
        expected["corrected"] = np.log(mean) + p.var(1, ddof=1) / repeats / mean**2 / 2
    assert value == pytest.approx(-expected[marginal].mean(), rel=1e-5)


def test_normalized_loss_adds_the_log_normalizer(key):
    value, log_likelihood, logits = loss_of("normalized", "jensen", 1, key)
    z = np.asarray(mollify.log_normalizer(jnp.asarray(logits, jnp.float32)))
    assert value == pytest.approx((-log_likelihood + z).mean(), rel=1e-5)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"loss": "crossentropy"}, "Did you mean 'cross_entropy'"),
        ({"marginal": "jenson"}, "Did you mean 'jensen'"),
        ({"marginal": "corrected"}, "needs mollify.repeats of at least 2"),
        ({"repeats": 0}, "mollify.repeats must be at least 1"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(ValueError, match=message):
        tiny.problem(**options)


@pytest.mark.parametrize("mix", [augment.mixup, augment.cutmix])
def test_mixed_slices_equal_the_whole_and_labels_name_the_partners(mix, key):
    images, labels = tiny.digits(16)
    options = {"mix": mix, "repeats": 2, "mollifier": None}
    whole = prepared(key, images, labels, **options)
    halves = [prepared(key, images[i : i + 8], labels[i : i + 8], first_index=i, **options) for i in (0, 8)]
    for name in ("images", "labels"):
        np.testing.assert_allclose(getattr(whole, name), np.concatenate([getattr(h, name) for h in halves]), atol=1e-6)
    soft = np.asarray(whole.labels)
    np.testing.assert_allclose(soft.sum(1), 1, atol=1e-6)
    for i, row in enumerate(soft):
        group = labels[i // 2 // 8 * 8 :][:8]
        assert set(np.flatnonzero(row)) <= set(group)
    assert (soft.max(1) < 1).any()


def test_views_share_their_images_draws(key):
    images, labels = tiny.digits(6)

    def views(key, image):
        return jnp.stack([1.0 - image, image])

    plain = prepared(key, images, labels, mollifier={})
    seen = prepared(key, images, labels, mollifier={}, views=views)
    assert seen.images.shape == (18, 8, 8, 1)
    for name in ("t", "role", "labels"):
        np.testing.assert_array_equal(getattr(seen, name), np.concatenate([getattr(plain, name)] * 3))
    np.testing.assert_allclose(seen.images[:6], plain.images, atol=1e-6)
    np.testing.assert_allclose(seen.images[12:], plain.images, atol=1e-6)
    assert not np.allclose(seen.images[6:12], plain.images)


def test_consistency_is_added_to_the_loss_of_the_first_version(key):
    images, labels = tiny.digits(8)
    network, _, _, state = tiny.problem()
    batch = {"image": jnp.asarray(images), "label": jnp.asarray(labels)}

    def views(key, image):
        return jnp.stack([1.0 - image, image**2])

    common = {"classes": 10, "mean": tiny.MEAN, "std": tiny.STD, "mollifier": {}}
    objective = objectives.classification_objective(network, views=views, consistency=12.0, **common)
    value, (metrics, _, _) = objective(state.params, state.model_state, {}, batch, key, 0)
    examples = prepared(jax.random.split(key)[0], images, labels, mollifier={}, views=views)
    logits = np.asarray(network.apply(state.evaluated(), examples.images, train=False), np.float64)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    nll = -(np.asarray(examples.labels)[:8] * np.log(p[:8])).sum(1).mean()
    # scipy's distance is the square root of the divergence of two; of three it is by definition.
    p = p.reshape(3, 8, 10)
    divergence = np.mean([stats.entropy(q, p.mean(0), axis=1) for q in p])
    assert float(metrics["consistency"]) == pytest.approx(divergence, rel=1e-4)
    assert float(value) == pytest.approx(nll + 12 * divergence, rel=1e-4)


def test_impossible_combinations_are_refused():
    network = tiny.problem()[0]
    common = {"classes": 10, "mean": tiny.MEAN, "std": tiny.STD}

    def views(key, image):
        return jnp.stack([image, image])

    for options, message in (
        ({"consistency": 12.0}, "needs views"),
        ({"views": views}, "views need a loss.consistency above 0"),
        ({"views": views, "consistency": -1.0}, "loss.consistency must be in"),
        ({"views": views, "consistency": 1.0, "repeats": 2}, "no mollify.repeats"),
        ({"views": views, "consistency": 1.0, "mix": augment.mixup}, "no augment.mix"),
    ):
        with pytest.raises(ValueError, match=message):
            objectives.classification_objective(network, **common, **options)
