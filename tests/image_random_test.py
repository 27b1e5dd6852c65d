"""The counter hash: a statistical battery that weak generators fail, and the normals against scipy's."""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from mollax.image import random

Z_LIMIT = 4.5  # standard errors; 7e-6 two-sided
P_LIMIT = 1e-3
LAGS = (1, 2, 3, 32, 96, 1024)
# E z^2, E z^4, E z^6, E z^8 of the standardized distribution (odd ones vanish).
NORMAL_MOMENTS = {2: 1.0, 4: 3.0, 6: 15.0, 8: 105.0}
UNIFORM_MOMENTS = {2: 1.0, 4: 9 / 5, 6: 27 / 7, 8: 9.0}
Draw = Callable[[int], np.ndarray]


def kolmogorov_p(cumulative: np.ndarray) -> float:
    """p-value of the Kolmogorov-Smirnov statistic; `cumulative` is the distribution function at the draws."""
    ranked, n = np.sort(cumulative), len(cumulative)
    grid = np.arange(n + 1) / n
    return float(stats.kstwobign.sf(np.sqrt(n) * max((grid[1:] - ranked).max(), (ranked - grid[:-1]).max())))


def correlation_z(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of two standardized samples in standard errors."""
    return float(np.mean(a * b, dtype=np.float64) * np.sqrt(len(a)))


def moment_failures(name: str, z: np.ndarray, moments: dict[int, float]) -> list[str]:
    """Which of the first four moments (mean, variance, skewness, kurtosis) or lag correlations are off."""
    failures, power = [], np.ones_like(z)
    for k in (1, 2, 3, 4):
        power = power * z
        expected = moments.get(k, 0.0)
        error = np.sqrt((moments[2 * k] - expected**2) / len(z))
        if abs(power.mean(dtype=np.float64) - expected) > Z_LIMIT * error:
            failures.append(f"{name} moment {k}")
    failures += [f"{name} lag {i}" for i in LAGS if abs(correlation_z(z[:-i], z[i:])) > Z_LIMIT]
    return failures


def count_failures(words: np.ndarray) -> list[str]:
    """Which bytes, or pairs of successive bytes cut to 6 bits, are not uniform (chi-square, both tails)."""
    counts = {}
    for shift in (0, 8, 16, 24):
        byte = (words >> np.uint32(shift)).astype(np.uint8)
        counts[f"byte {shift}"] = np.bincount(byte, minlength=256)
        # The low bits of the low byte and the high bits of the others.
        six = (byte & 63 if shift == 0 else byte >> 2).astype(np.int64)[: len(words) // 2 * 2]
        counts[f"serial {shift}"] = np.bincount(six[::2] * 64 + six[1::2], minlength=4096)
    p = {name: stats.chisquare(count).pvalue for name, count in counts.items()}
    return [name for name, value in p.items() if not P_LIMIT < value < 1 - P_LIMIT]


def battery(words: np.ndarray, uniform: np.ndarray, normal: np.ndarray) -> list[str]:
    """Names of all tests that a sample fails."""
    failures = count_failures(words)
    if kolmogorov_p(uniform + 2.0**-25) < P_LIMIT:  # centres of the cells of the 24-bit grid
        failures.append("uniform Kolmogorov-Smirnov")
    if kolmogorov_p(special.ndtr(normal)) < P_LIMIT:
        failures.append("normal Kolmogorov-Smirnov")
    failures += moment_failures("uniform", (uniform - 0.5 + 2.0**-25) * np.sqrt(12), UNIFORM_MOMENTS)
    failures += moment_failures("normal", normal, NORMAL_MOMENTS)
    expected = stats.norm.isf(0.5 / len(normal))  # where half a draw a side is expected further out
    if not expected - 0.7 < np.abs(normal).max() < min(expected + 0.9, 5.5):
        failures.append("normal maximum")
    return failures


def hash_sample(key: jax.Array, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three outputs of the module under test, from three keys."""
    a, b, c = jax.random.split(key, 3)
    uniform, normal = random.uniform(b, (n,)), random.normal(c, (n,))
    return (
        np.asarray(random.hash_bits(a, (n,))),
        np.asarray(uniform, np.float64),
        np.asarray(normal, np.float64),
    )


def word_sample(words: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a generator of other words would give."""
    uniform = (words >> np.uint32(8)) * 2.0**-24
    return words, uniform, special.ndtri(uniform + 2.0**-25)


def linear_congruential(n: int) -> np.ndarray:
    """s -> 1664525 s + 1013904223 mod 2^32 (Numerical Recipes): good high bits, periodic low ones."""
    words = np.array([12345], np.uint32)
    multiplier, increment = 1664525, 1013904223
    while len(words) < n:  # doubling: s_(i + m) is an affine function of s_i
        words = np.concatenate([words, np.uint32(multiplier) * words + np.uint32(increment)])
        multiplier, increment = multiplier**2 % 2**32, (multiplier + 1) * increment % 2**32
    return words[:n]


def weyl(n: int) -> np.ndarray:
    """Multiples of the golden ratio mod 2^32: perfectly even and perfectly predictable."""
    return np.arange(n, dtype=np.uint32) * np.uint32(0x9E3779B9)


def one_round(n: int) -> np.ndarray:
    """A hash of the counter with one multiplication: what is saved by mixing too little."""
    x = np.arange(n, dtype=np.uint32) * np.uint32(0x21F0AAAD)
    return x ^ (x >> np.uint32(15))


def test_passes_the_battery_at_a_million(key: jax.Array) -> None:
    assert battery(*hash_sample(key, 2**20)) == []


@pytest.mark.parametrize("weak", [linear_congruential, weyl, one_round])
def test_weak_generators_fail_the_battery(weak: Draw) -> None:
    assert len(battery(*word_sample(weak(2**20)))) > 0


def test_the_congruential_reference_steps_as_it_should() -> None:
    state, expected = 12345, []
    for _ in range(20):
        expected.append(state)
        state = (1664525 * state + 1013904223) % 2**32
    np.testing.assert_array_equal(linear_congruential(20), expected)


def test_the_battery_passes_a_good_generator() -> None:
    words = np.random.default_rng(1).integers(2**32, size=2**20, dtype=np.uint32)
    assert battery(*word_sample(words)) == []


@pytest.mark.parametrize("generator", random.GENERATORS)
def test_scipy_agrees(generator: str, key: jax.Array) -> None:
    normal = np.asarray(random.normal(key, (200_000,), generator=generator), np.float64)
    uniform = np.asarray(random.uniform(key, (200_000,), generator=generator), np.float64)
    assert stats.kstest(normal, "norm").pvalue > P_LIMIT
    assert stats.kstest(uniform, "uniform").pvalue > P_LIMIT
    assert uniform.min() >= 0
    assert uniform.max() < 1


def test_normals_equal_scipys_at_every_cell() -> None:
    cells = np.unique(np.concatenate([np.arange(0, 2**24, 997), np.arange(4096), 2**24 - 1 - np.arange(4096)]))
    ours = random._normal_from_bits(jnp.asarray(cells.astype(np.uint32) << np.uint32(8)))
    np.testing.assert_allclose(ours, special.ndtri((cells + 0.5) / 2**24), rtol=2e-6, atol=1e-7)
    assert np.all(np.diff(np.asarray(ours)) >= 0)
    np.testing.assert_allclose(np.abs(ours).max(), 5.42, atol=0.01)


def test_uniforms_are_the_words_cut_to_24_bits(key: jax.Array) -> None:
    words = np.asarray(random.hash_bits(key, (1000,)))
    np.testing.assert_array_equal(random.uniform(key, (1000,)), (words >> 8) * 2.0**-24)


def test_a_value_depends_on_its_key_and_position_only(key: jax.Array) -> None:
    whole = random.normal(key, (6, 5, 4))
    assert whole.dtype == jnp.float32
    np.testing.assert_array_equal(random.normal(key, (120,)).reshape(6, 5, 4), whole)
    np.testing.assert_array_equal(random.normal(key, (2, 5, 4)), whole[:2])
    np.testing.assert_array_equal(random.normal(key, (6, 5, 4)), whole)
    np.testing.assert_array_equal(jax.jit(random.hash_bits, static_argnums=1)(key, (9,)), random.hash_bits(key, (9,)))
    keys = jax.random.split(key, 3)
    batch = jax.vmap(lambda k: random.uniform(k, (7,)))(keys)
    for row, k in zip(batch, keys, strict=True):
        np.testing.assert_array_equal(row, random.uniform(k, (7,)))


def test_empty_and_single_shapes(key: jax.Array) -> None:
    assert random.normal(key, (0, 3)).shape == (0, 3)
    assert random.normal(key, ()).shape == ()


def test_no_word_repeats_within_a_key(key: jax.Array) -> None:
    # A bijection of the position: 2^17 draws with replacement would have about two repeats.
    assert len(np.unique(random.hash_bits(key, (2**17,)))) == 2**17


def test_threefry_is_jax_random(key: jax.Array) -> None:
    normal = random.normal(key, (3, 4), generator="threefry")
    np.testing.assert_array_equal(normal, jax.random.normal(key, (3, 4)))
    uniform = random.uniform(key, (3, 4), generator="threefry")
    np.testing.assert_array_equal(uniform, jax.random.uniform(key, (3, 4)))


def test_bad_input_is_refused(key: jax.Array) -> None:
    for draw in (random.normal, random.uniform):
        with pytest.raises(ValueError, match=r"generator must be one of 'hash', 'threefry'; got 'philox'\."):
            draw(key, (2,), generator="philox")
    with pytest.raises(ValueError, match=r"at most 2\^32 values; got shape \(65536, 65537\)"):
        random.hash_bits(key, (65536, 65537))


def flips(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How often each of the 32 bits differs."""
    return np.unpackbits((a ^ b).view(np.uint8).reshape(-1, 4), axis=1).mean(axis=0)


def test_one_bit_of_the_key_changes_half_of_all_bits() -> None:
    data = np.array([0x01234567, 0x89ABCDEF], np.uint32)
    draw = jax.jit(lambda d: random.hash_bits(jax.random.wrap_key_data(d), (4096,)))
    base, limit = np.asarray(draw(data)), Z_LIMIT * 0.5 / np.sqrt(4096)
    for bit in range(64):
        changed = data.copy()
        changed[bit // 32] ^= np.uint32(1) << np.uint32(bit % 32)
        share = flips(base, np.asarray(draw(changed)))
        assert np.abs(share - 0.5).max() < limit, bit
        assert abs(share.mean() - 0.5) < limit / np.sqrt(32), bit


def test_one_bit_of_the_position_changes_half_of_all_bits(key: jax.Array) -> None:
    n = 2**17
    words, position = np.asarray(random.hash_bits(key, (n,))), np.arange(n)
    limit = Z_LIMIT * 0.5 / np.sqrt(n / 2)
    for bit in range(17):
        lower = position[(position >> bit) & 1 == 0]
        share = flips(words[lower], words[lower | (1 << bit)])
        assert np.abs(share - 0.5).max() < limit, bit


def neighbors(kind: str, n: int) -> list[np.ndarray]:
    """Normals of six keys that users would take for consecutive streams."""
    base = jax.random.key(7)
    keys = [jax.random.fold_in(base, i) if kind == "fold_in" else jax.random.key(i) for i in range(6)]
    return [np.asarray(random.normal(k, (n,)), np.float64) for k in keys]


def cross_key_failures(samples: list[np.ndarray]) -> list[tuple[int, int]]:
    """Neighbours whose draws correlate at the same position or within two positions of it."""
    return [
        (i, lag)
        for i, (a, b) in enumerate(itertools.pairwise(samples))
        for lag in (-2, -1, 0, 1, 2)
        if abs(correlation_z(a[max(0, -lag) : len(a) - max(0, lag)], b[max(0, lag) : len(b) + min(0, lag)])) > Z_LIMIT
    ]


@pytest.mark.parametrize("kind", ["fold_in", "seed"])
def test_neighboring_keys_are_unrelated(kind: str) -> None:
    assert cross_key_failures(neighbors(kind, 100_000)) == []


def test_the_cross_key_test_sees_a_shifted_stream() -> None:
    one = np.random.default_rng(2).normal(size=100_000)
    assert cross_key_failures([one, np.roll(one, 1)]) == [(0, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_passes_the_battery_at_ten_million(seed: int) -> None:
    assert battery(*hash_sample(jax.random.key(seed), 10_000_000)) == []


@pytest.mark.slow
@pytest.mark.parametrize("weak", [linear_congruential, weyl, one_round])
def test_weak_generators_fail_at_ten_million(weak: Draw) -> None:
    assert len(battery(*word_sample(weak(10_000_000)))) > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fold_in", "seed"])
def test_neighboring_keys_are_unrelated_at_ten_million(kind: str) -> None:
    assert cross_key_failures(neighbors(kind, 10_000_000)) == []


@pytest.mark.slow
def test_many_short_streams_are_unrelated() -> None:
    # As in training: one key an image, 3,072 values each; position by position over 4,096 keys.
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(3), jnp.arange(4096))
    fields = np.asarray(jax.jit(jax.vmap(lambda k: random.normal(k, (3072,))))(keys), np.float64)
    z = fields.mean(axis=0) * np.sqrt(4096)
    assert kolmogorov_p(special.ndtr(z)) > P_LIMIT
    norms = stats.chi2(3072).cdf((fields**2).sum(axis=1))
    assert kolmogorov_p(norms) > P_LIMIT
