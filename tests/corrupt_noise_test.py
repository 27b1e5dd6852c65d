"""The noises against their distributions: scipy.stats, shares, independence."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mollax.corrupt import severity
from mollax.corrupt.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise

Z_LIMIT = 4.5  # standard errors; 7e-6 two-sided
P_LIMIT = 1e-3
EVERY = pytest.mark.parametrize(
    "noise, constant", [(gaussian_noise, 0.1), (shot_noise, 50.0), (impulse_noise, 0.07), (speckle_noise, 0.2)]
)


def jitted(noise: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Compiled, with its constant static."""
    return jax.jit(noise, static_argnums=2)


def flat(level: int, shape: tuple[int, int, int] = (200, 150, 3)) -> jax.Array:
    """An image of one gray level."""
    return jnp.full(shape, np.float32(level) / np.float32(255))


def assert_independent_over_channels(values: np.ndarray) -> None:
    """No correlation between channels of a pixel, nor between neighboring pixels."""
    z = (values - values.mean()) / values.std()
    n = np.sqrt(z[..., 0].size)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert abs((z[..., a] * z[..., b]).mean()) * n < Z_LIMIT
    assert abs((z[1:] * z[:-1]).mean()) * n < Z_LIMIT
    assert abs((z[:, 1:] * z[:, :-1]).mean()) * n < Z_LIMIT


def test_gaussian_noise_adds_a_normal(key: jax.Array) -> None:
    image = flat(200)
    noise = np.asarray(jitted(gaussian_noise)(key, image, 0.08) - image, np.float64)
    assert stats.kstest(noise.reshape(-1), "norm", args=(0, 0.08)).pvalue > P_LIMIT
    assert_independent_over_channels(noise)
    # The same noise whatever the image.
    np.testing.assert_allclose(jitted(gaussian_noise)(key, flat(3), 0.08) - flat(3), noise, atol=1e-6)


def test_speckle_noise_multiplies_by_a_normal(key: jax.Array) -> None:
    image = flat(120)
    noise = np.asarray((jitted(speckle_noise)(key, image, 0.15) - image) / image, np.float64)
    assert stats.kstest(noise.reshape(-1), "norm", args=(0, 0.15)).pvalue > P_LIMIT
    assert_independent_over_channels(noise)
    assert not np.any(speckle_noise(key, flat(0), 0.15))


def test_impulse_noise_strikes_values_one_by_one(key: jax.Array) -> None:
    amount, image = 0.07, flat(120)
    result = np.asarray(jitted(impulse_noise)(key, image, amount))
    struck = result != np.asarray(image)
    for value in (0.0, 1.0):
        count = int((result == value).sum())
        assert stats.binomtest(count, result.size, amount / 2).pvalue > P_LIMIT
    assert set(np.unique(result)) == {0.0, np.float32(120) / np.float32(255), 1.0}
    assert_independent_over_channels(struck)
    # Salt and pepper alike within a channel's pairs: of two struck values of a pixel, half agree.
    pairs = result[..., :2][struck[..., 0] & struck[..., 1]]
    assert stats.binomtest(int((pairs[:, 0] == pairs[:, 1]).sum()), len(pairs), 0.5).pvalue > P_LIMIT


@pytest.mark.parametrize("amount, black, white", [(0.0, 0.0, 0.0), (1.0, 0.5, 0.5)])
def test_impulse_noise_at_its_ends(amount: float, black: float, white: float, key: jax.Array) -> None:
    result = np.asarray(jitted(impulse_noise)(key, flat(120), amount))
    assert abs((result == 0).mean() - black) < 0.01
    assert abs((result == 1).mean() - white) < 0.01


