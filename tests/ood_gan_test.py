"""The GAN's losses in closed form and by PyTorch, one step by hand, samples in range, the same for the same key."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiling import fast

from mollax.ood.gan import discriminator_loss, feature_gan, generator_loss, pixel_gan

SMALL = {"latent": 3, "hidden": (8,), "rate": 0.01}


@pytest.fixture(autouse=True)
def for_optax():
    """Adam's bias correction mixes types."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def features(rng, count=40):
    return jnp.asarray(rng.normal([5.0, -1.0], [2.0, 0.1], (count, 2)), jnp.float32)


def initial(gan, key, real):
    """The first state; a program that runs once."""
    return fast(lambda key: gan.initial(key, real))(key)


def test_losses_in_closed_form():
    even = jnp.zeros(4)
    np.testing.assert_allclose(discriminator_loss(even, even), 2 * math.log(2), rtol=1e-6)
    np.testing.assert_allclose(generator_loss(even), math.log(2), rtol=1e-6)
    real, fake = jnp.log(jnp.float32([3.0, 1.0])), jnp.log(jnp.float32([1.0, 4.0, 9.0]))
    # sigma(log a) = a / (1 + a).
    np.testing.assert_allclose(discriminator_loss(real, fake), math.log(8 / 3) / 2 + math.log(100) / 3, rtol=1e-6)
    np.testing.assert_allclose(generator_loss(fake), math.log(2 * 5 / 4 * 10 / 9) / 3, rtol=1e-6)
    # Not saturating: a sample that fools nobody has the steepest slope.
    np.testing.assert_allclose(jax.grad(generator_loss)(jnp.float32([-50.0])), [-1.0], rtol=1e-6)


def test_losses_are_pytorchs(rng):
    torch = pytest.importorskip("torch")
    real, fake = rng.normal(0, 3, 9), rng.normal(0, 3, 5)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    ones, zeros = torch.ones, torch.zeros
    made = torch.tensor(fake)
    both = entropy(torch.tensor(real), ones(9).double()) + entropy(made, zeros(5).double())
    with jax.enable_x64(True):
        np.testing.assert_allclose(discriminator_loss(jnp.asarray(real), jnp.asarray(fake)), both.item(), rtol=1e-12)
        found = generator_loss(jnp.asarray(fake))
    np.testing.assert_allclose(found, entropy(made, ones(5).double()).item(), rtol=1e-12)


def test_a_step_by_hand(rng, key):
    """Adam on the two losses in turn; the second sees the first's result."""
    gan, real = feature_gan(2, **SMALL), features(rng)
    state = initial(gan, key, real)
    after, losses = fast(gan.step)(key, state, real)
    first, second = jax.random.split(key)
    params = state.params
    np.testing.assert_allclose(params.center, np.asarray(real).mean(0), rtol=1e-5)
    np.testing.assert_allclose(params.spread, np.asarray(real).std(0), rtol=1e-4)

    def logits(weights, data):
        return gan.discriminator.apply(weights, (data - params.center[None]) / params.spread[None])[:, 0]

    def made(weights, key):
        latent = jax.random.normal(key, (40, 3), jnp.float32)
        return params.center[None] + params.spread[None] * gan.generator.apply(weights, latent)

    @fast
    def reference(real):
        fake = made(params.generator, first)
        theirs, gradient = jax.value_and_grad(lambda w: discriminator_loss(logits(w, real), logits(w, fake)))(
            params.discriminator
        )
        adam = optax.adam(0.01 / 1.5, b1=0.5)
        updates = adam.update(gradient, adam.init(params.discriminator))[0]
        discriminator = optax.apply_updates(params.discriminator, updates)
        ours, gradient = jax.value_and_grad(lambda w: generator_loss(logits(discriminator, made(w, second))))(
            params.generator
        )
        adam = optax.adam(0.01, b1=0.5)
        updates = adam.update(gradient, adam.init(params.generator))[0]
        return theirs, discriminator, ours, optax.apply_updates(params.generator, updates)

    theirs, discriminator, ours, generator = reference(real)
    np.testing.assert_allclose(losses["discriminator"], theirs, rtol=1e-5)
    np.testing.assert_allclose(losses["generator"], ours, rtol=1e-5)
    for found, expected in ((after.params.discriminator, discriminator), (after.params.generator, generator)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), found, expected)


