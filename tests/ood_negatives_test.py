"""A GAN trained on a ring: its samples come closer than noise; the choice among checkpoints against scikit-learn."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import fast
from scipy import spatial
from sklearn.metrics import roc_auc_score

from mollax.ood.gan import feature_gan
from mollax.ood.negatives import (
    choose_discriminator,
    draw_negatives,
    empty_generators,
    fit_gan,
    gather_generators,
)

GAN = feature_gan(2, latent=4, hidden=(32, 32), rate=2e-3)


def ring(rng, count):
    """Points about a circle of radius 2 around (3, 1)."""
    angle = rng.uniform(0, 2 * np.pi, count)
    points = 2 * np.stack([np.cos(angle), np.sin(angle)], 1) + rng.normal(0, 0.1, (count, 2)) + [3.0, 1.0]
    return points.astype(np.float32)


@pytest.fixture(scope="module")
def trained():
    rng = np.random.default_rng(5)
    data = ring(rng, 2000)
    with jax.numpy_dtype_promotion("standard"):  # for optax
        return data, fit_gan(jax.random.key(1), GAN, jnp.asarray(data), steps=900, batch=128, checkpoints=6)


def energy_distance(a, b):
    """2 E|a - b| - E|a - a'| - E|b - b'|: 0 for one distribution."""
    between, first, second = (spatial.distance.cdist(*pair).mean() for pair in ((a, b), (a, a), (b, b)))
    return 2 * between - first - second


def test_samples_come_closer_to_the_ring_than_noise(trained, key, rng):
    data, checkpoints = trained
    fresh = ring(rng, 1000)
    noise = rng.normal(data.mean(0), data.std(0), (1000, 2))
    sample = fast(partial(GAN.sample, count=1000))
    made = np.asarray(sample(key, checkpoints[-1]))
    untrained = np.asarray(sample(key, GAN.initial(key, jnp.asarray(data)).params))
    to_noise = energy_distance(noise, fresh)
    assert energy_distance(made, fresh) < to_noise / 2
    assert energy_distance(untrained, fresh) > 2 * to_noise
    # Near the circle, which noise of the same mean and spread is not.
    off = [np.abs(np.linalg.norm(points - [3.0, 1.0], axis=1) - 2).mean() for points in (made, noise)]
    assert off[0] < off[1] / 2


def test_the_same_key_trains_the_same_gan(rng):
    data = jnp.asarray(ring(rng, 64))
    with jax.numpy_dtype_promotion("standard"):  # for optax
        runs = [fit_gan(jax.random.key(seed), GAN, data, steps=5, batch=8, checkpoints=2) for seed in (3, 3, 4)]
    assert [len(run) for run in runs] == [2, 2, 2]
    jax.tree.map(np.testing.assert_array_equal, runs[0], runs[1])
    assert not np.array_equal(*(jax.tree.leaves(run[-1])[0] for run in runs[1:]))
    # The last checkpoint is the end, the first the middle (step 2 of 5).
    with jax.numpy_dtype_promotion("standard"):
        shorter = fit_gan(jax.random.key(3), GAN, data, steps=2, batch=8, checkpoints=1)
    jax.tree.map(np.testing.assert_array_equal, shorter[0], runs[0][0])


def test_the_choice_is_by_scikit_learns_auroc(trained, rng):
    _, checkpoints = trained
    inside = ring(rng, 300)
    # What lies between the ring's points, and some on it: ties with them as well.
    outside = np.concatenate([rng.normal([3, 1], 0.3, (200, 2)), inside[:20]]).astype(np.float32)
    choice = choose_discriminator(GAN, checkpoints, inside, jnp.asarray(outside))
    expected = []
    score = fast(GAN.score)
    for params in checkpoints:
        scores = score(params, np.concatenate([inside, outside]))
        expected.append(roc_auc_score(np.repeat([0, 1], [300, 220]), scores))
    np.testing.assert_allclose(choice.aurocs, expected, atol=2e-4)
    assert choice.best == int(np.argmax(choice.aurocs))
    assert choice.aurocs[choice.best] > 0.7


def test_negatives_are_those_of_the_generator_that_is_asked(trained):
    _, checkpoints = trained
    generators = gather_generators(checkpoints, least=2.0)
    each = jax.random.split(jax.random.key(2), 5)
    draw = fast(partial(draw_negatives, gan=GAN))
    latent = jax.vmap(lambda key: jax.random.normal(key, (4,)))(each)
    for which, params in enumerate(checkpoints):
        made = draw(each, generators, jnp.int32(which))
        np.testing.assert_allclose(made, np.maximum(GAN.generate(params, latent), 2.0), atol=1e-4)
        # One of them does not depend on how many there are.
        np.testing.assert_allclose(draw(each[3:4], generators, jnp.int32(which)), made[3:4], atol=1e-5)


def test_places_for_generators(trained):
    generators = gather_generators(trained[1])
    places = empty_generators(GAN, (2,), 6)
    assert jax.tree.map(jnp.shape, places) == jax.tree.map(jnp.shape, generators)
    assert all(jnp.isnan(leaf).all() for leaf in jax.tree.leaves(places))
    assert float(generators.least) == -np.inf


def test_bad_input(unhooked, rng):
    data = jnp.asarray(ring(rng, 8))
    with pytest.raises(ValueError, match="at most a checkpoint a step; got 3 for 2"):
        fit_gan(jax.random.key(0), GAN, data, steps=2, checkpoints=3)
    with pytest.raises(ValueError, match="batch must be at least 1"):
        fit_gan(jax.random.key(0), GAN, data, steps=2, batch=0)
    params = GAN.initial(jax.random.key(0), data).params
    for arguments in (([], data, data), ([params], data[:0], data), ([params], data, data[:0])):
        with pytest.raises(ValueError, match="There must be checkpoints"):
            choose_discriminator(GAN, *arguments)
    broken = params._replace(center=jnp.full(2, jnp.nan))
    with pytest.raises(ValueError, match="checkpoint 1 are not finite"):
        choose_discriminator(GAN, [params, broken], data, data)
    with pytest.raises(ValueError, match="at least one checkpoint to draw from"):
        gather_generators([])
    diverged = params._replace(generator=jax.tree.map(lambda leaf: leaf * jnp.nan, params.generator))
    with pytest.raises(ValueError, match="the GAN diverged"):
        gather_generators([params, diverged])
