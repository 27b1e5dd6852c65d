"""The parts of the pass: even blocks, sums in pairs, a mixture's numbers."""

import jax.numpy as jnp
import numpy as np
import pytest

from mollax.drift.kernels import Gaussian, Group
from mollax.drift.stream import even, prepare, tree_sum


@pytest.mark.parametrize("count, rows, expected", [(10, 4, (3, 4)), (8, 4, (2, 4)), (3, 256, (1, 3)), (9, 8, (2, 5))])
def test_blocks_are_even(count, rows, expected):
    assert even(count, rows) == expected
    number, size = expected
    assert number * size - count < number


@pytest.mark.parametrize("width", [1, 2, 7, 3072])
def test_sums_in_pairs_are_exact_to_rounding(rng, width):
    values = rng.random((5, width)).astype(np.float32)
    np.testing.assert_allclose(tree_sum(jnp.asarray(values)), values.astype(np.float64).sum(axis=1), rtol=2e-7)


def test_numbers_of_a_mixture():
    groups = (
        Group(np.ones((1, 2)), np.array([[0.1, 0.2]]), np.log([[0.5, 0.25]])),
        Group(np.ones((1, 1)), np.array([[0.4]]), np.log([[0.25]])),
    )
    mixtures, constant = prepare(groups, 3, jnp.float32)
    heights = [
        constant + offset + 1.5 * np.log(2 * np.pi) for part in mixtures for offset in np.ravel(part.offset).tolist()
    ]
    np.testing.assert_allclose(np.exp(heights), [0.5 / 0.1**3, 0.25 / 0.2**3, 0.25 / 0.4**3], rtol=1e-5)
    assert [part.first for part in mixtures] == [0, 2]
    assert max(float(part.offset.max()) for part in mixtures) == 0
    np.testing.assert_allclose(mixtures[1].precision, [[1 / 0.4**2]], rtol=1e-6)
    assert prepare(Gaussian(1e-12).groups(1), 1, jnp.float32)[0][0].precision[0, 0] == np.float32(1e24)