def test_same_key_same_step_and_outliers_are_pushed_away(rng, key):
    gan, real = feature_gan(2, **SMALL), features(rng)
    outliers = real[:10] + jnp.float32([[8.0, 0.0]])
    step = fast(gan.step)
    start = initial(gan, key, real)
    one, two = step(key, start, real)[0], step(key, start, real)[0]
    jax.tree.map(np.testing.assert_array_equal, one, two)
    other = step(jax.random.fold_in(key, 1), start, real)[0]
    assert not np.array_equal(gan.sample(key, one.params, 3), gan.sample(key, other.params, 3))
    with_outliers = fast(lambda key, state: gan.step(key, state, real, outliers=outliers)[0])
    plain = pushed = start
    for number in range(20):
        plain = step(jax.random.fold_in(key, number), plain, real)[0]
        pushed = with_outliers(jax.random.fold_in(key, number), pushed)
    assert gan.score(pushed.params, outliers).mean() > gan.score(plain.params, outliers).mean() + 0.2


def test_samples_have_the_shape_and_range_of_the_data(key, rng):
    images = jnp.asarray(rng.uniform(size=(4, 4, 8, 3)), jnp.float32)
    gan = pixel_gan((4, 8, 3), latent=5, width=2)
    state = initial(gan, key, images)
    after, losses = jax.eval_shape(gan.step, key, state, images)
    jax.tree.map(lambda a, b: np.testing.assert_equal((a.shape, a.dtype), (b.shape, b.dtype)), after, state)
    assert set(losses) == {"generator", "discriminator"}
    made = np.asarray(fast(partial(gan.sample, count=7))(key, state.params))
    assert made.shape == (7, 4, 8, 3)
    assert made.dtype == np.float32
    assert made.min() >= 0
    assert made.max() <= 1
    assert made.std() > 0
    assert np.isfinite(fast(gan.score)(state.params, images)).tolist() == [True] * 4
    positive = feature_gan(2, nonnegative=True, **SMALL)
    made = positive.sample(key, initial(positive, key, features(rng)).params, 50)
    assert float(made.min()) == 0.0


def test_a_feature_that_never_changes(key):
    gan = feature_gan(2, **SMALL)
    params = initial(gan, key, jnp.float32([[1, 7], [2, 7]])).params
    np.testing.assert_allclose(params.spread, [0.5, 1.0])
    assert np.isfinite(gan.score(params, jnp.float32([[1, 7]]))).all()


def test_bad_input(unhooked, key):
    gan = feature_gan(2, **SMALL)
    with pytest.raises(TypeError, match="Divide 8-bit images by 255"):
        gan.initial(key, jnp.zeros((3, 2), jnp.uint8))
    for bad in (jnp.zeros((0, 2)), jnp.full((3, 2), jnp.nan)):
        with pytest.raises(ValueError, match="needs finite data"):
            gan.initial(key, bad)
    for options, name in (({"latent": 0}, "latent"), ({"hidden": (0,)}, "each of hidden"), ({"rate": 0.0}, "rate")):
        with pytest.raises(ValueError, match=f"{name} must be"):
            feature_gan(2, **options)
    with pytest.raises(ValueError, match="outlier_weight must be"):
        feature_gan(2, outlier_weight=-1.0)
    for shape in ((8, 10, 3), (8, 8), (0, 8, 1)):
        with pytest.raises(ValueError, match="multiples of 4"):
            pixel_gan(shape)
