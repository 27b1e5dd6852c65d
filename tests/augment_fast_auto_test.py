"""Fast AutoAugment: the published tables by count and by entries, magnitudes by PIL, draws by counting, chains."""

import functools
from collections import Counter
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from policy_checks import HEIGHT, WIDTH, check_contract, draws_of, elementary, images_of, pixels_of, uniform

from mollax.augment import chain, cutout, fast_auto, fast_auto_augment
from mollax.augment.warps import GEOMETRIC

AFFINE = Image.Transform.AFFINE
# What the authors' code does with a value between an operation's ends, by PIL; mirrored ones without the mirroring.
AUTHORS: dict[str, tuple[float, float, Callable]] = {
    "shear_x": (-0.3, 0.3, lambda i, v: i.transform(i.size, AFFINE, (1, v, 0, 0, 1, 0))),
    "shear_y": (-0.3, 0.3, lambda i, v: i.transform(i.size, AFFINE, (1, 0, 0, v, 1, 0))),
    "translate_x": (0.45, -0.45, lambda i, v: i.transform(i.size, AFFINE, (1, 0, v * i.size[0], 0, 1, 0))),
    "translate_y": (0.45, -0.45, lambda i, v: i.transform(i.size, AFFINE, (1, 0, 0, 0, 1, v * i.size[1]))),
    "rotate": (-30, 30, lambda i, v: i.rotate(v)),
    "auto_contrast": (0, 1, lambda i, v: ImageOps.autocontrast(i)),
    "invert": (0, 1, lambda i, v: ImageOps.invert(i)),
    "equalize": (0, 1, lambda i, v: ImageOps.equalize(i)),
    "solarize": (0, 256, ImageOps.solarize),
    "posterize": (4, 8, lambda i, v: ImageOps.posterize(i, int(v))),
    "contrast": (0.1, 1.9, lambda i, v: ImageEnhance.Contrast(i).enhance(v)),
    "color": (0.1, 1.9, lambda i, v: ImageEnhance.Color(i).enhance(v)),
    "brightness": (0.1, 1.9, lambda i, v: ImageEnhance.Brightness(i).enhance(v)),
    "sharpness": (0.1, 1.9, lambda i, v: ImageEnhance.Sharpness(i).enhance(v)),
}
# First and last pair of each policy as published, to six decimals.
ENDS = {
    "cifar10": (
        (
            ("contrast", 0.832065, 0.498843),
            ("translate_x", 0.418498, 0.394023),
        ),
        (("cutout", 0.755052, 0.089823), ("shear_x", 0.584494, 0.360511)),
    ),
    "imagenet": (
        (("shear_y", 0.141438, 0.513124), ("sharpness", 0.929031, 0.978840)),
        (
            ("auto_contrast", 0.540450, 0.747238),
            ("equalize", 0.056498, 0.562818),
        ),
    ),
    "svhn": (
        (
            ("translate_x", 0.001576, 0.431804),
            ("invert", 0.739530, 0.753844),
        ),
        (("contrast", 0.993289, 0.469300), ("posterize", 0.903301, 0.574590)),
    ),
}
# PIL cuts off the fractions that the others keep.
EXACT = (*GEOMETRIC, "equalize", "invert", "posterize", "solarize")
COUNTS = {"cifar10": 493, "imagenet": 498, "svhn": 497}


@pytest.mark.parametrize("policy", fast_auto.POLICIES)
def test_tables_are_complete(policy: str) -> None:
    pairs = fast_auto.load()[policy]
    assert len(pairs) == len(set(pairs)) == COUNTS[policy]
    steps = [step for pair in pairs for step in pair]
    assert {name for name, _, _ in steps} == {*AUTHORS, "cutout"} == {*fast_auto.NAMES} - {"identity"}
    numbers = np.array([step[1:] for step in steps])
    assert numbers.min() >= 0
    assert numbers.max() < 1
    # The search samples them about uniformly: a slip of a digit or a column would show.
    np.testing.assert_allclose(numbers.mean(0), 0.5, atol=0.04)
    np.testing.assert_allclose(numbers.std(0), 1 / np.sqrt(12), atol=0.05)
    for pair, published in zip((pairs[0], pairs[-1]), ENDS[policy], strict=True):
        for step, (name, *values) in zip(pair, published, strict=True):
            assert step[0] == name
            # Cut, not rounded.
            np.testing.assert_array_equal(step[1:], np.floor(np.array(values) * 1e4) / 1e4)


