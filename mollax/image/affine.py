"""2x3 affine matrices that say where each output pixel looks in the input.

Coordinates are normalized: x runs from -1 at the centre of the first column to 1 at the centre of the last, y
likewise down the rows (`align_corners=True`). A matrix [[a, b, tx], [c, d, ty]] sends an *output* point
(x, y) to the *input* point (a x + b y + tx, c x + d y + ty) at which the warp reads: the warp **pulls**.
Hence the content moves by the inverse: scaling by 2 shrinks it, translation by +0.1 moves it left or up.

A side of n pixels spans n - 1 pixel steps and two units, so one pixel is 2 / (n - 1) units, and a rotation of
a non-square image needs `aspect = (width - 1) / (height - 1)` to stay rigid in pixels. Angles are in radians.
All functions are differentiable, single-matrix (batch with `jax.vmap`) and deterministic.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from mollax import checks

Scalar = Float[Array, ""] | float | int
Matrix = Float[Array, "2 3"]


def identity() -> Matrix:
    """Returns the matrix that leaves an image as it is."""
    return _matrix(1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def rotation(angle: Scalar, *, aspect: Scalar = 1.0) -> Matrix:
    """Returns the pull matrix that turns the content by `angle` radians, counter-clockwise on screen.

    x' = cos x - sin y / aspect, y' = aspect sin x + cos y, with `aspect` = (width - 1) / (height - 1) of the
    image (see `pixel_aspect`), 1 for square ones. The rows run downwards, so this reads clockwise and the
    content turns the other way, as with `PIL.Image.rotate`; this is exp(angle G) of METHODS section 2.
    """
    angle, aspect = jnp.asarray(angle, float), jnp.asarray(aspect, float)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return _matrix(cos, -sin / aspect, 0.0, sin * aspect, cos, 0.0)


def pixel_aspect(height: int, width: int) -> float:
    """Returns (width - 1) / (height - 1), the `aspect` of `rotation`.

    Raises: ValueError for a side below two pixels, TypeError for one that is not an integer.
    """
    checks.positive_int("height", height, minimum=2)
    checks.positive_int("width", width, minimum=2)
    return (width - 1) / (height - 1)


def translation(x: Scalar, y: Scalar) -> Matrix:
    """Returns the matrix that reads `x` to the right and `y` below, in normalized units.

    A shift by n columns is x = 2 n / (width - 1), by n rows y = 2 n / (height - 1).
    """
    return _matrix(1.0, 0.0, x, 0.0, 1.0, y)


def scaling(x: Scalar, *, y: Scalar | None = None) -> Matrix:
    """Returns the matrix that scales reading coordinates by `x` and `y` (default: `x`); above 1 zooms out."""
    return _matrix(x, 0.0, 0.0, 0.0, x if y is None else y, 0.0)


def flip_horizontal() -> Matrix:
    """Returns the matrix that mirrors left and right; the warp by it is exact."""
    return _matrix(-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def compose(first: Matrix, then: Matrix) -> Matrix:
    """Returns the one matrix whose warp equals the warp by `first` followed by the warp by `then`.

    Because warps pull, an output point goes through `then` before `first`: the result is the product
    `first @ then` of the homogeneous 3x3 matrices. It equals two warps but for their second interpolation and
    for what the first one pushed out of the frame.
    """
    # Sums of products, not `@`: the reduced precision of a matrix unit (bfloat16 on TPU) would shift pixels.
    linear = jnp.sum(first[:, :2, None] * then[None, :, :], axis=1)
    return linear + jnp.pad(first[:, 2:], ((0, 0), (2, 0)))


def invert(matrix: Matrix) -> Matrix:
    """Returns the inverse map, so that `compose(matrix, invert(matrix))` is the identity.

    The domain is matrices whose 2x2 part has a determinant other than zero; a singular one gives inf or NaN.
    """
    (a, b, x), (c, d, y) = matrix
    determinant = a * d - b * c
    a, b, c, d = d / determinant, -b / determinant, -c / determinant, a / determinant
    return _matrix(a, b, -(a * x + b * y), c, d, -(c * x + d * y))


def from_pixels(matrix: Matrix, height: int, width: int) -> Matrix:
    """Converts a pull matrix on pixel coordinates (column, row), origin at the first pixel's centre.

    That is the matrix `cv2.warpAffine` takes with `WARP_INVERSE_MAP`. With S the map from pixels to
    normalized units, x = 2 column / (width - 1) - 1, the result is S P S^-1.

    Raises: ValueError for a side below two pixels, TypeError for one that is not an integer.
    """
    pixel_aspect(height, width)
    half_width, half_height = (width - 1) / 2, (height - 1) / 2
    to_pixels = _matrix(half_width, 0.0, half_width, 0.0, half_height, half_height)
    to_units = _matrix(1 / half_width, 0.0, -1.0, 0.0, 1 / half_height, -1.0)
    return compose(compose(to_units, matrix), to_pixels)


def _matrix(a: Scalar, b: Scalar, x: Scalar, c: Scalar, d: Scalar, y: Scalar) -> Matrix:
    entries = [jnp.asarray(entry, float) for entry in (a, b, x, c, d, y)]
    return jnp.stack(entries).reshape(2, 3)
