"""Keys depend on seed, stream, step and global index, and on nothing else."""

import jax
import numpy as np

from mollax import keys


def words(key):
    return np.asarray(jax.random.key_data(key))


def test_every_part_of_the_name_changes_the_key():
    base = words(keys.stream_key(0, "mollify", 3))
    for other in (
        keys.stream_key(1, "mollify", 3),
        keys.stream_key(0, "dropout", 3),
        keys.stream_key(0, "mollify", 4),
    ):
        assert (base != words(other)).any()
    np.testing.assert_array_equal(base, words(keys.stream_key(0, "mollify", 3)))


def test_step_may_be_traced():
    traced = jax.jit(lambda step: jax.random.key_data(keys.stream_key(0, "train", step)))(7)
    np.testing.assert_array_equal(words(keys.stream_key(0, "train", 7)), traced)


def test_examples_have_their_own_keys_wherever_they_are_computed(key):
    whole = words(keys.example_keys(key, 0, 12))
    parts = np.concatenate([words(keys.example_keys(key, first, 4)) for first in (0, 4, 8)])
    np.testing.assert_array_equal(whole, parts)
    assert len(np.unique(whole, axis=0)) == 12
