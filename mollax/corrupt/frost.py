"""Frost: ice crystals on a window, drawn here, laid over the image.

The published sets take crops of five photographs. Those are not shipped; five textures of the same kind are
drawn instead: ferns of ice, three orders of branches, on a darker pane. Numbers with frost are therefore close
to, but not comparable bit for bit with, those of the published set.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray, UInt8

from mollax import checks
from mollax.corrupt.severity import nearest_table
from mollax.image.color import require_float_image, to_gray

TEXTURES = 5

# A photograph of frost, and how much of its width the published sets keep for images of a size.
_HEIGHT, _WIDTH = 600, 800
_SCALES = {32: 0.2, 64: 0.3, 224: 1.0}

# Ferns are drawn in this many layers.
_LAYERS = 6

# Per texture: ferns, length of a spine, angle between a branch and its stem (degrees), mean, deviation, and how
# blue the shadows are (0 gray).
_STYLES = (
    (70, 330.0, 52.0, 0.50, 0.21, 0.20),
    (120, 210.0, 60.0, 0.55, 0.19, 0.15),
    (45, 460.0, 45.0, 0.46, 0.21, 0.25),
    (200, 140.0, 60.0, 0.53, 0.20, 0.05),
    (85, 270.0, 38.0, 0.48, 0.20, 0.18),
)


def frost(
    key: PRNGKeyArray, image: Float[Array, "h w c"], image_weight: float | int, frost_weight: float | int
) -> Float[Array, "h w c"]:
    """Returns image_weight x + frost_weight texture (Hendrycks and Dietterich 2019), not clipped.

    The texture is a random crop of one of five drawn panes (`textures`; see there what differs from the
    published set), reduced as the set of the nearest size reduces its photographs: to .2 of their size for 32
    pixels, .3 for 64, 1 for 224. One channel gets its luminance. Random: which pane and which crop, from `key`.

    Args:
      key: what makes the choice random.
      image: in [0, 1], one or three channels.
      image_weight: of the image; static, >= 0.
      frost_weight: of the texture; static, >= 0.

    Raises:
      ValueError: for a wrong rank, other channels or a negative weight.
      TypeError: for an integer image.
    """
    require_float_image("image", image)
    height, width, channels = image.shape
    if channels not in (1, 3):
        raise ValueError(f"image must have 1 or 3 channels for frost; got shape {image.shape}.")
    checks.in_range("image_weight", image_weight, 0.0)
    checks.in_range("frost_weight", frost_weight, 0.0)
    panes = _panes(nearest_table(height, width), height, width)
    highest, widest = panes.shape[1] - height, panes.shape[2] - width
    which, top, left = jax.random.randint(key, (3,), 0, jnp.asarray([TEXTURES, highest, widest]))
    zero = jnp.zeros((), which.dtype)
    crop = lax.dynamic_slice(jnp.asarray(panes), (which, top, left, zero), (1, height, width, 3))[0]
    texture = crop.astype(image.dtype) / 255
    return image_weight * image + frost_weight * (texture if channels == 3 else to_gray(texture))


@functools.lru_cache(maxsize=8)
def _panes(table: int, height: int, width: int) -> UInt8[np.ndarray, "5 rows columns 3"]:
    """The textures at the scale of a published set, mirrored until they hold more than one crop."""
    panes = shrink(textures(), _SCALES[table])
    while panes.shape[1] <= height + 8 or panes.shape[2] <= width + 8:
        panes = np.concatenate([panes, panes[:, ::-1]], 1) if panes.shape[1] <= height + 8 else panes
        panes = np.concatenate([panes, panes[:, :, ::-1]], 2) if panes.shape[2] <= width + 8 else panes
    return panes


def shrink(panes: UInt8[np.ndarray, "n h w 3"], scale: float) -> UInt8[np.ndarray, "n rows columns 3"]:
    """Shrinks by bilinear sampling at pixel centers without smoothing first, which keeps the published grain."""
    for axis in (1, 2):
        size = panes.shape[axis]
        position = np.clip((np.arange(round(size * scale)) + 0.5) / scale - 0.5, 0, size - 1)
        # Rounding: (i + .5) / .2 - .5 is a whole number that floats miss by a hair.
        first = np.minimum(np.floor(position + 1e-9).astype(int), size - 2)
        share = (position - first).reshape([-1 if i == axis else 1 for i in range(4)])
        low, high = np.take(panes, first, axis), np.take(panes, first + 1, axis)
        panes = np.round(low * (1 - share) + high * share).astype(np.uint8)
    return panes


@functools.lru_cache(maxsize=1)
def textures() -> UInt8[np.ndarray, "5 600 800 3"]:
    """Draws the five panes, 600 x 800 RGB, the same every time; built at the first call and kept (7 MB).

    Luminance of mean .45 to .55 and deviation about .2, bluish to gray, white crystals on a darker ground: the
    statistics of photographs of frost. They are not the photographs of the published sets.
    """
    return np.stack([_draw(seed, *style) for seed, style in enumerate(_STYLES)])


def _draw(
    seed: int, ferns: int, length: float, angle: float, mean: float, deviation: float, blue: float
) -> UInt8[np.ndarray, "600 800 3"]:
    """One pane: crystals as a height map, their shading, a film of ice below, and grain."""
    rng = np.random.default_rng(seed)
    crystals = _crystals(rng, ferns, length, np.deg2rad(angle))
    body = _blur(crystals, 1.4)
    relief = np.gradient(_blur(crystals, 1.6))
    clouds = _blur(rng.random((_HEIGHT, _WIDTH)), 45.0)
    clouds = (clouds - clouds.mean()) / clouds.std()
    # Crystals stand out from their surroundings as much where the ice is thick as where it is thin.
    local = body - _blur(crystals, 14.0)
    local = local / np.sqrt(_blur(local**2, 30.0) + 0.1 * np.mean(local**2))
    light = _standard(_blur(crystals, 9.0)) + 0.75 * _standard(local) + 0.4 * _standard(relief[0] + relief[1])
    light = _standard(light + 0.4 * clouds + 0.15 * rng.standard_normal((_HEIGHT, _WIDTH)))
    for _ in range(4):  # clipping at black and white takes a little off both moments
        light = np.clip(_standard(light) * deviation + mean, 0.02, 1.0)
    # Shadows turn blue: exponents whose mean, by weight in the luminance, is 1.
    tint = 1 + blue * np.asarray([1.0, -0.2, -1.6])
    return np.round(255 * light[..., None] ** tint).astype(np.uint8)


def _standard(values: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    return (values - values.mean()) / values.std()


def _crystals(rng: np.random.Generator, ferns: int, length: float, angle: float) -> Float[np.ndarray, "600 800"]:
    """Ferns in layers. Crystals that meet do not grow through each other: the denser one hides the other."""
    layers = [_ferns(rng, ferns // _LAYERS, length, angle) for _ in range(_LAYERS)]
    return 1 - np.exp(-np.maximum.reduce(layers))


def _ferns(rng: np.random.Generator, ferns: int, length: float, angle: float) -> Float[np.ndarray, "600 800"]:
    """Ferns that grow from the upper and lower border and from seeds anywhere: spines, branches, twigs on those."""
    border = rng.random(ferns) < 0.4
    top, left = rng.random(ferns) * _HEIGHT, rng.random(ferns) * _WIDTH
    top = np.where(border, np.where(top < _HEIGHT / 2, 0.0, _HEIGHT), top)
    inward = np.where(top < _HEIGHT / 2, 0.5, -0.5) * np.pi + (rng.random(ferns) - 0.5) * 2
    heading = np.where(border, inward, rng.random(ferns) * 2 * np.pi)
    spines = _Stems(top, left, heading, length * (0.4 + rng.random(ferns)), (rng.random(ferns) - 0.5) * 1.5)
    branches = _sprout(rng, spines, int(length / 8), angle, 0.3)
    twigs = _sprout(rng, branches, 9, angle, 0.3)
    ink = 2.0 * _splat(spines, int(1.5 * length))
    ink += 1.2 * _splat(branches, int(0.3 * length))
    ink += 0.5 * _splat(twigs, 10)
    return ink


class _Stems:
    """Curved lines: start, heading (radians), length (pixels) and total turn (radians) of each."""

    def __init__(self, *columns: Float[np.ndarray, " n"]) -> None:
        self.top, self.left, self.heading, self.length, self.turn = columns

    def along(self, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Rows, columns and headings at `steps` even places on each, and these places in (0, 1)."""
        place = (np.arange(steps) + 0.5) / steps
        heading = self.heading[:, None] + self.turn[:, None] * place
        stride = self.length[:, None] / steps
        rows = self.top[:, None] + np.cumsum(np.sin(heading) * stride, 1)
        columns = self.left[:, None] + np.cumsum(np.cos(heading) * stride, 1)
        return rows, columns, heading, np.broadcast_to(place, heading.shape)


