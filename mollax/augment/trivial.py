"""TrivialAugment (Müller and Hutter 2021), the wide version: one operation of any strength."""

from __future__ import annotations

import jax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mollax.augment import chain, operations

# Slopes, pixels, degrees, factors less 1, bits, thresholds; the same pixels at every image size.
RANGES: chain.Ranges = {
    "identity": None,
    "shear_x": (0, 0.99),
    "shear_y": (0, 0.99),
    "translate_x": (0, 32),
    "translate_y": (0, 32),
    "rotate": (0, 135),
    "brightness": (0, 0.99),
    "color": (0, 0.99),
    "contrast": (0, 0.99),
    "sharpness": (0, 0.99),
    "posterize": (8, 2),
    "solarize": (1, 0),
    "auto_contrast": None,
    "equalize": None,
}


def trivial_augment(
    key: PRNGKeyArray, image: Float[Array, "h w c"], *, bins: int = 31, interpolation: str = "nearest"
) -> Float[Array, "h w c"]:
    """Applies one of 14 operations, drawn alike, at one of `bins` magnitudes, drawn alike, of either sign.

    Operations and magnitudes are those of torchvision's `TrivialAugmentWide`: shears up to a slope of 0.99,
    translations up to 32 pixels, rotations up to 135 degrees, factors from 0.01 to 1.99, 8 to 2 bits, thresholds from
    1 to 0. `interpolation` is that of the geometric ones, "nearest" or "bilinear"; what comes in is black.

    Raises: ValueError for fewer than two bins, an unknown interpolation or a wrong shape, TypeError for an integer
    image.
    """
    operations.require_image(image)
    space = chain.create_space(RANGES, bins)
    indices, magnitudes = draw(key, space)
    return chain.apply(image, indices, magnitudes, names=space.names, interpolation=interpolation)


def draw(key: PRNGKeyArray, space: chain.Space) -> tuple[Int[Array, " 1"], Float[Array, " 1"]]:
    """The operation's index and its signed magnitude."""
    # One draw for all: further keys would each cost as much to compile and run as the rest.
    draws = jax.random.uniform(key, (3, 1))
    index = chain.below(len(space.names), draws[0])
    level = chain.below(space.magnitudes.shape[1], draws[1])
    return index, chain.signed_magnitude(space, index, level, draws[2])
