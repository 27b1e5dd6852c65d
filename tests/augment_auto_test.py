"""AutoAugment: entries of the papers' tables, draws against them by counting, results by PIL."""

import functools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from policy_checks import HEIGHT, WIDTH, check_chains, draws_of, pixels_of

from mollax.augment import auto, auto_augment

SPACE = auto.space_of(HEIGHT, WIDTH)


def test_tables_are_complete() -> None:
    for pairs in auto.POLICIES.values():
        assert len(pairs) == 25
        for name, probability, level in (step for pair in pairs for step in pair):
            assert 0 <= probability <= 1
            has_magnitude = name not in ("auto_contrast", "equalize", "invert")
            assert (level in range(10)) if has_magnitude else level is None
    # From tables 7 to 9 of the paper: the first and the last sub-policy of each.
    ends = {name: (pairs[0], pairs[-1]) for name, pairs in auto.POLICIES.items()}
    assert ends["imagenet"][0] == (("posterize", 0.4, 8), ("rotate", 0.6, 9))
    assert ends["imagenet"][1] == (("equalize", 0.8, None), ("equalize", 0.6, None))
    assert ends["cifar10"][0] == (("invert", 0.1, None), ("contrast", 0.2, 6))
    assert ends["cifar10"][1] == (("translate_y", 0.7, 9), ("auto_contrast", 0.9, None))
    assert ends["svhn"][0] == (("shear_x", 0.9, 4), ("invert", 0.2, None))
    assert ends["svhn"][1] == (("shear_x", 0.7, 2), ("invert", 0.1, None))


@pytest.mark.parametrize("policy", auto.POLICIES)
def test_frequencies_follow_the_table(policy: str) -> None:
    count = 20_000
    indices, magnitudes = draws_of(functools.partial(auto.draw, space=SPACE, policy=policy), count)
    expected: Counter = Counter()
    for pair in auto.POLICIES[policy]:
        for place, (name, probability, level) in enumerate(pair):
            row = SPACE.names.index(name)
            size = round(float(SPACE.magnitudes[row, level or 0]), 4)
            for sign in (1, -1) if SPACE.signed[row] else (1,):
                expected[place, name, sign * size] += probability / 25 / (2 if SPACE.signed[row] else 1)
            expected[place, "identity", 0.0] += (1 - probability) / 25
    found = Counter(
        (place, SPACE.names[indices[i, place]], round(float(magnitudes[i, place]), 4))
        for i in range(count)
        for place in (0, 1)
    )
    assert set(found) <= {entry for entry, share in expected.items() if share > 0}
    for entry, share in expected.items():
        assert abs(found[entry] - share * count) < 4.5 * np.sqrt(share * count) + 1, entry


def test_results_are_the_drawn_operations_in_turn(rng: np.random.Generator) -> None:
    draw = functools.partial(auto.draw, space=SPACE, policy="cifar10")
    policy = functools.partial(auto_augment, policy="cifar10")
    check_chains(policy, draw, SPACE, pixels_of(rng, 40))


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"policy must be one of 'imagenet', 'cifar10', 'svhn'; got 'cifar'"):
        auto_augment(jax.random.key(0), jnp.zeros((8, 8, 3)), policy="cifar")