@pytest.mark.parametrize("photons", [3.0, 50.0, 500.0])
@pytest.mark.parametrize("level", [1, 90, 255])
def test_shot_noise_counts_are_poisson(photons: float, level: int, key: jax.Array) -> None:
    result = np.asarray(jitted(shot_noise)(key, flat(level), photons), np.float64)
    counts = np.rint(result * photons).astype(int)
    np.testing.assert_allclose(result * photons, counts, rtol=5e-7)
    mean = level / 255 * photons
    # Chi-square over counts that are expected five times or more; the others lumped into the two ends.
    expected = stats.poisson.pmf(np.arange(counts.max() + 1), mean) * counts.size
    usual = np.flatnonzero(expected >= 5)
    low, high = usual[0], usual[-1]
    observed = np.bincount(np.clip(counts, low, high).reshape(-1), minlength=high + 1)[low:]
    share = stats.poisson.pmf(np.arange(low, high + 1), mean)
    share[0], share[-1] = stats.poisson.cdf(low, mean), stats.poisson.sf(high - 1, mean)
    assert stats.chisquare(observed, share / share.sum() * counts.size).pvalue > P_LIMIT
    assert_independent_over_channels(result)


def test_shot_noise_has_the_mean_and_variance_of_every_level(key: jax.Array) -> None:
    levels = np.arange(256)
    image = jnp.asarray(np.tile(levels[:, None, None], (1, 4000, 1)), jnp.float32) / 255
    result = np.asarray(jitted(shot_noise)(key, image, 15.0), np.float64)[..., 0]
    mean = levels / 255 * 15
    assert not result[0].any()
    z = (result.mean(axis=1) * 15 - mean)[1:] / np.sqrt(mean[1:] / 4000)
    assert stats.kstest(z, "norm").pvalue > P_LIMIT
    # var s^2 = (mean + 2 mean^2) / n for a Poisson distribution.
    z = (result.var(axis=1) * 225 - mean)[1:] / np.sqrt((mean + 2 * mean**2)[1:] / 4000)
    assert np.abs(z).max() < Z_LIMIT
    assert abs(z.mean()) < 0.5


@pytest.mark.parametrize("photons", sorted({row for t in severity.TABLES.values() for row in t["shot_noise"]}))
def test_shot_noise_is_stored_as_numpy_would_store_it(photons: float, key: jax.Array) -> None:
    # Counts over photons often fall on a gray level: truncation must not see a division that rounds differently.
    result = np.asarray(jitted(shot_noise)(key, flat(200, (60, 60, 3)), photons))
    counts = np.rint(result.astype(np.float64) * photons)
    stored = np.floor(np.clip(result, 0, 1) * np.float32(255))
    np.testing.assert_array_equal(stored, np.uint8(np.clip(counts / photons, 0, 1) * 255))


@EVERY
def test_a_batch_draws_what_single_images_draw(
    noise: Callable[..., jax.Array], constant: float, key: jax.Array, rng: np.random.Generator
) -> None:
    images = jnp.asarray(rng.integers(0, 256, (3, 9, 14, 1)), jnp.float32) / 255
    keys = jax.random.split(key, 3)
    batch = jax.jit(jax.vmap(lambda k, x: noise(k, x, constant)))(keys, images)
    assert batch.dtype == jnp.float32
    for i in range(3):
        np.testing.assert_allclose(batch[i], jitted(noise)(keys[i], images[i], constant), atol=1e-6)
    alone = jax.jit(jax.vmap(lambda k, x: noise(k, x, constant)))(keys[1:2], images[1:2])
    np.testing.assert_array_equal(alone[0], batch[1])
    assert np.any(batch[0] != jitted(noise)(keys[1], images[0], constant))


def test_bad_arguments_are_named(unhooked: None, key: jax.Array) -> None:
    image = jnp.zeros((8, 8, 3))
    for noise, constant in ((gaussian_noise, 0.1), (shot_noise, 50.0), (impulse_noise, 0.1), (speckle_noise, 0.1)):
        with pytest.raises(TypeError, match="image must be floats, not uint8"):
            noise(key, jnp.zeros((8, 8, 3), jnp.uint8), constant)
        with pytest.raises(ValueError, match=r"image must have 3 axes .*got shape \(8, 8\)"):
            noise(key, image[..., 0], constant)
    for noise in (gaussian_noise, speckle_noise):
        with pytest.raises(ValueError, match=r"sd must be in \[0, inf\); got -1"):
            noise(key, image, -1.0)
    for photons in (0.0, 10001.0):
        with pytest.raises(ValueError, match=r"photons must be in \(0, 10000\]; got"):
            shot_noise(key, image, photons)
    with pytest.raises(ValueError, match=r"amount must be in \[0, 1\]; got 1.5"):
        impulse_noise(key, image, 1.5)