@pytest.mark.parametrize("name", AUTHORS)
def test_levels_mean_what_they_mean_to_the_authors(name: str, rng: np.random.Generator) -> None:
    low, high, reference = AUTHORS[name]
    pixels = pixels_of(rng, 1)[0]
    for level in (0.0, 0.26, 0.4, 0.5, 0.9, 0.9999):
        table = {"cifar10": (((name, 1.0, level), ("invert", 0.0, 0.0)),)}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fast_auto, "load", lambda table=table: table)
            pairs = fast_auto.tabulate("cifar10", HEIGHT, WIDTH)
        assert fast_auto.NAMES[pairs.indices[0, 0]] == name
        ours = elementary(name)(images_of(pixels), jnp.float32(pairs.magnitudes[0, 0]))
        pil = np.asarray(reference(Image.fromarray(pixels), low + level * (high - low)))
        wrong = np.abs(255 * np.asarray(ours) - pil) > (1e-3 if name in EXACT else 1.001)
        # A read half way between two pixels may go to the other one.
        assert wrong.mean() <= (0.01 if name in GEOMETRIC else 0), level


def test_frequencies_follow_the_table() -> None:
    count, pairs = 20_000, fast_auto.tabulate("svhn", HEIGHT, WIDTH)
    indices, magnitudes, centers = draws_of(functools.partial(fast_auto.draw, pairs=pairs), count)
    expected: Counter = Counter()
    for row, probabilities in zip(pairs.indices, pairs.probabilities, strict=True):
        for place in (0, 1):
            expected[place, row[place]] += probabilities[place] / len(pairs.indices)
            expected[place, 0] += (1 - probabilities[place]) / len(pairs.indices)
    found = Counter((place, indices[i, place]) for i in range(count) for place in (0, 1))
    assert set(found) == set(expected)
    for entry, share in expected.items():
        assert abs(found[entry] - share * count) < 4.5 * np.sqrt(share * count), entry
    # Both steps are of one pair, and only the geometric operations are mirrored.
    known = {tuple(row) for row in pairs.indices}
    both = (indices > 0).all(1)
    assert {tuple(row) for row in indices[both]} <= known
    assert len({tuple(row) for row in indices[both]}) > 0.8 * len(known)
    table = pairs.magnitudes[pairs.indices == fast_auto.NAMES.index("brightness")]
    assert set(magnitudes[indices == fast_auto.NAMES.index("brightness")]) <= set(table)
    assert uniform((centers * 10).astype(int), 10)


def test_pairs_and_signs_are_drawn_alike() -> None:
    shape, count = (7, 2), 20_000
    indices = np.arange(1, 15, dtype=np.int32).reshape(shape)
    pairs = fast_auto.Pairs(indices, np.ones(shape, np.float32), np.ones(shape, np.float32))
    indices, magnitudes, _ = draws_of(functools.partial(fast_auto.draw, pairs=pairs), count)
    np.testing.assert_array_equal(indices[:, 1], indices[:, 0] + 1)
    assert uniform(indices[:, 0] // 2, 7)
    mirrored = np.isin(indices, [fast_auto.NAMES.index(name) for name in GEOMETRIC])
    assert set(magnitudes[~mirrored]) == {1}
    assert uniform((magnitudes[mirrored] > 0).astype(int), 2)


def test_results_are_the_drawn_operations_in_turn(rng: np.random.Generator) -> None:
    pixels = pixels_of(rng, 60)
    results = check_contract(fast_auto_augment, pixels)
    pairs = fast_auto.tabulate("cifar10", HEIGHT, WIDTH)
    drawn = draws_of(functools.partial(fast_auto.draw, pairs=pairs), len(pixels), seed=7)
    square = jax.jit(lambda image, side, center: cutout(image, side, center=center))
    assert {*np.unique(drawn[0])} >= {0, fast_auto.NAMES.index("cutout")}
    for image, result, *steps in zip(np.asarray(images_of(pixels)), results, *drawn, strict=True):
        for index, amount, center in zip(*steps, strict=True):
            name, size = fast_auto.NAMES[index], jnp.float32(amount)
            image = np.asarray(square(image, size, center) if name == "cutout" else elementary(name)(image, size))
        assert (np.abs(result - image) > 1e-5).mean() < 0.01, steps


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"policy must be one of 'cifar10', 'imagenet', 'svhn'; got 'cifar'"):
        fast_auto_augment(jax.random.key(0), jnp.zeros((8, 8, 3)), policy="cifar")
    one = jnp.zeros(1)
    with pytest.raises(ValueError, match=r"operation must be one of .*; got 'cutout'"):
        chain.apply(jnp.zeros((4, 4, 1)), one.astype(jnp.int32), one, names=("cutout",))
