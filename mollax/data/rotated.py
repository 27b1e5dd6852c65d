"""Sets whose images were turned once, such as RotMNIST: the angle belongs to the data, not to the training."""

from __future__ import annotations

import numpy as np
from PIL import Image

from mollax.checks import in_range
from mollax.data.dataset import LazyImages, Split
from mollax.data.options import generator


def rotate_split(split: Split, degrees: float, *, seed: int, purpose: str) -> Split:
    """Every image turned about its centre by an angle uniform in +-degrees, bilinear, black outside.

    Random by (seed, purpose): an image's angle depends on its position in the split alone.

    Raises:
      ValueError: for degrees outside of [0, 180], or images that are decoded on demand.
    """
    in_range("rotated", degrees, 0.0, 180.0)
    if isinstance(split.images, LazyImages):
        raise ValueError("rotated turns images in memory; these are decoded on demand. Leave rotated at 0.")
    angles = generator(seed, f"rotated {purpose}").uniform(-degrees, degrees, size=len(split))
    images = np.empty_like(split.images)
    for image, angle, out in zip(split.images, angles, images, strict=True):
        # Channel by channel: PIL has no mode for some numbers of channels.
        for channel in range(image.shape[-1]):
            turned = Image.fromarray(image[..., channel]).rotate(float(angle), Image.Resampling.BILINEAR)
            out[..., channel] = np.asarray(turned)
    return Split(images, split.labels)
