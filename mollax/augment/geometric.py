"""FCR, the classic training augmentation: random horizontal flip, padded crop, rotation (METHODS section 1).

Images are (height, width, channels) floats in [0, 1]; one example and one key a call, batch with `jax.vmap`.
Angles are in degrees here, as configs give them. Every function returns the shape it was given.
"""

from __future__ import annotations

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mollax import checks
from mollax.image import affine
from mollax.image.color import require_float_image
from mollax.image.warp import METHODS, PADDINGS, affine_warp

# jnp.pad's names for the continuations of the warp; "mean" is filled in afterwards.
_PAD_MODES: dict[str, Literal["constant", "edge", "reflect"]] = {
    "zeros": "constant",
    "border": "edge",
    "reflect": "reflect",
    "mean": "constant",
}


def random_flip(key: PRNGKeyArray, image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
    """Mirrors left and right with probability 1/2.

    Raises: ValueError for a wrong rank, TypeError for an integer image.
    """
    require_float_image("image", image)
    return _flip(image, jax.random.uniform(key))


def random_crop(
    key: PRNGKeyArray, image: Float[Array, "h w c"], *, pad: int | None = None, padding: str = "zeros"
) -> Float[Array, "h w c"]:
    """Pads each side by `pad` pixels and cuts a window of the original size, all (2 pad + 1)^2 places alike.

    `pad` defaults to an eighth of the shorter side, rounded down (4 for 32 pixels, 8 for 64); 0 changes
    nothing. `padding` continues the image as in `mollax.image.warp`. Exact: no interpolation.

    Raises: ValueError for a `pad` below 0 or above the shorter side, an unknown `padding` or a wrong rank; TypeError
    for an integer image.
    """
    require_float_image("image", image)
    checks.one_of("padding", padding, PADDINGS)
    pad = _pad_pixels(image, pad)
    return _crop(image, _start(jax.random.uniform(key, (2,)), pad), pad, padding)


def random_rotation(
    key: PRNGKeyArray,
    image: Float[Array, "h w c"],
    *,
    degrees: float | int = 15.0,
    interpolation: str = "bilinear",
    padding: str = "zeros",
) -> Float[Array, "h w c"]:
    """Rotates about the centre by an angle uniform in [-degrees, degrees], the same in pixels on any aspect.

    Raises: ValueError for degrees outside [0, 180], an unknown `interpolation` or `padding` or a wrong rank; TypeError
    for an integer image.
    """
    require_float_image("image", image)
    _check_rotation(degrees, interpolation, padding)
    if degrees == 0:
        return image
    matrix = _rotation(image, jax.random.uniform(key), degrees)
    return affine_warp(image, matrix, padding=padding, method=interpolation)


def flip_crop_rotate(
    key: PRNGKeyArray,
    image: Float[Array, "h w c"],
    *,
    flip: bool = True,
    pad: int | None = None,
    degrees: float | int = 15.0,
    interpolation: str = "bilinear",
    padding: str = "zeros",
) -> Float[Array, "h w c"]:
    """Padded crop, then horizontal flip, then rotation, the order usual with torchvision.

    `flip=False`, `pad=0` and `degrees=0` switch a part off without changing the draws of the others; see
    `random_flip`, `random_crop` and `random_rotation` for each. "zeros" pads black, as in METHODS section 1.

    With a rotation the three are one warp, so pixels are interpolated once. Two differences from torchvision
    follow and are meant: rotation there is by nearest pixel unless asked otherwise ("nearest" here), and a
    corner that turns into view shows the image where the crop had cut it off, not black. Without rotation the
    result is exact.

    Raises: ValueError for a `pad` below 0 or above the shorter side, degrees outside [0, 180], an unknown
    `interpolation` or `padding`, a wrong rank; TypeError for an integer image.
    """
    require_float_image("image", image)
    _check_rotation(degrees, interpolation, padding)
    pad = _pad_pixels(image, pad)
    # One draw for all: a second and third key would each cost as much to compile and run as the rest.
    draws = jax.random.uniform(key, (4,))
    start = _start(draws[:2], pad)
    if degrees == 0:
        # Slices move rows of memory; a gather would compute an index for every pixel.
        image = _crop(image, start, pad, padding)
        return _flip(image, draws[2]) if flip else image
    matrix = _rotation(image, draws[3], degrees)
    if flip:
        mirror = jnp.where(draws[2] < 0.5, affine.flip_horizontal(), affine.identity())
        matrix = affine.compose(mirror, matrix)
    if pad:
        height, width, _ = image.shape
        down, right = (start - pad).astype(matrix.dtype)
        shift = affine.translation(2 * right / (width - 1), 2 * down / (height - 1))
        matrix = affine.compose(shift, matrix)
    return affine_warp(image, matrix, padding=padding, method=interpolation)


def _flip(image: Float[Array, "h w c"], draw: Float[Array, ""]) -> Float[Array, "h w c"]:
    """Mirrors for half of the draws in [0, 1)."""
    return jnp.where(draw < 0.5, image[:, ::-1], image)


def _start(draws: Float[Array, " 2"], pad: int) -> Int[Array, " 2"]:
    """Turns draws in [0, 1) into the first row and column of a window in the padded image."""
    return jnp.floor(draws * (2 * pad + 1)).astype(jnp.int32)


def _rotation(image: Float[Array, "h w c"], draw: Float[Array, ""], degrees: float | int) -> Float[Array, "2 3"]:
    """Turns a draw in [0, 1) into the matrix of a rotation by an angle in [-degrees, degrees)."""
    angle = (2 * draw - 1) * math.radians(degrees)
    return affine.rotation(angle, aspect=affine.pixel_aspect(*image.shape[:2]))


def _crop(image: Float[Array, "h w c"], start: Int[Array, " 2"], pad: int, padding: str) -> Float[Array, "h w c"]:
    if pad == 0:
        return image
    sides = ((pad, pad), (pad, pad), (0, 0))
    padded = jnp.pad(image, sides, mode=_PAD_MODES[padding])
    if padding == "mean":
        outside = jnp.pad(jnp.zeros_like(image), sides, constant_values=1)
        padded = padded + outside * jnp.mean(image, axis=(0, 1), keepdims=True)
    return jax.lax.dynamic_slice(padded, (start[0], start[1], 0), image.shape)


def _pad_pixels(image: Float[Array, "h w c"], pad: int | None) -> int:
    shorter = min(image.shape[:2])
    if pad is None:
        return shorter // 8
    checks.positive_int("pad", pad, minimum=0)
    if pad > shorter:
        raise ValueError(f"pad must be at most the shorter side of the image, {shorter} pixels; got {pad}.")
    return pad


def _check_rotation(degrees: float | int, interpolation: str, padding: str) -> None:
    checks.in_range("degrees", float(degrees), 0.0, 180.0)
    checks.one_of("interpolation", interpolation, METHODS)
    checks.one_of("padding", padding, PADDINGS)
