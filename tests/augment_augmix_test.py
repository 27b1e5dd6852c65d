"""AugMix: draws by counting, weights against Beta and Dirichlet, mixtures recomputed from elementary operations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from policy_checks import HEIGHT, WIDTH, check_contract, draws_of, elementary, images_of, many_keys, pixels_of, uniform
from scipy import stats

from mollax.augment import augmix, augmix_pair, chain
from mollax.augment.augmix import draw, draw_weights, ranges

SPACE = chain.create_space({"identity": None, **ranges(HEIGHT, WIDTH, all_ops=False)}, 10)
PARTIAL = {"shear_x", "shear_y", "translate_x", "translate_y", "rotate"} | {
    "posterize",
    "solarize",
    "auto_contrast",
    "equalize",
}


def test_operations_that_overlap_with_corruptions_are_left_out() -> None:
    assert set(ranges(32, 32, all_ops=False)) == PARTIAL
    assert set(ranges(32, 32, all_ops=True)) == PARTIAL | {"brightness", "color", "contrast", "sharpness"}


def test_chains_are_drawn_alike() -> None:
    indices, magnitudes = draws_of(functools.partial(draw, space=SPACE, width=3, depth=-1, severity=3), 5000)
    assert indices.shape == (5000, 3, 3)
    lengths = (indices > 0).sum(axis=2)
    assert uniform(lengths - 1, 3)
    assert (np.diff((indices > 0).astype(int), axis=2) <= 0).all(), "identity fills up at the end"
    assert uniform(indices[indices > 0] - 1, 9)
    assert (magnitudes[indices == 0] == 0).all()
    for name, levels in {
        "rotate": [0, 30 / 9, 60 / 9],
        "posterize": [4, 3],
        "translate_x": [0, 1, 2],
        "solarize": [1, 8 / 9, 7 / 9],
    }.items():
        values = magnitudes[indices == SPACE.names.index(name)]
        np.testing.assert_allclose(np.unique(np.abs(values).round(4)), np.unique(np.round(levels, 4)), atol=1e-4)
    deep, _ = draws_of(functools.partial(draw, space=SPACE, width=2, depth=4, severity=10), 50)
    assert deep.shape == (50, 2, 4)
    assert deep.min() >= 1


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_weights_follow_beta_and_dirichlet(alpha: float) -> None:
    def weigh(key: jax.Array) -> tuple[jax.Array]:
        return (draw_weights(key, 3, alpha),)

    (weights,) = draws_of(weigh, 3000)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    m = 1 - weights[:, 0]
    assert stats.kstest(m, stats.beta(alpha, alpha).cdf).pvalue > 0.005
    # A marginal of Dirichlet(a, a, a) is Beta(a, 2 a), independent of m.
    first = weights[:, 1] / np.maximum(m, 1e-12)
    assert stats.kstest(first[m > 1e-4], stats.beta(alpha, 2 * alpha).cdf).pvalue > 0.005
    assert abs(np.corrcoef(m, first)[0, 1]) < 0.06


def test_results_are_mixtures_of_the_drawn_chains(rng: np.random.Generator) -> None:
    pixels = pixels_of(rng, 8)
    results = check_contract(augmix, pixels)

    def drawn(key: jax.Array) -> tuple[jax.Array, ...]:
        chain_key, mix_key = jax.random.split(key)
        return (*draw(chain_key, SPACE, 3, -1, 3), draw_weights(mix_key, 3, 1.0))

    draws = zip(results, np.asarray(images_of(pixels)), *draws_of(drawn, len(pixels), 7), strict=True)
    for result, image, indices, magnitudes, weights in draws:
        expected = weights[0] * image
        for i in range(3):
            changed = image
            for index, magnitude in zip(indices[i], magnitudes[i], strict=True):
                step = elementary(SPACE.names[index], "bilinear")
                changed = np.asarray(step(changed, jnp.float32(magnitude)))
            expected = expected + weights[i + 1] * changed
        # A level at the edge of its bin can fall to the other side.
        assert (np.abs(result - expected) > 1e-4).mean() < 0.01


def test_a_pair_is_two_versions(rng: np.random.Generator) -> None:
    image = images_of(rng.integers(0, 256, (12, 9, 1), np.uint8))
    options = {"all_ops": True, "width": 2, "depth": 2, "severity": 10}
    pairs = np.asarray(jax.jit(jax.vmap(functools.partial(augmix_pair, **options), (0, None)))(many_keys(5), image))
    assert pairs.shape == (5, 2, 12, 9, 1)
    assert np.abs(pairs[:, 0] - pairs[:, 1]).max(axis=(1, 2, 3)).min() > 0
    assert len(np.unique(pairs.reshape(10, -1).round(4), axis=0)) == 10


def test_bad_arguments_are_named() -> None:
    key, image = jax.random.key(0), jnp.zeros((8, 8, 3))
    for function in (augmix, augmix_pair):
        with pytest.raises(ValueError, match=r"severity must be in \[1, 10\]; got 11"):
            function(key, image, severity=11)
        with pytest.raises(ValueError, match="depth must be at least 1; got 0"):
            function(key, image, depth=0)
        with pytest.raises(ValueError, match="width must be at least 1; got 0"):
            function(key, image, width=0)
        with pytest.raises(ValueError, match=r"alpha must be in \(0, inf\); got 0"):
            function(key, image, alpha=0)
