"""Sparse maps of pixels against the dense product."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse

from mollax.image.sparse import taps, weigh


def random_matrix(n: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of 0 to 5 entries."""
    dense = np.zeros((n, n))
    for row in dense:
        places = rng.choice(n, rng.integers(0, 6), replace=False)
        row[places] = rng.normal(size=len(places))
    return dense


@pytest.mark.parametrize("channels", [1, 3])
def test_equals_the_dense_product(channels: int, rng: np.random.Generator) -> None:
    dense = random_matrix(8 * 5, rng)
    columns, weights = taps(sparse.csr_array(dense))
    assert columns.shape == weights.shape == ((dense != 0).sum(axis=1).max(), 40)
    images = rng.random((2, 8, 5, channels), np.float32)
    expected = np.einsum("pq,bqc->bpc", dense, images.reshape(2, 40, channels)).reshape(images.shape)
    batch = jax.jit(jax.vmap(lambda x: weigh(x, columns, weights)))(images)
    np.testing.assert_allclose(batch, expected, atol=1e-5)
    np.testing.assert_allclose(weigh(jnp.asarray(images[1]), columns, weights), expected[1], atol=1e-5)


def test_bad_arguments_are_named(unhooked: None) -> None:
    columns, weights = taps(sparse.eye_array(64, format="csr"))
    with pytest.raises(ValueError, match="Taps for 64 pixels do not fit an image of 8x9"):
        weigh(jnp.zeros((8, 9, 3)), columns, weights)
    with pytest.raises(TypeError, match="image must be floats, not uint8"):
        weigh(jnp.zeros((8, 8, 3), jnp.uint8), columns, weights)
    with pytest.raises(ValueError, match="image must have 3 axes"):
        weigh(jnp.zeros((8, 8)), columns, weights)
