"""Images written and read again, so that two sets bear the traces of one codec.

A set stored as JPEG differs from any other by its block artefacts alone: one DCT statistic tells a JPEG set from
another source almost without error, which says nothing about what the images show.
"""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from mollax.checks import positive_int
from mollax.data.dataset import Images
from mollax.data.pixels import map_images


class Recode:
    """One image through JPEG; picklable, for worker processes."""

    def __init__(self, quality: int) -> None:
        self.quality = quality

    def __call__(self, image: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w c"]:
        """The image as libjpeg gives it back, color subsampled 4:2:0 as is usual."""
        buffer = io.BytesIO()
        flat = image[..., 0] if image.shape[-1] == 1 else image
        Image.fromarray(flat).save(buffer, format="JPEG", quality=self.quality)
        with Image.open(buffer) as read:
            return np.asarray(read).reshape(image.shape)


def recode_jpeg(images: Images, quality: int) -> Images:
    """8-bit images (n, h, w, 1 or 3) after one round of JPEG; images decoded on demand stay so.

    Raises:
      ValueError: for a quality outside of 1 .. 100, or images with other channels.
    """
    positive_int("jpeg_quality", quality)
    if quality > 100:
        raise ValueError(f"jpeg_quality must be at most 100; got {quality}.")
    if images.shape[-1] not in (1, 3):
        raise ValueError(f"JPEG holds gray or RGB images; these have {images.shape[-1]} channels.")
    return map_images(images, Recode(quality), images.shape[1:])
