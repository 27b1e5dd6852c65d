"""The policies' operations by PIL, and real images to try them on: the independent reference of augmentation tests."""

from __future__ import annotations

import functools
import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

ENHANCE = {
    "brightness": ImageEnhance.Brightness,
    "color": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "sharpness": ImageEnhance.Sharpness,
}
RESAMPLE = {"nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR}


def pil_apply(pixels: np.ndarray, name: str, magnitude: float = 0.0, interpolation: str = "nearest") -> np.ndarray:
    """One operation on (h, w, 1 or 3) bytes; factors are 1 + magnitude, thresholds and the like are as policies say."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    return np.asarray(_apply(image, name, magnitude, RESAMPLE[interpolation])).reshape(pixels.shape)


def _apply(image: Image.Image, name: str, m: float, resample: Image.Resampling) -> Image.Image:
    affine = {
        "shear_x": (1, m, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, m, 1, 0),
        "translate_x": (1, 0, -m, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, -m),
    }
    if name in affine:
        return image.transform(image.size, Image.Transform.AFFINE, affine[name], resample=resample)
    if name in ENHANCE:
        return ENHANCE[name](image).enhance(1 + m)
    plain = {
        "identity": lambda: image,
        "rotate": lambda: image.rotate(m, resample=resample),
        "auto_contrast": lambda: ImageOps.autocontrast(image),
        "equalize": lambda: ImageOps.equalize(image),
        "invert": lambda: ImageOps.invert(image),
        "posterize": lambda: ImageOps.posterize(image, round(m)),
        # Thresholds that should be whole must be, or a level falls to the other side.
        "solarize": lambda: ImageOps.solarize(image, round(255 * m, 3)),
    }
    return plain[name]()


def gray_of(images: np.ndarray) -> np.ndarray:
    """(n, h, w, 3) bytes -> (n, h, w, 1)."""
    return np.stack([np.asarray(Image.fromarray(image).convert("L"))[..., None] for image in images])


@functools.cache
def cifar_images(folder: Path, count: int = 8) -> np.ndarray:
    """(count, 32, 32, 3) bytes, the first test images, one a class in turn."""
    with zipfile.ZipFile(folder / "cifar10_jpeg.zip") as archive:
        names = sorted(name for name in archive.namelist() if "/test/" in name and name.endswith(".jpg"))
        chosen = names[:: len(names) // count][:count]
        return np.stack([np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in chosen])
