"""Monte Carlo kernels against draws made by hand: keys, blocks, mass; bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import fast
from drift_brute import log_density as brute
from drift_brute import mass

from mollax.drift.augmented import Augmented, Flow
from mollax.drift.density import log_density


def shifted(key, points):
    """Every value of a point moved by one draw."""
    return points + jax.random.normal(key, (len(points), 1), points.dtype)


def by_hand(key, bank, draws):
    """The versions, (draws, n, d): row i of draw r has the key fold_in(fold_in(key, r), i)."""
    places = jnp.arange(len(bank))
    keys = [jax.vmap(lambda i, r=r: jax.random.fold_in(jax.random.fold_in(key, r), i))(places) for r in range(draws)]
    return np.stack([bank + np.asarray(jax.vmap(lambda k: jax.random.normal(k, (1,)))(each)) for each in keys])


@pytest.mark.parametrize("kind", [Augmented, Flow])
def test_draws_by_hand(rng, key, kind):
    bank, queries = (rng.random((size, 3)).astype(np.float32) for size in (13, 5))
    versions = by_hand(key, bank, 4)
    mine = fast(lambda q, b: log_density(q, b, kind(shifted, key, 0.3, draws=4), bank_rows=5))(queries, bank)
    np.testing.assert_allclose(mine, brute(queries, [(0.25, 0.3, version) for version in versions]), atol=1e-4)


def test_mass_is_one(rng, key):
    bank = rng.random((3, 1)).astype(np.float32)
    density = fast(lambda x: jnp.exp(log_density(x, jnp.asarray(bank), Augmented(shifted, key, 0.2, draws=3))))
    assert mass(lambda x: density(x.astype(np.float32)), -8, 9, 1, points=400) == pytest.approx(1, abs=1e-4)


def test_bad_input(unhooked, key):
    points = np.zeros((3, 2), np.float32)
    with pytest.raises(ValueError, match="sigma must be in"):
        Augmented(shifted, key, 0.0)
    with pytest.raises(ValueError, match="draws must be at least 1"):
        Augmented(shifted, key, 0.1, draws=0)
    with pytest.raises(ValueError, match=r"must return points as it gets them, \(1, 2\); got shape \(1, 1\)"):
        log_density(points, points, Augmented(lambda key, points: points[:, :1], key, 0.1))