def _sprout(rng: np.random.Generator, stems: _Stems, steps: int, angle: float, reach: float) -> _Stems:
    """Branches on both sides of stems, longest a third of the way up, which gives the outline of a feather."""
    rows, columns, heading, place = stems.along(steps)
    outline = np.minimum(place / 0.2, 1) * (1 - place) ** 0.7
    parts = []
    for side in (-1.0, 1.0):
        length = reach * stems.length[:, None] * outline * (0.6 + 0.8 * rng.random(rows.shape))
        turned = heading + side * angle + 0.12 * (rng.random(rows.shape) - 0.5)
        # Branches bend back towards the tip of their stem.
        parts.append((rows, columns, turned, length, np.full(rows.shape, -0.5 * side * angle)))
    return _Stems(*(np.concatenate(column, None) for column in zip(*parts, strict=True)))


def _splat(stems: _Stems, points: int) -> Float[np.ndarray, "600 800"]:
    """Draws lines as points of bilinear weight; a line of one pixel a step has height about 1, thinner at the tip."""
    rows, columns, _, place = stems.along(points)
    ink = (stems.length[:, None] / points) * (1 - 0.7 * place)
    keep = (rows >= 0) & (rows < _HEIGHT - 1) & (columns >= 0) & (columns < _WIDTH - 1)
    rows, columns, ink = rows[keep], columns[keep], ink[keep]
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = rows - top, columns - left
    picture = np.zeros(_HEIGHT * _WIDTH)
    for i, share_y in ((0, 1 - down), (1, down)):
        for j, share_x in ((0, 1 - right), (1, right)):
            cell = (top + i) * _WIDTH + left + j
            picture += np.bincount(cell, ink * share_y * share_x, minlength=picture.size)
    return picture.reshape(_HEIGHT, _WIDTH)


def _blur(picture: Float[np.ndarray, "h w"], sigma: float) -> Float[np.ndarray, "h w"]:
    """Periodic Gaussian blur, by its multiplier exp(-2 pi^2 sigma^2 f^2)."""
    f2 = np.fft.fftfreq(picture.shape[0])[:, None] ** 2 + np.fft.rfftfreq(picture.shape[1])[None] ** 2
    return np.fft.irfft2(np.fft.rfft2(picture) * np.exp(-2 * (np.pi * sigma) ** 2 * f2), picture.shape)
