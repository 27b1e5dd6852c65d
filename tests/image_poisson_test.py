"""The table of Poisson distributions against scipy.stats.poisson."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mollax.image import poisson

MEANS = (0.0, 0.01, 1.0, 7.3, 60.0, 500.0)


def mass_of(table: poisson.Table, row: int, values: int) -> np.ndarray:
    """Probability of each count under the table, column by column."""
    columns = table.entries.shape[1]
    bits = columns.bit_length() - 1
    own = (table.entries[row] >> np.uint32(bits)) / 2.0 ** (32 - bits)
    other = table.entries[row] & np.uint32(columns - 1)
    mass = np.zeros(values)
    np.add.at(mass, table.start[row] + np.arange(columns), own / columns)
    np.add.at(mass, table.start[row] + other, (1 - own) / columns)
    return mass


@pytest.mark.parametrize("means", [MEANS, (3.0,), (0.0,), (1e4,)])
def test_the_table_holds_the_distribution(means: tuple[float, ...]) -> None:
    table = poisson.table(means)
    for row, mean in enumerate(means):
        mass = mass_of(table, row, 12_000)
        np.testing.assert_allclose(mass, stats.poisson.pmf(np.arange(12_000), mean), atol=1e-9, rtol=1e-6)
        assert abs(mass.sum() - 1) < 1e-12
        first, last = table.start[row], table.start[row] + table.entries.shape[1] - 1
        assert stats.poisson.cdf(first - 1, mean) + stats.poisson.sf(last, mean) < 1e-7


def test_draws_follow_their_own_mean(key: jax.Array) -> None:
    which = jnp.asarray(np.tile(np.arange(len(MEANS)), 20_000).reshape(400, -1), jnp.int32)
    draws = np.asarray(jax.jit(lambda k, w: poisson.sample(k, w, poisson.table(MEANS)))(key, which))
    assert draws.dtype == np.int32
    assert draws.shape == which.shape
    for row, mean in enumerate(MEANS):
        counts = draws[np.asarray(which) == row]
        if mean == 0:
            assert not counts.any()
            continue
        assert abs(counts.mean() - mean) < 4.5 * np.sqrt(mean / counts.size)
        assert abs((counts == int(mean)).mean() - stats.poisson.pmf(int(mean), mean)) < 4.5 * 0.5 / np.sqrt(counts.size)


def test_means_outside_the_range_are_refused() -> None:
    for mean in (-1.0, 10_001.0, float("nan")):
        with pytest.raises(ValueError, match=r"mean must be in \[0, 10000\]; got"):
            poisson.table((1.0, mean))
