"""Draws' matrices are those of `affine_matrix`, one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mollax import invariance
from mollax.invariance.draws import matrices_of


@pytest.mark.parametrize("kind", invariance.KINDS)
def test_matrices_are_those_of_each_draw(rng, kind):
    params = jnp.asarray(rng.uniform(-1, 1, (3, 4, invariance.dimension(kind))), jnp.float32)
    made = matrices_of(params, kind=kind, entry_range=2.0, limits=(0.4, 0.9))
    for i in range(3):
        for j in range(4):
            one = invariance.affine_matrix(params[i, j], kind=kind, entry_range=2.0, limits=(0.4, 0.9))
            np.testing.assert_allclose(made[i, j], one, atol=2e-6)


def test_limits_may_be_traced():
    params = jnp.zeros((1, 1, 4))

    def width(low):
        return matrices_of(params, kind="crop", entry_range=1.0, limits=(low, jnp.float32(1.0)))[0, 0, 0, 0]

    np.testing.assert_allclose(jax.jit(width)(jnp.float32(0.5)), 0.75)
    np.testing.assert_allclose(jax.grad(width)(jnp.float32(0.5)), 0.5)
