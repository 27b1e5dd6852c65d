"""RandAugment (Cubuk et al. 2020): several operations of one strength."""

from __future__ import annotations

import jax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mollax import checks
from mollax.augment import chain, operations

# AutoAugment's paper gives translations for images of 331 pixels.
_SHARE = 150 / 331


def ranges(height: int, width: int) -> chain.Ranges:
    """Slopes, pixels, degrees, factors less 1, bits, thresholds; pixels grow with the image."""
    return {
        "identity": None,
        "shear_x": (0, 0.3),
        "shear_y": (0, 0.3),
        "translate_x": (0, _SHARE * width),
        "translate_y": (0, _SHARE * height),
        "rotate": (0, 30),
        "brightness": (0, 0.9),
        "color": (0, 0.9),
        "contrast": (0, 0.9),
        "sharpness": (0, 0.9),
        "posterize": (8, 4),
        "solarize": (1, 0),
        "auto_contrast": None,
        "equalize": None,
    }


def rand_augment(
    key: PRNGKeyArray,
    image: Float[Array, "h w c"],
    *,
    num_ops: int = 2,
    magnitude: int = 9,
    bins: int = 31,
    interpolation: str = "nearest",
) -> Float[Array, "h w c"]:
    """Applies `num_ops` operations one after the other, each one of 14, drawn alike, all in bin `magnitude` of `bins`.

    Operations and magnitudes are those of torchvision's `RandAugment`. Bin 0 is the weakest and changes nothing, but
    for auto_contrast, equalize and solarize, which turns white into black. Random: the operations and the signs.
    `interpolation` is that of the geometric ones, "nearest" or "bilinear"; what comes in is black.

    Raises: ValueError for a `num_ops` below 1, a `magnitude` outside [0, bins - 1], fewer than two bins, an unknown
    interpolation or a wrong shape; TypeError for an integer image.
    """
    operations.require_image(image)
    checks.positive_int("num_ops", num_ops)
    checks.positive_int("bins", bins, minimum=2)
    checks.in_range("magnitude", checks.positive_int("magnitude", magnitude, minimum=0), 0, bins - 1)
    space = chain.create_space(ranges(*image.shape[:2]), bins)
    indices, magnitudes = draw(key, space, num_ops, magnitude)
    return chain.apply(image, indices, magnitudes, names=space.names, interpolation=interpolation)


def draw(
    key: PRNGKeyArray, space: chain.Space, num_ops: int, magnitude: int
) -> tuple[Int[Array, " d"], Float[Array, " d"]]:
    """The operations' indices and their signed magnitudes."""
    draws = jax.random.uniform(key, (2, num_ops))
    index = chain.below(len(space.names), draws[0])
    return index, chain.signed_magnitude(space, index, magnitude, draws[1])
