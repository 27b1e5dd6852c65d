"""TrivialAugment: its table by hand, its draws by counting, its results by PIL."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pil_operations import cifar_images, gray_of, pil_apply
from policy_checks import check_chains, check_contract, draws_of, pixels_of, uniform

from mollax.augment import chain, trivial, trivial_augment

SPACE = chain.create_space(trivial.RANGES, 31)
DRAW = functools.partial(trivial.draw, space=SPACE)


def test_the_table_is_the_papers() -> None:
    last = dict(zip(SPACE.names, SPACE.magnitudes[:, -1].tolist(), strict=True))
    wide = {**dict.fromkeys(("shear_x", "shear_y", "brightness", "color", "contrast", "sharpness"), 0.99)}
    wide |= {"translate_x": 32, "translate_y": 32, "rotate": 135, "posterize": 2, "solarize": 0}
    wide |= dict.fromkeys(("identity", "auto_contrast", "equalize"), 0)
    assert last == pytest.approx(wide)
    first = dict(zip(SPACE.names, SPACE.magnitudes[:, 0].tolist(), strict=True))
    assert {name: value for name, value in first.items() if value} == {"posterize": 8, "solarize": 1}


def test_operations_bins_and_signs_are_alike() -> None:
    indices, magnitudes = draws_of(DRAW, 20_000)
    assert uniform(indices, 14)
    turned = magnitudes[indices == SPACE.names.index("rotate")]
    assert uniform(np.round(np.abs(turned) / 4.5).astype(int), 31)
    assert abs((turned > 0).mean() / (turned != 0).mean() - 0.5) < 0.05
    for name in ("posterize", "solarize"):
        assert magnitudes[indices == SPACE.names.index(name)].min() >= 0
    for place in range(14):
        assert np.isin(np.abs(magnitudes[indices == place]), SPACE.magnitudes[place]).all()


def test_results_are_the_drawn_operations(rng: np.random.Generator) -> None:
    check_chains(trivial_augment, DRAW, SPACE, pixels_of(rng, 60))


def test_results_are_pils_on_photographs_in_gray(real_data: Path) -> None:
    pixels = np.tile(gray_of(cifar_images(real_data)), (6, 1, 1, 1))
    results = check_contract(trivial_augment, pixels, seed=11)
    indices, magnitudes = draws_of(DRAW, len(pixels), seed=11)
    for image, result, (index,), (magnitude,) in zip(pixels, results, indices, magnitudes, strict=True):
        expected = pil_apply(image, SPACE.names[index], float(magnitude))
        assert (np.abs(255 * result - expected) > 1.001).mean() < 0.02, (SPACE.names[index], magnitude)


def test_bad_arguments_are_named() -> None:
    key, image = jax.random.key(0), jnp.zeros((8, 8, 3))
    with pytest.raises(ValueError, match="bins must be at least 2; got 1"):
        trivial_augment(key, image, bins=1)
    with pytest.raises(ValueError, match=r"interpolation must be one of .*; got 'cubic'"):
        trivial_augment(key, image, interpolation="cubic")
    with pytest.raises(ValueError, match=r"image must have 1 or 3 channels; got shape \(8, 8, 2\)"):
        trivial_augment(key, image[..., :2])
