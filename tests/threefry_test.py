"""Against JAX's own generator, bit for bit, and against the known answers of the cipher's authors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mollax.threefry import threefry2x32, unrolled

DRAWS = {
    "bits": lambda key: jax.random.bits(key, (3, 5)),
    "bytes": lambda key: jax.random.bits(key, (7,), jnp.uint8),
    "one": lambda key: jax.random.uniform(key),
    "none": lambda key: jax.random.uniform(key, (0, 2)),
    "normal": lambda key: jax.random.normal(key, (11,)),
    "integers": lambda key: jax.random.randint(key, (9,), 0, 5),
    "permutation": lambda key: jax.random.permutation(key, 6),
    "gamma": lambda key: jax.random.gamma(key, 0.7, (4,)),
    "split": lambda key: jax.random.key_data(jax.random.split(key, (2, 3))),
    "folded": lambda key: jax.random.key_data(jax.random.fold_in(key, 2**32 - 1)),
    "bits of children": lambda key: jax.random.bits(jax.random.split(jax.random.fold_in(key, 7))[1]),
}


@pytest.mark.parametrize(
    "key, counter, expected",  # of Random123's kat_vectors, threefry2x32 with 20 rounds
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_known_answers(key, counter, expected):
    words = [tuple(jnp.uint32(word) for word in pair) for pair in (key, counter)]
    assert tuple(map(int, threefry2x32(*words))) == expected


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_every_draw_is_jax_s(draw):
    key = jax.random.key(3)
    np.testing.assert_array_equal(jax.jit(lambda key: draw(unrolled(key)))(key), draw(key))
    keys = jax.random.split(key, 4)
    np.testing.assert_array_equal(jax.vmap(draw)(unrolled(keys)), jax.vmap(draw)(keys))


def test_draws_of_64_bits():
    with jax.enable_x64(True):
        key = jax.random.key(3)
        np.testing.assert_array_equal(
            jax.random.uniform(unrolled(key), (5,), jnp.float64), jax.random.uniform(key, (5,), jnp.float64)
        )


def test_other_generators_stay():
    key = jax.random.key(0, impl="rbg")
    assert unrolled(key) is key
    again = unrolled(jax.random.key(0))
    assert unrolled(again) is again


def test_the_older_layout_stays():
    with jax.threefry_partitionable(False):
        key = jax.random.key(0)
        assert unrolled(key) is key


def test_it_is_not_a_loop():
    program = jax.jit(jax.random.bits).lower(unrolled(jax.random.key(0))).as_text()
    assert "while" not in program
    assert "while" in jax.jit(jax.random.bits).lower(jax.random.key(0)).as_text()
