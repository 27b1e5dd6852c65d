"""The blurs of the reference, with scikit-image, OpenCV and SciPy; a part of `corruption_reference.py`.

Images are (h, w, 3) float64 in [0, 1], and so are the results, before they are clipped and truncated.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float
from scipy import ndimage
from skimage.filters import gaussian

Image = Float[np.ndarray, "h w 3"]


def gaussian_blur(image: Image, sigma: float) -> Image:
    """scikit-image's Gaussian: edge pixels repeated, cut at 4 deviations."""
    return gaussian(image, sigma=sigma, channel_axis=-1)


def defocus_blur(image: Image, radius: float, alias_sd: float) -> Image:
    """A disc of ones, smoothed so that its rim has no steps."""
    reach, size = (8, 3) if radius <= 8 else (int(radius), 5)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (x**2 + y**2 <= radius**2).astype(np.float32)
    disc = cv2.GaussianBlur(disc / disc.sum(), (size, size), sigmaX=alias_sd)
    return cv2.filter2D(image, -1, disc)


def glass_blur(rng: np.random.Generator, image: Image, sigma: float, reach: int, rounds: int) -> Image:
    """Pixels copy a neighbor, one after the other from the bottom right, between two blurs."""
    pixels = (gaussian_blur(image, sigma) * 255).astype(np.uint8)
    height, width, _ = pixels.shape
    for _ in range(rounds):
        offsets = iter(rng.integers(-reach, reach, (height * width, 2)).tolist())
        for y in range(height - reach, reach, -1):
            for x in range(width - reach, reach, -1):
                across, down = next(offsets)
                pixels[y, x] = pixels[y + down, x + across]
    return gaussian_blur(pixels / 255, sigma)


def motion_blur(rng: np.random.Generator, image: Image, radius: int, sigma: float) -> Image:
    """Motion along a direction within 45 degrees of the horizontal, rounded to 8 bits as ImageMagick does."""
    moved = along(image, radius, sigma, rng.uniform(-45, 45))
    # The half keeps levels what they are when they are truncated again.
    return (np.rint(moved * 255) + 0.5) / 255


def along(image: np.ndarray, radius: int, sigma: float, degrees: float) -> np.ndarray:
    """Half a Gaussian of 2 radius + 1 pixels ahead of each pixel, the border repeated."""
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    radians = np.deg2rad(degrees)
    down = np.ceil(steps * np.sin(radians) - 0.5).astype(int)
    right = np.ceil(steps * np.cos(radians) - 0.5).astype(int)
    frame = 2 * radius
    height, width = image.shape[:2]
    padded = np.pad(image, [(frame, frame), (frame, frame)] + [(0, 0)] * (image.ndim - 2), mode="edge")
    total = np.zeros(image.shape)
    for weight, dy, dx in zip(weights, down + frame, right + frame, strict=True):
        total += weight * padded[dy : dy + height, dx : dx + width]
    return total


def zoom_blur(image: Image, upper: float, step: float) -> Image:
    """The mean of the image and of its center magnified by each factor."""
    factors = np.arange(1, upper, step)
    total = image.copy()
    for factor in factors:
        total += zoom_center(image, factor)
    return total / (len(factors) + 1)


def zoom_center(image: np.ndarray, factor: float) -> np.ndarray:
    """The center of an image (h, w) or (h, w, c), magnified linearly to the size of the whole."""
    height, width = image.shape[:2]
    rows, columns = int(np.ceil(height / factor)), int(np.ceil(width / factor))
    top, left = (height - rows) // 2, (width - columns) // 2
    part = image[top : top + rows, left : left + columns]
    large = ndimage.zoom(part, (factor, factor, 1)[: image.ndim], order=1)
    top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
    return large[top : top + height, left : left + width]
