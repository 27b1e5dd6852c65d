"""The digital corruptions: contrast, elastic transform, pixelation, JPEG, and brightness and saturation in HSV.

Hendrycks and Dietterich (ICLR 2019). Images are (height, width, channels) float32 in [0, 1] on the 8-bit grid,
1 channel or 3, at least 8x8 pixels; results are neither clipped nor put back on the grid, unless said. The
constants after the image are Python numbers, static under `jit`: one row of `mollax.corrupt.severity` each.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mollax import checks
from mollax.corrupt import severity
from mollax.image import color, filters, hsv, jpeg, random, warp

SMALLEST = 8

# The generator for ImageNet multiplies by 244 where its images have sides of 224, and so do the published images.
_IMAGENET_SCALE = 244 / 224

# PIL's resampling multiplies 8-bit pixels by weights of 22 bits.
_BITS = 22

# Part of green and blue in BT.601 luminance: what a shade of red lacks.
_NOT_RED = 1 - 0.299


def contrast(image: Float[Array, "h w c"], factor: float | int) -> Float[Array, "h w c"]:
    """Returns (x - mean_c) factor + mean_c with each channel's own mean over the image; in the range of x.

    Args:
      image: in [0, 1].
      factor: in [0, 1]; 1 changes nothing, 0 leaves the mean color.

    Raises:
      ValueError: for a wrong shape or a factor outside [0, 1].
      TypeError: for an integer image.
    """
    _require_image(image)
    checks.in_range("factor", factor, 0.0, 1.0)
    return color.adjust_contrast(image, factor)


def brightness(image: Float[Array, "h w c"], added: float | int) -> Float[Array, "h w c"]:
    """Adds to the value of HSV, the largest of R, G and B, and clips it to [0, 1]; hue and saturation stay.

    A gray image is its own value: the result is clip(x + added). Black becomes a gray of level `added`.

    Args:
      image: in [0, 1].
      added: in [-1, 1], in units of the image's range.

    Raises:
      ValueError: for a wrong shape or `added` outside [-1, 1].
      TypeError: for an integer image.
    """
    _require_image(image)
    checks.in_range("added", added, -1.0, 1.0)
    if image.shape[-1] == 1:
        return jnp.clip(image + added, 0, 1)
    changed = hsv.rgb_to_hsv(image)
    return hsv.hsv_to_rgb(changed.at[..., 2].set(jnp.clip(changed[..., 2] + added, 0, 1)))


def saturate(image: Float[Array, "h w c"], factor: float | int, added: float | int) -> Float[Array, "h w c"]:
    """Replaces the saturation s of HSV by clip(factor s + added, 0, 1); hue and value stay.

    Grays count as red, as their hue is 0: with `added` > 0 they take a red tint. A gray image gives the
    luminance of that, x (1 - 0.701 s), as it has no color to hold it.

    Args:
      image: in [0, 1].
      factor: of the saturation, >= 0; 0 leaves grays, above 1 makes colors more vivid.
      added: to the saturation, in [-1, 1].

    Raises:
      ValueError: for a wrong shape, a negative factor or `added` outside [-1, 1].
      TypeError: for an integer image.
    """
    _require_image(image)
    checks.in_range("factor", factor, 0.0)
    checks.in_range("added", added, -1.0, 1.0)
    if image.shape[-1] == 1:
        return image * (1 - _NOT_RED * max(added, 0))
    changed = hsv.rgb_to_hsv(image)
    return hsv.hsv_to_rgb(changed.at[..., 1].set(jnp.clip(factor * changed[..., 1] + added, 0, 1)))


def jpeg_compression(image: Float[Array, "h w c"], quality: int) -> Float[Array, "h w c"]:
    """Returns the image as it reads back from a JPEG (`mollax.image.jpeg`), on the 8-bit grid.

    Args:
      image: in [0, 1].
      quality: 1 (coarsest) to 100, libjpeg's scale.

    Raises:
      ValueError: for a wrong shape or a quality outside 1 to 100.
      TypeError: for an integer image, or a quality that is not an integer.
    """
    return jpeg.jpeg(image, quality)


def pixelate(image: Float[Array, "h w c"], factor: float | int) -> Float[Array, "h w c"]:
    """Shrinks the image by averaging boxes, and enlarges it again by repeating pixels; on the 8-bit grid.

    The sides become int(factor h) and int(factor w). This is PIL's `resize` with BOX there and back, to the
    bit: along rows first, then along columns, each rounded to 8 bits (PIL 13 turns the order for images more
    than twice as tall as wide; the published ones are square). A pixel counts for the one box that holds its
    centre, so boxes differ by one in size where the sides do not divide.

    Args:
      image: in [0, 1]; values off the 8-bit grid are rounded to it.
      factor: of the sides, in (0, 1], with at least one pixel left.

    Raises:
      ValueError: for a wrong shape, or a factor outside (0, 1] or so small that nothing is left.
      TypeError: for an integer image.
    """
    _require_image(image)
    checks.in_range("factor", factor, 0.0, 1.0, open_low=True)
    height, width, _ = image.shape
    small = int(height * factor), int(width * factor)
    if min(small) < 1:
        raise ValueError(f"factor {factor!r} leaves nothing of {height}x{width} pixels: take at least 1 / side.")
    levels = jnp.round(jnp.clip(image, 0, 1).astype(jnp.float32) * 255)
    # Channels first, or else XLA:CPU copies the image around both products, at twice the time.
    planes = jnp.moveaxis(levels, -1, 0)
    across, halves = _shrinking(width, small[1])
    planes = jnp.floor(jnp.einsum("chw,vw->chv", planes, across, precision="highest") + halves[None, None, :])
    down, halves = _shrinking(height, small[0])
    planes = jnp.floor(jnp.einsum("chv,gh->cvg", planes, down, precision="highest") + halves[None, None, :])
    pixels = (planes / 255).astype(image.dtype).transpose(2, 1, 0)
    rows, columns = (np.argmax(_boxes(*sides), axis=1) for sides in zip(small, (height, width), strict=True))
    return jnp.take(jnp.take(pixels, columns, axis=1), rows, axis=0)


def _shrinking(size: int, small: int) -> tuple[Float[Array, "{small} {size}"], Float[Array, " {small}"]]:
    """A matrix A and offsets b such that floor(A x + b) are the averages of 8-bit levels x that PIL gives."""
    boxes = _boxes(size, small)
    count = boxes.sum(axis=1)
    # PIL multiplies by 1 / count in 22 bits and rounds halves up: a weight rounded down sends exact halves down.
    # Averages are multiples of 1 / count, so an eighth of that moves exact halves only, and outdoes float32.
    weight = np.floor(2.0**_BITS / count + 0.5)
    halves = 0.5 + np.where(weight * count < 2**_BITS, -1, 1) / (8 * count)
    return jnp.asarray(boxes / count[:, None], jnp.float32), jnp.asarray(halves, jnp.float32)


def _boxes(size: int, small: int) -> Int[np.ndarray, "{small} {size}"]:
    """Which samples of an axis (columns) PIL's box filter averages for each one after resizing (rows).

    Its arithmetic is repeated step by step: where a box ends in the middle of a pixel, rounding decides.
    """
    scale = size / small
    stretch = max(scale, 1.0)
    centre = (np.arange(small)[:, None] + 0.5) * scale
    sample = np.arange(size)[None, :]
    first, end = (centre - 0.5 * stretch + 0.5).astype(int), (centre + 0.5 * stretch + 0.5).astype(int)
    offset = (sample - centre + 0.5) * (1 / stretch)
    return ((sample >= first) & (sample < end) & (offset > -0.5) & (offset <= 0.5)).astype(np.int64)


def elastic_transform(
    key: PRNGKeyArray,
    image: Float[Array, "h w c"],
    amplitude: float | int,
    smoothing: float | int,
    jitter: float | int,
) -> Float[Array, "h w c"]:
    """Moves three corners of the image at random, and then every pixel by a smooth random field.

    The corners (+, +), (+, -) and (-, -) of a square of side 2 (min(h, w) // 3) about the centre are moved by
    U(-j, j) along x and y, and the image by the affine map that takes the one triangle to the other, mirrored
    beyond its outermost pixels. Then pixel p shows what lies at p + a (G * u), where u_x and u_y are U(-1, 1)
    in every pixel and G is a Gaussian (cut at 3 deviations), with the edge pixels repeated in mirror order.
    Both readings are bilinear. j, G's deviation and a are the constants times S, the smaller side; for images
    next to ImageNet's 224 pixels in `severity.nearest_table`, times 244/224 S as in the published images.
    Random: the corners and the field, from `key`. The result lies in the range of the image.

    Args:
      key: what makes corners and field random.
      image: in [0, 1].
      amplitude: a / S, >= 0; 0 leaves the field out.
      smoothing: deviation of G / S, >= 0; 0 does not smooth.
      jitter: j / S, >= 0.

    Raises:
      ValueError: for a wrong shape or a negative constant.
      TypeError: for an integer image.
    """
    _require_image(image)
    for name, value in (("amplitude", amplitude), ("smoothing", smoothing), ("jitter", jitter)):
        checks.in_range(name, value, 0.0)
    height, width, _ = image.shape
    side = min(height, width) * (_IMAGENET_SCALE if severity.nearest_table(height, width) == 224 else 1.0)
    for_corners, for_field = jax.random.split(key)
    moves = side * jitter * (2 * random.uniform(for_corners, (3, 2)) - 1)
    noise = 2 * random.uniform(for_field, (height, width, 2)) - 1
    return _elastic(image, moves, noise, side * amplitude, side * smoothing)


def _elastic(
    image: Float[Array, "h w c"],
    moves: Float[Array, "3 2"],
    noise: Float[Array, "h w 2"],
    amplitude: float,
    sigma: float,
) -> Float[Array, "h w c"]:
    """The elastic transform of given moves of the corners and noise in [-1, 1], (x, y) each; all else in pixels."""
    height, width, _ = image.shape
    rows, columns = _affine_positions(moves, height, width)
    first = _mirror(rows, 0, height - 1), _mirror(columns, 0, width - 1)
    if amplitude == 0:
        return warp.sample(image, *first, padding="border")
    if sigma > 0:
        noise = filters.gaussian_blur(noise, sigma, truncate=3.0, mode="reflect")
    columns = jnp.arange(width, dtype=noise.dtype)[None, :] + amplitude * noise[..., 0]
    rows = jnp.arange(height, dtype=noise.dtype)[:, None] + amplitude * noise[..., 1]
    second = _mirror(rows, -0.5, height - 0.5), _mirror(columns, -0.5, width - 0.5)
    # A loop, as XLA would fuse two readings in a row into one that does the first again for all four neighbours.
    positions = jax.tree.map(lambda *both: jnp.stack(both), first, second)
    return jax.lax.scan(lambda x, at: (warp.sample(x, *at, padding="border"), None), image, positions)[0]


def _affine_positions(
    moves: Float[Array, "3 2"], height: int, width: int
) -> tuple[Float[Array, "{height} {width}"], Float[Array, "{height} {width}"]]:
    """Rows and columns to read at, so that the corners (+, +), (+, -), (-, -) of the square move by (x, y)."""
    reach = min(height, width) // 3
    corners = np.array([[1, 1], [1, -1], [-1, -1]]) * reach + np.array([width // 2, height // 2])
    first, second, third = jnp.asarray(corners, moves.dtype) + moves
    # Reading goes from the moved triangle to the old one. Its map takes second - third, a row (a, c) of the moved
    # triangle, back to (2 reach, 0), and first - second, (b, d), back to (0, 2 reach).
    (a, c), (b, d) = second - third, first - second
    determinant = a * d - b * c
    # A triangle without area (probability 0) has no way back: one point is read then, as by OpenCV.
    scale = 2 * reach / jnp.where(determinant == 0, jnp.inf, determinant)
    x = jnp.arange(width, dtype=moves.dtype)[None, :] - second[0]
    y = jnp.arange(height, dtype=moves.dtype)[:, None] - second[1]
    rows = (a * y - c * x) * scale + float(corners[1, 1])
    columns = (d * x - b * y) * scale + float(corners[1, 0])
    return rows, columns


def _mirror(position: Float[Array, "h w"], low: float, high: float) -> Float[Array, "h w"]:
    """Folds positions into [low, high] as between two mirrors."""
    span = high - low
    return high - jnp.abs(jnp.mod(position - low, 2 * span) - span)


def _require_image(image: Any) -> None:
    color.require_float_image("image", image)
    if image.shape[-1] not in (1, 3):
        raise ValueError(f"image must have 1 or 3 channels, gray or RGB; got shape {image.shape}.")
    if min(image.shape[:2]) < SMALLEST:
        raise ValueError(f"image must have at least {SMALLEST} rows and columns; got shape {image.shape}.")
