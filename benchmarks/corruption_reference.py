"""All 19 corruptions in plain NumPy, with the libraries that the published generators use: what parity is measured to.

`reference(name, severity, image, rng)` corrupts one 8-bit color image. It follows the benchmark's definition step by
step and shares nothing with `mollax/corrupt` but frost's textures, which are mollax's own drawings: the photographs
of the published sets are not shipped. Motion follows ImageMagick's kernel, without ImageMagick. The 8-bit image is
divided by 255, changed, clipped to [0, 1], multiplied by 255 and truncated.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import corruption_reference_blur as blur
import corruption_reference_weather as weather
import cv2
import numpy as np
from corruption_constants import TABLES
from corruption_reference_blur import Image
from jaxtyping import Float, UInt8
from PIL import Image as PIL
from scipy import ndimage
from skimage.color import hsv2rgb, rgb2hsv
from skimage.filters import gaussian
from skimage.util import random_noise

# Elastic constants are relative to the side, with the 244 of the ImageNet generator.
ELASTIC_SIDE = {32: 32, 64: 64, 224: 244}


def reference(
    name: str, severity: int, image: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """One corruption of one color image with the constants of the nearest published size; random ones draw from rng."""
    side = math.sqrt(image.shape[0] * image.shape[1])
    table = min(TABLES, key=lambda known: abs(math.log(side / known)))
    row = TABLES[table][name][severity - 1]
    constants = row if isinstance(row, tuple) else (row,)
    if name in ON_BYTES:
        return ON_BYTES[name](image, *constants)
    if name in ("frost", "elastic_transform"):
        constants = (table, *constants)
    unit = image / 255
    changed = RANDOM[name](rng, unit, *constants) if name in RANDOM else FIXED[name](unit, *constants)
    return (np.clip(changed, 0, 1) * 255).astype(np.uint8)


def gaussian_noise(rng: np.random.Generator, image: Image, sd: float) -> Image:
    """Normal noise."""
    return image + rng.normal(scale=sd, size=image.shape)


def shot_noise(rng: np.random.Generator, image: Image, photons: float) -> Image:
    """Poisson counts."""
    return rng.poisson(image * photons) / photons


def impulse_noise(rng: np.random.Generator, image: Image, amount: float) -> Image:
    """Salt and pepper, channel by channel."""
    return random_noise(image, mode="s&p", amount=amount, rng=rng)


def speckle_noise(rng: np.random.Generator, image: Image, sd: float) -> Image:
    """Normal noise in proportion to the light."""
    return image + image * rng.normal(scale=sd, size=image.shape)


def brightness(image: Image, added: float) -> Image:
    """Value of HSV raised."""
    hsv = rgb2hsv(image)
    hsv[..., 2] = np.clip(hsv[..., 2] + added, 0, 1)
    return hsv2rgb(hsv)


def saturate(image: Image, factor: float, added: float) -> Image:
    """Saturation of HSV scaled and shifted."""
    hsv = rgb2hsv(image)
    hsv[..., 1] = np.clip(factor * hsv[..., 1] + added, 0, 1)
    return hsv2rgb(hsv)


def contrast(image: Image, factor: float) -> Image:
    """Drawn towards the mean color."""
    mean = image.mean((0, 1), keepdims=True)
    return (image - mean) * factor + mean


def elastic_transform(
    rng: np.random.Generator, image: Image, table: int, amplitude: float, smoothing: float, jitter: float
) -> Image:
    """A random affine map, then a smooth random displacement of every pixel."""
    amplitude, smoothing, jitter = (ELASTIC_SIDE[table] * value for value in (amplitude, smoothing, jitter))
    height, width, channels = image.shape
    reach = min(height, width) // 3
    corners = np.array([[1, 1], [1, -1], [-1, -1]]) * reach + np.array([width // 2, height // 2])
    moved = corners + rng.uniform(-jitter, jitter, (3, 2))
    matrix = cv2.getAffineTransform(corners.astype(np.float32), moved.astype(np.float32))
    image = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)

    def displacement() -> Float[np.ndarray, "h w"]:
        return amplitude * gaussian(rng.uniform(-1, 1, (height, width)), smoothing, mode="reflect", truncate=3)

    y, x = np.mgrid[:height, :width]
    places = [y + displacement(), x + displacement()]
    planes = [ndimage.map_coordinates(image[..., i], places, order=1, mode="reflect") for i in range(channels)]
    return np.stack(planes, -1)


def pixelate(image: UInt8[np.ndarray, "h w 3"], factor: float) -> UInt8[np.ndarray, "h w 3"]:
    """PIL's box filter down and up."""
    picture = PIL.fromarray(image)
    small = picture.resize((int(picture.width * factor), int(picture.height * factor)), PIL.Resampling.BOX)
    return np.asarray(small.resize(picture.size, PIL.Resampling.BOX))


def jpeg_compression(image: UInt8[np.ndarray, "h w 3"], quality: int) -> UInt8[np.ndarray, "h w 3"]:
    """To JPEG and back by PIL."""
    file = io.BytesIO()
    PIL.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(PIL.open(file))


RANDOM: dict[str, Callable[..., np.ndarray]] = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "elastic_transform": elastic_transform,
    "speckle_noise": speckle_noise,
    "spatter": weather.spatter,
}
FIXED: dict[str, Callable[..., np.ndarray]] = {
    "defocus_blur": blur.defocus_blur,
    "zoom_blur": blur.zoom_blur,
    "brightness": brightness,
    "contrast": contrast,
    "gaussian_blur": blur.gaussian_blur,
    "saturate": saturate,
}
ON_BYTES: dict[str, Callable[..., np.ndarray]] = {"pixelate": pixelate, "jpeg_compression": jpeg_compression}
