"""Snow, frost, fog and spatter of the reference, with OpenCV and scikit-image; a part of `corruption_reference.py`.

Images are (h, w, 3) float64 in [0, 1], and so are the results, before they are clipped and truncated.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
from corruption_reference_blur import Image, along, zoom_center
from jaxtyping import Float, UInt8
from skimage.filters import gaussian

from mollax.corrupt.frost import textures

LUMA = np.array([0.299, 0.587, 0.114])
FROST_SCALE = {32: 0.2, 64: 0.3, 224: 1.0}
WATER, MUD = np.array([175, 238, 238]) / 255, np.array([63, 42, 20]) / 255
EMBOSS = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])


def snow(
    rng: np.random.Generator,
    image: Image,
    mean: float,
    deviation: float,
    zoom: float,
    threshold: float,
    radius: int,
    sigma: float,
    blend: float,
) -> Image:
    """A whitened image under flakes that fall, and under the same flakes turned by 180 degrees."""
    layer = zoom_center(rng.normal(mean, deviation, image.shape[:2]), zoom)
    layer[layer < threshold] = 0
    layer = (np.clip(layer, 0, 1) * 255).astype(np.uint8)
    layer = np.rint(along(layer, radius, sigma, rng.uniform(-135, -45)))[..., None] / 255
    gray = (image @ LUMA)[..., None]
    whitened = blend * image + (1 - blend) * np.maximum(image, 1.5 * gray + 0.5)
    return whitened + layer + np.rot90(layer, 2)


def frost(rng: np.random.Generator, image: Image, table: int, image_weight: float, frost_weight: float) -> Image:
    """Image and a crop of a texture, added up. The textures are mollax's: the published photographs are not here."""
    height, width, _ = image.shape
    panes = _panes(table)
    pane = panes[rng.integers(len(panes))]
    top, left = rng.integers(pane.shape[0] - height), rng.integers(pane.shape[1] - width)
    return image_weight * image + frost_weight * (pane[top : top + height, left : left + width] / 255)


@functools.lru_cache(maxsize=3)
def _panes(table: int) -> list[UInt8[np.ndarray, "rows columns 3"]]:
    return [cv2.resize(pane, (0, 0), fx=FROST_SCALE[table], fy=FROST_SCALE[table]) for pane in textures()]


def fog(rng: np.random.Generator, image: Image, strength: float, decay: float) -> Image:
    """A cloudy height map added, and the sum brought back to the image's own maximum."""
    height, width, _ = image.shape
    side = 2 ** int(np.ceil(np.log2(max(height, width))))
    brightest = image.max()
    clouds = height_map(rng, side, decay)[:height, :width, None]
    return (image + strength * clouds) * brightest / (brightest + strength)


def height_map(rng: np.random.Generator, side: int, decay: float) -> Float[np.ndarray, "side side"]:
    """Diamond-square on a torus, in [0, 1]: all points of a kind at once."""
    heights = np.zeros((side, side))
    wibble, step = 100.0, side

    def moved(sums: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
        return sums / 4 + wibble * rng.uniform(-wibble, wibble, sums.shape)

    while step > 1:
        half = step // 2
        corners = heights[::step, ::step]
        pairs = corners + np.roll(corners, -1, 1)
        centers = moved(pairs + np.roll(pairs, -1, 0))
        heights[half::step, half::step] = centers
        heights[::step, half::step] = moved(pairs + centers + np.roll(centers, 1, 0))
        pairs = corners + np.roll(corners, -1, 0)
        heights[half::step, ::step] = moved(pairs + centers + np.roll(centers, 1, 1))
        wibble, step = wibble / decay, half
    heights -= heights.min()
    return heights / heights.max()


def spatter(
    rng: np.random.Generator,
    image: Image,
    mean: float,
    deviation: float,
    blur: float,
    threshold: float,
    strength: float,
    mud: int,
) -> Image:
    """Drops where smooth noise passes a threshold: bright and shaded as water, or opaque as mud."""
    liquid = gaussian(rng.normal(mean, deviation, image.shape[:2]), sigma=blur)
    if mud:
        mask = gaussian((liquid > threshold).astype(np.float64), sigma=strength)[..., None]
        mask[mask < 0.8] = 0
        return image * (1 - mask) + mask * MUD
    liquid[liquid < threshold] = 0
    levels = (np.clip(liquid, 0, 1) * 255).astype(np.uint8)
    return image + strength * water(levels)[..., None] * WATER


def water(levels: UInt8[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """The shading of drops of water given in 8 bits; its maximum is 1, or it is 0 where all is dry."""
    distance = cv2.distanceTransform(255 - cv2.Canny(levels, 50, 150), cv2.DIST_L2, 5)
    distance = cv2.blur(np.minimum(distance, 20), (3, 3)).astype(np.uint8)
    shade = cv2.filter2D(cv2.equalizeHist(distance), cv2.CV_8U, EMBOSS)
    mask = levels * cv2.blur(shade, (3, 3)).astype(np.float64)
    return mask / max(mask.max(), 1)
