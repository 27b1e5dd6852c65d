"""The geometric operations of the augmentation policies: shears, translations, rotations.

Images are (height, width, channels) floats in [0, 1], and so are the results. Each operation is a pull matrix
(`geometric_matrix`), so `mollax.image.compose` can join several into one warp. With "nearest" the result is PIL's
(`Image.transform`, `Image.rotate`) but for reads half way between two pixels; with "bilinear" it is torchvision's,
which blends with black within one pixel outside, where PIL repeats the last one. What comes in is black.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from mollax import checks
from mollax.image import affine
from mollax.image.color import require_float_image
from mollax.image.warp import METHODS, affine_warp

Scalar = Float[Array, ""] | float | int

GEOMETRIC = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")


def geometric_matrix(name: str, magnitude: Scalar, *, height: int, width: int) -> Float[Array, "2 3"]:
    """The pull matrix (see `mollax.image.affine`) of a geometric operation on a height x width image.

    Positions (x, y) are in pixels from the top left *corner*, as in PIL:
    - "shear_x" reads at (x + m y, y), "shear_y" at (x, y + m x), `magnitude` m a slope.
    - "translate_x" and "translate_y" move the content m pixels right or down.
    - "rotate" turns it m degrees counter-clockwise about the centre.

    Raises: ValueError for another name or a side below two pixels.
    """
    aspect = affine.pixel_aspect(height, width)
    m = jnp.asarray(magnitude, float)
    zero, one = jnp.zeros_like(m), jnp.ones_like(m)
    if checks.one_of("name", name, GEOMETRIC) == "rotate":
        return affine.rotation(jnp.deg2rad(m), aspect=aspect)
    if name == "translate_x":
        return affine.translation(-2 * m / (width - 1), zero)
    if name == "translate_y":
        return affine.translation(zero, -2 * m / (height - 1))
    # The axis through the corner is half a side from the centre, where the matrix has its origin.
    entries = [one, m / aspect, m * height / (width - 1), zero, one, zero]
    if name == "shear_y":
        entries = [one, zero, zero, m * aspect, one, m * width / (height - 1)]
    return jnp.stack(entries).reshape(2, 3)


def shear_x(image: Float[Array, "h w c"], slope: Scalar, *, interpolation: str = "nearest") -> Float[Array, "h w c"]:
    """Shifts each row by `slope` pixels a row: PIL's `transform` by (1, slope, 0, 0, 1, 0).

    Raises: ValueError for an unknown interpolation or a wrong shape, TypeError for an integer image.
    """
    return _warp("shear_x", image, slope, interpolation)


def shear_y(image: Float[Array, "h w c"], slope: Scalar, *, interpolation: str = "nearest") -> Float[Array, "h w c"]:
    """Shifts each column by `slope` pixels a column: PIL's `transform` by (1, 0, 0, slope, 1, 0).

    Raises: ValueError for an unknown interpolation or a wrong shape, TypeError for an integer image.
    """
    return _warp("shear_y", image, slope, interpolation)


def translate_x(
    image: Float[Array, "h w c"], pixels: Scalar, *, interpolation: str = "nearest"
) -> Float[Array, "h w c"]:
    """Moves the content to the right, or to the left for negative `pixels`.

    Raises: ValueError for an unknown interpolation or a wrong shape, TypeError for an integer image.
    """
    return _warp("translate_x", image, pixels, interpolation)


def translate_y(
    image: Float[Array, "h w c"], pixels: Scalar, *, interpolation: str = "nearest"
) -> Float[Array, "h w c"]:
    """Moves the content down, or up for negative `pixels`.

    Raises: ValueError for an unknown interpolation or a wrong shape, TypeError for an integer image.
    """
    return _warp("translate_y", image, pixels, interpolation)


def rotate(image: Float[Array, "h w c"], degrees: Scalar, *, interpolation: str = "nearest") -> Float[Array, "h w c"]:
    """Turns the content counter-clockwise about the centre, as `PIL.Image.rotate`.

    Raises: ValueError for an unknown interpolation or a wrong shape, TypeError for an integer image.
    """
    return _warp("rotate", image, degrees, interpolation)


def _warp(name: str, image: Float[Array, "h w c"], magnitude: Scalar, interpolation: str) -> Float[Array, "h w c"]:
    require_float_image("image", image)
    checks.one_of("interpolation", interpolation, METHODS)
    matrix = geometric_matrix(name, magnitude, height=image.shape[0], width=image.shape[1])
    return affine_warp(image, matrix, method=interpolation)
