"""RandAugment: its table by hand, its draws by counting, its results by PIL."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from policy_checks import HEIGHT, WIDTH, check_chains, draws_of, pixels_of, uniform

from mollax.augment import chain, rand, rand_augment

SPACE = chain.create_space(rand.ranges(HEIGHT, WIDTH), 31)
DRAW = functools.partial(rand.draw, space=SPACE, num_ops=2, magnitude=9)
# Bin 9 of 31 is 3/10 of each range. 150/331 of 32 and 24 pixels are 14.5 and 10.9; 4.35 and 3.26 are cut.
AT_NINE = {
    **dict.fromkeys(("shear_x", "shear_y"), 0.09),
    **dict.fromkeys(("brightness", "color", "contrast", "sharpness"), 0.27),
    **dict.fromkeys(("identity", "auto_contrast", "equalize"), 0),
    "translate_x": 4,
    "translate_y": 3,
    "rotate": 9,
    "posterize": 7,
    "solarize": 0.7,
}


def test_operations_are_alike_at_one_magnitude() -> None:
    indices, magnitudes = draws_of(DRAW, 10_000)
    assert indices.shape == (10_000, 2)
    # The two are independent.
    assert uniform(indices[:, 0] * 14 + indices[:, 1], 196)
    for place, name in enumerate(SPACE.names):
        values = magnitudes[indices == place]
        np.testing.assert_allclose(np.abs(values), AT_NINE[name], rtol=1e-6)
        half = 0.5 if SPACE.signed[place] else 0
        assert abs((values < 0).mean() - half) < 0.06


def test_results_are_the_drawn_operations_in_turn(rng: np.random.Generator) -> None:
    check_chains(rand_augment, DRAW, SPACE, pixels_of(rng, 40))


def test_the_weakest_bin_is_neutral() -> None:
    weakest = dict(zip(SPACE.names, SPACE.magnitudes[:, 0].tolist(), strict=True))
    assert {name: value for name, value in weakest.items() if value} == {"posterize": 8, "solarize": 1}


def test_bad_arguments_are_named() -> None:
    key, image = jax.random.key(0), jnp.zeros((8, 8, 3))
    with pytest.raises(ValueError, match=r"magnitude must be in \[0, 30\]; got 31"):
        rand_augment(key, image, magnitude=31)
    with pytest.raises(ValueError, match="magnitude must be at least 0; got -1"):
        rand_augment(key, image, magnitude=-1)
    with pytest.raises(ValueError, match="num_ops must be at least 1; got 0"):
        rand_augment(key, image, num_ops=0)
