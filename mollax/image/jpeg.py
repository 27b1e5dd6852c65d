"""Baseline JPEG, there and back: the pixels that libjpeg gives back, without the file in between.

Entropy coding loses nothing, so it is left out; what loses is modelled as libjpeg does it, with its integer
arithmetic (slow-but-accurate DCT, 16-bit color conversion) written as small matrix products in float32. All
numbers are whole and nearly all below 2^24, hence exact: about one value in 10^5 differs from PIL's, by a level.

Images are (height, width, channels), 1 channel (gray) or 3 (RGB), of at least 8x8 pixels.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mollax import checks
from mollax.image.color import require_float_image

BLOCK = 8

# ITU-T T.81, Annex K: quantization steps of luminance and chrominance at quality 50, rows of frequency down.
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
)

# First half of each row of libjpeg's 8-point DCT, in units of 2^-13 / sqrt(8): sums of its 13-bit constants, so
# some differ by 1 from the nearest whole number.
_DCT_HALF = (
    (8192, 8192, 8192, 8192),
    (11363, 9633, 6437, 2260),
    (10703, 4433, -4433, -10703),
    (9633, -2259, -11362, -6436),
    (8192, -8192, -8192, 8192),
    (6437, -11362, 2261, 9633),
    (4433, -10704, 10704, -4433),
    (2260, -6436, 9633, -11363),
)

Plane = Float[Array, "h w"]


def jpeg(image: Float[Array, "h w c"], quality: int) -> Float[Array, "h w c"]:
    """Returns `image` as it reads back from a JPEG of a quality, on the 8-bit grid.

    What libjpeg does by default and PIL with it: Y Cb Cr, chroma halved along both axes (4:2:0), 8x8 DCT,
    `quantization_tables`, chroma brought back by triangle interpolation. Gray images are luminance alone.
    Values are first rounded to the 8-bit grid (and clipped to it); deterministic; the gradient is zero.

    Args:
      image: in [0, 1], of at least 8x8 pixels; the sides need not be multiples of 8 or 16.
      quality: 1 (coarsest) to 100, a Python integer, static under `jit`.

    Raises:
      ValueError: for a wrong rank, other than 1 or 3 channels, fewer than 8 rows or columns, or a quality
        outside 1 to 100.
      TypeError: for an integer image, or a quality that is not an integer.
    """
    require_float_image("image", image)
    height, width, channels = image.shape
    if channels not in (1, 3):
        raise ValueError(f"image must have 1 or 3 channels to become a JPEG; got shape {image.shape}.")
    if min(height, width) < BLOCK:
        raise ValueError(f"image must have at least {BLOCK} rows and columns; got shape {image.shape}.")
    luma_steps, chroma_steps = quantization_tables(quality)
    levels = jnp.round(jnp.clip(image, 0, 1).astype(jnp.float32) * 255)
    if channels == 1:
        return (_code(levels[..., 0], luma_steps)[..., None] / 255).astype(image.dtype)
    luma, blue, red = _to_luma_and_chroma(levels)
    luma = _code(luma, luma_steps)
    blue, red = (_enlarge(_code(_halve(chroma), chroma_steps), height, width) for chroma in (blue, red))
    return (_to_rgb(luma, blue, red) / 255).astype(image.dtype)


def quantization_tables(quality: int) -> tuple[Int[np.ndarray, "8 8"], Int[np.ndarray, "8 8"]]:
    """Steps of luminance and of chrominance: Annex K's, scaled by libjpeg's rule and kept in 1..255.

    The scale is 5000 / quality % below 50 and 200 - 2 quality % from there on.

    Raises:
      ValueError: for a quality outside 1 to 100.
      TypeError: for one that is not an integer.
    """
    checks.positive_int("quality", quality)
    checks.in_range("quality", quality, 1, 100)
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    luma, chroma = (np.clip((np.array(table) * percent + 50) // 100, 1, 255) for table in (_LUMA, _CHROMA))
    return luma, chroma


def _to_luma_and_chroma(levels: Float[Array, "h w 3"]) -> tuple[Plane, Plane, Plane]:
    """BT.601 luminance and chrominance in levels, by libjpeg's 16-bit integers: every sum is below 2^24."""
    red, green, blue = (levels[..., i] for i in range(3))
    luma = 19595 * red + 38470 * green + 7471 * blue
    blue_chroma = 32768 * blue - 11059 * red - 21709 * green + (128 * 65536 - 1)
    red_chroma = 32768 * red - 27439 * green - 5329 * blue + (128 * 65536 - 1)
    return _shift(luma, 16), _shift(blue_chroma, 16), _shift(red_chroma, 16)


def _to_rgb(luma: Plane, blue_chroma: Plane, red_chroma: Plane) -> Float[Array, "h w 3"]:
    """RGB levels of luminance and chrominance, by libjpeg's 16-bit integers, clipped to 0..255."""
    blue_chroma, red_chroma = blue_chroma - 128, red_chroma - 128
    red = luma + _shift(91881 * red_chroma, 16)
    green = luma + _shift(-22554 * blue_chroma - 46802 * red_chroma, 16)
    blue = luma + _shift(116130 * blue_chroma, 16)
    return jnp.clip(jnp.stack([red, green, blue], axis=-1), 0, 255)


