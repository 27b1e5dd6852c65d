"""Bringing 8-bit images to one size and one number of channels.

Each step is a small picklable object that maps one image (h, w, c) to one image, so that the same step serves
an array (applied at once) and `LazyImages` (applied when an image is asked for, also in a worker process).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from mollax.checks import one_of, positive_int
from mollax.data.dataset import Images, LazyImages, RawData, ReadOptions, Split

RESIZE = ("stretch", "crop")
ALPHA = ("raise", "drop", "white")
COLORS = {1: "gray", 2: "gray + alpha", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class Resize:
    """To `size` x `size` with Pillow's bilinear filter, which averages over the footprint when it shrinks.

    "stretch" maps the whole image; "crop" maps its centered square (the short side becomes `size`).
    """

    size: int
    how: str = "stretch"

    def __call__(self, image: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "s s c"]:
        height, width, channels = image.shape
        if height == width == self.size:
            return image
        if self.how == "crop":
            side = min(height, width)
            top, left = (height - side) // 2, (width - side) // 2
            image = image[top : top + side, left : left + side]
        picture = Image.fromarray(image[..., 0] if channels == 1 else image)
        resized = picture.resize((self.size, self.size), Image.Resampling.BILINEAR)
        return np.asarray(resized, np.uint8).reshape(self.size, self.size, channels)


@dataclass(frozen=True)
class ToGray:
    """RGB to luminance 0.299 R + 0.587 G + 0.114 B (ITU-R 601, in 16-bit fixed point as in Pillow)."""

    def __call__(self, image: UInt8[np.ndarray, "*n 3"]) -> UInt8[np.ndarray, "*n 1"]:
        weights = np.array([19595, 38470, 7471], np.uint32)
        return ((image.astype(np.uint32) @ weights + 32768) >> 16).astype(np.uint8)[..., None]


@dataclass(frozen=True)
class ToRGB:
    """Gray repeated three times."""

    def __call__(self, image: UInt8[np.ndarray, "*n 1"]) -> UInt8[np.ndarray, "*n 3"]:
        return np.repeat(image, 3, axis=-1)


@dataclass(frozen=True)
class WithoutAlpha:
    """Drops the last channel ("drop") or blends onto white by it ("white"), a (color - 255) / 255 + 255
    rounded.
    """

    how: str

    def __call__(self, image: UInt8[np.ndarray, "*n c"]) -> UInt8[np.ndarray, "*n d"]:
        color = image[..., :-1]
        if self.how == "drop":
            return color
        opacity = image[..., -1:].astype(np.uint32)
        return ((color * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)


@dataclass(frozen=True)
class MappedDecode:
    """`step` applied to what `decode` returns."""

    decode: Callable[[int], np.ndarray]
    step: Callable[[np.ndarray], np.ndarray]

    def __call__(self, index: int) -> np.ndarray:
        return self.step(self.decode(index))


def map_images(images: Images, step: Callable[[np.ndarray], np.ndarray], shape: tuple[int, int, int]) -> Images:
    """`step` on every image; `shape` is that of one result. Arrays at once, `LazyImages` when asked."""
    if isinstance(images, LazyImages):
        return LazyImages(MappedDecode(images.decode, step), (len(images), *shape))
    out = np.empty((len(images), *shape), np.uint8)
    for row, image in zip(out, images, strict=True):
        row[...] = step(image)
    return out


def resize_images(images: Images, size: int, *, how: str = "stretch") -> Images:
    """All images to `size` x `size`; `how` as in `Resize`. Unchanged if they have that size."""
    positive_int("image_size", size)
    one_of("resize", how, RESIZE)
    _, height, width, channels = images.shape
    if height == width == size:
        return images
    return map_images(images, Resize(size, how), (size, size, channels))


def set_channels(images: Images, channels: int) -> Images:
    """Gray repeated to RGB, or RGB to its luminance. Unchanged if the images have that many channels."""
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 (gray) or 3 (RGB); got {channels}.")
    _, height, width, stored = images.shape
    if stored == channels:
        return images
    if stored not in (1, 3):
        raise ValueError(f"Images have {stored} channels; expected 1 (gray) or 3 (RGB).")
    step = ToGray() if channels == 1 else ToRGB()
    return map_images(images, step, (height, width, channels))


def remove_alpha(images: Images, *, alpha: str) -> Images:
    """Gray + alpha to gray, RGBA to RGB, by `alpha`; raises for "raise". Unchanged without alpha."""
    one_of("alpha", alpha, ALPHA)
    _, height, width, stored = images.shape
    if stored not in (2, 4):
        return images
    if alpha == "raise":
        raise ValueError(
            f"Images have an alpha channel ({COLORS[stored]}). "
            "Pass alpha='drop' to ignore it or alpha='white' to blend onto white."
        )
    return map_images(images, WithoutAlpha(alpha), (height, width, stored - 1))


def conform_split(split: Split, options: ReadOptions) -> tuple[Split, list[str]]:
    """The split with alpha, channels and size brought to `options`, and what was done, in words."""
    done = []
    images = remove_alpha(split.images, alpha=options.alpha)
    if images is not split.images:
        done.append("alpha dropped" if options.alpha == "drop" else "alpha blended onto white")
    if options.channels is not None and images.shape[-1] != options.channels:
        images = set_channels(images, options.channels)
        done.append("gray repeated to RGB" if options.channels == 3 else "RGB turned gray (luminance)")
    if images.shape[-1] not in (1, 3):
        raise ValueError(f"Images have {images.shape[-1]} channels; expected 1 (gray) or 3 (RGB).")
    _, height, width, _ = images.shape
    if options.image_size is None and height != width:
        raise ValueError(
            f"Images are not square but {height}x{width}. Set image_size=... with resize='stretch' or resize='crop'."
        )
    if options.image_size is not None and (height, width) != (options.image_size, options.image_size):
        images = resize_images(images, options.image_size, how=options.resize)
        verb = "center square resized" if options.resize == "crop" else "resized"
        done.append(f"{verb} from {height}x{width} to {options.image_size}x{options.image_size}")
    return replace(split, images=images), done


def conform(raw: RawData, options: ReadOptions) -> RawData:
    """Every split of `raw` brought to `options`, one note per split and change. Used by readers of arrays."""
    splits, notes = {}, []
    for name, split in raw.splits.items():
        splits[name], done = conform_split(split, options)
        notes += [f"{name}: {len(split)} images {what}" for what in done]
    return replace(raw, splits=splits, notes=(*raw.notes, *notes))
