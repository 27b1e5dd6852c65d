"""Block shuffle: uniform among derangements, no block or pixel lost, on photographs."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import fast
from pil_operations import cifar_images
from scipy import stats

from mollax.ood.outliers import block_shuffle, derangement


def blocks_of(image, grid):
    """(grid^2, ...) in reading order, by slicing."""
    tall, wide = image.shape[0] // grid, image.shape[1] // grid
    places = itertools.product(range(grid), repeat=2)
    return np.stack([image[r * tall : (r + 1) * tall, c * wide : (c + 1) * wide] for r, c in places])


def orders(keys, grid):
    """Which block lies in each place of shuffled images whose pixels say where they were."""
    image = jnp.arange(grid * grid, dtype=jnp.int32).reshape(grid, grid, 1)
    return np.asarray(fast(jax.vmap(lambda key: block_shuffle(key, image, grid=grid)))(keys)).reshape(len(keys), -1)


def test_every_derangement_is_equally_likely(key):
    found = orders(jax.random.split(key, 9000), 2)
    every = [p for p in itertools.permutations(range(4)) if all(a != b for a, b in enumerate(p))]
    assert len(every) == 9
    counts = [int((found == p).all(axis=1).sum()) for p in every]
    assert sum(counts) == 9000
    assert stats.chisquare(counts).pvalue > 1e-3


def test_large_grids_are_derangements_of_even_odds(key):
    found = orders(jax.random.split(key, 3000), 4)
    np.testing.assert_array_equal(np.sort(found, axis=1), np.tile(np.arange(16), (3000, 1)))
    assert (found != np.arange(16)).all()
    # Each block is in each other place with odds 1/15.
    counts = np.stack([(found == block).sum(axis=0) for block in range(16)])
    for block, row in enumerate(counts):
        assert stats.chisquare(np.delete(row, block)).pvalue > 1e-4


def test_photographs_keep_their_pixels_and_no_block_stays(real_data, key):
    grid = 8
    images = cifar_images(real_data)
    shuffle = fast(jax.vmap(partial(block_shuffle, grid=grid)))
    shuffled = np.asarray(shuffle(jax.random.split(key, len(images)), jnp.asarray(images)))
    assert shuffled.dtype == np.uint8
    for before, after in zip(images, shuffled, strict=True):
        old, new = blocks_of(before, grid), blocks_of(after, grid)
        same = (old[:, None] == new[None]).all(axis=(2, 3, 4))
        assert same.any(axis=0).all(), "every block of the result is one of the image"
        assert not np.diag(same).any(), "and none where it was"
        np.testing.assert_array_equal(np.sort(before.reshape(-1, 3), 0), np.sort(after.reshape(-1, 3), 0))


def test_crop_where_the_grid_does_not_divide_the_side(key):
    # 11 x 13 and a grid of 4: a crop of 8 x 12 from (1, 0), mirrored by 1 and 2 rows, 0 and 1 columns.
    image = np.arange(11 * 13, dtype=np.float32).reshape(11, 13, 1)
    after = np.asarray(fast(block_shuffle)(key, image))
    assert after.shape == image.shape
    inner, crop = after[1:9, :12], image[1:9, :12]
    old, new = blocks_of(crop, 4), blocks_of(inner, 4)
    same = (old[:, None] == new[None]).all(axis=(2, 3, 4))
    np.testing.assert_array_equal(same.sum(axis=0), 1)
    np.testing.assert_array_equal(same.sum(axis=1), 1)
    assert not np.diag(same).any()
    np.testing.assert_array_equal(after, np.pad(inner, [(1, 2), (0, 1), (0, 0)], mode="symmetric"))


def test_smallest_blocks_and_pairs(key):
    np.testing.assert_array_equal(fast(partial(derangement, count=2))(key), [1, 0])
    # Sides of up to 2 grid - 1: the mirrored border is as wide as it gets.
    assert jax.eval_shape(block_shuffle, key, jnp.zeros((7, 7, 3))).shape == (7, 7, 3)


def test_bad_input(unhooked, key):
    image = jnp.zeros((8, 6, 1))
    with pytest.raises(ValueError, match="grid must be at least 2; got 1"):
        block_shuffle(key, image, grid=1)
    with pytest.raises(ValueError, match="at most the smaller side of the image; got 7 for 8 x 6"):
        block_shuffle(key, image, grid=7)
    with pytest.raises(TypeError, match="grid must be an integer"):
        block_shuffle(key, image, grid=2.0)
    with pytest.raises(ValueError, match="image must have 3 axes"):
        block_shuffle(key, image[None])
    with pytest.raises(ValueError, match="count must be at least 2"):
        derangement(key, 1)