def _halve(plane: Plane) -> Float[Array, "h2 w2"]:
    """Averages 2x2 pixels of an edge-padded plane; halves go down and up in turn along a row, as in libjpeg."""
    height, width = plane.shape
    # Columns are repeated before averaging up to whole blocks; rows up to an even number, then averages are.
    down = jnp.asarray(_pairs(height, (height + 1) // 2), plane.dtype)
    across = jnp.asarray(_pairs(width, BLOCK * -(-width // (2 * BLOCK))), plane.dtype)
    rounding = jnp.asarray(1 + np.arange(across.shape[0]) % 2, plane.dtype)
    rows = jnp.einsum("gh,hw->gw", down, plane, precision="highest")
    return jnp.floor((jnp.einsum("vw,gw->gv", across, rows, precision="highest") + rounding[None, :]) / 4)


def _pairs(size: int, count: int) -> Float[np.ndarray, "{count} {size}"]:
    """The matrix that adds up neighbours 2 i and 2 i + 1, or the last sample where the axis has ended."""
    matrix = np.zeros((count, size))
    for i in range(count):
        for j in (2 * i, 2 * i + 1):
            matrix[i, min(j, size - 1)] += 1
    return matrix


def _enlarge(plane: Float[Array, "hb wb"], height: int, width: int) -> Plane:
    """Doubles a plane by libjpeg's triangle: 3/4 of the sample a pixel lies in, 1/4 of the next, on each axis."""
    down = jnp.asarray(_triangle(height, plane.shape[0]), plane.dtype)
    across = jnp.asarray(_triangle(width, plane.shape[1]), plane.dtype)
    # Halves go up in even columns and down in odd ones.
    rounding = jnp.asarray(8 - np.arange(width) % 2, plane.dtype)
    rows = jnp.einsum("gh,hw->gw", down, plane, precision="highest")
    return jnp.floor((jnp.einsum("vw,gw->gv", across, rows, precision="highest") + rounding[None, :]) / 16)


def _triangle(size: int, padded: int) -> Float[np.ndarray, "{size} {padded}"]:
    """The matrix that makes `size` samples of half as many, weights 3 and 1; padded columns beyond are not read."""
    matrix = np.zeros((size, padded))
    for i in range(size):
        near = i // 2
        matrix[i, near] += 3
        matrix[i, min(max(near + 2 * (i % 2) - 1, 0), (size + 1) // 2 - 1)] += 1
    return matrix


def _code(plane: Plane, steps: Int[np.ndarray, "8 8"]) -> Plane:
    """Transforms blocks of a plane in levels, rounds to multiples of the steps, and transforms back."""
    height, width = plane.shape
    tall, wide = -height % BLOCK, -width % BLOCK
    padded = jnp.pad(plane, ((0, tall), (0, wide)), mode="edge")
    blocks = padded.reshape((height + tall) // BLOCK, BLOCK, (width + wide) // BLOCK, BLOCK) - 128
    dct = jnp.asarray(_dct_matrix(), plane.dtype)
    # Rows then columns forward, columns then rows back, each rounded where libjpeg rounds: the coefficients
    # are 8 times the orthonormal ones, and two more bits are kept between the passes.
    blocks = _shift(jnp.einsum("aibj,lj->aibl", blocks, dct, precision="highest"), 11)
    blocks = _shift(jnp.einsum("aibl,ki->akbl", blocks, dct, precision="highest"), 15)
    blocks = _to_multiples(blocks, steps)
    blocks = _shift(jnp.einsum("akbl,ki->aibl", blocks, dct, precision="highest"), 11)
    blocks = _shift(jnp.einsum("aibl,lj->aibj", blocks, dct, precision="highest"), 18)
    return jnp.clip(blocks + 128, 0, 255).reshape(padded.shape)[:height, :width]


def _to_multiples(blocks: Float[Array, "a 8 b 8"], steps: Int[np.ndarray, "8 8"]) -> Float[Array, "a 8 b 8"]:
    """Rounds coefficients (8 times true size) to multiples of their steps (at true size), halves away from zero."""
    step = jnp.asarray(steps[None, :, None, :], blocks.dtype)
    # Coefficients are whole: a quarter more moves no quotient across a boundary, but keeps it off the boundary
    # itself, where a rounded reciprocal could fall on either side.
    count = jnp.floor((jnp.abs(blocks) + (4 * step + 0.25)) / (8 * step))
    return jnp.sign(blocks) * count * step


def _dct_matrix() -> Int[np.ndarray, "8 8"]:
    """The whole-number DCT of libjpeg, about 2^13 sqrt(8) times the orthonormal one."""
    half = np.array(_DCT_HALF)
    # Even frequencies are symmetric about the middle of the block, odd ones antisymmetric.
    sign = 1 - 2 * (np.arange(BLOCK)[:, None] % 2)
    return np.concatenate([half, sign * half[:, ::-1]], axis=1)


def _shift(numbers: Float[Array, "*shape"], bits: int) -> Float[Array, "*shape"]:
    """Divides whole numbers by 2^bits, rounding halves up: a shift of integers after adding a half."""
    return jnp.floor(numbers * 2.0**-bits + 0.5)
