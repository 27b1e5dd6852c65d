"""Encoded image files (JPEG, PNG, ...) to 8-bit arrays: one image, and whole splits of them.

Images are uint8 (h, w, c), gray (1 channel) or RGB (3). Nothing is changed silently: every conversion has a
kind, such as "gray images repeated to RGB", that the caller counts. An EXIF orientation tag is applied, so
that an array shows the picture as a viewer does; color profiles are not.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageFile, ImageOps

from mollax.data.dataset import Images, LazyImages, ReadOptions, Skip, Split
from mollax.data.pixels import Resize, ToGray, ToRGB, WithoutAlpha
from mollax.data.readers import check_options

# Others that Pillow knows (EPS starts Ghostscript) have no place in a set of images.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
# Decoded sets up to this many bytes are kept in memory: all of TinyImageNet (1.26 GiB) is.
MEMORY_LIMIT = 3 * 2**29
CHUNK = 64

GRAY_TO_RGB = "gray images repeated to RGB"
RGB_TO_GRAY = "color images reduced to gray (luminance)"
HIGH_BYTE = "16-bit images reduced to the high byte"
BITS = "1-bit images widened to 8 bits"
PALETTE = "palette images expanded to RGB"
UPRIGHT = "images turned upright by an EXIF orientation tag"
UNREADABLE_TAG = "images with unreadable EXIF data left as stored"
FIRST_PICTURE = "multi-picture images read as the first picture"
ALPHA_DROPPED = "images with the alpha channel dropped"
ALPHA_WHITE = "images blended onto white through the alpha channel"

_PLAIN_COLOR = ("P", "PA", "RGB", "RGBA", "RGBa")
_PNG_TAGS = {"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"}

Shape = tuple[int, int, int]
# `typing.BinaryIO` has no instances at run time, where tests check types.
ByteFile = io.BytesIO | io.BufferedReader
Kinds = tuple[str, ...]


class BadImageError(ValueError):
    """One image that cannot be used: where it is, why, and what to do about it."""

    def __init__(self, where: str, reason: str, remedy: str = "") -> None:
        # All three are kept in `args`, so that the error survives the way back from a worker process.
        super().__init__(where, reason, remedy)
        self.where, self.reason, self.remedy = where, reason, remedy

    def __str__(self) -> str:
        remedy = self.remedy or "Replace or remove it, or set on_bad_image='skip' to leave out such images."
        return f"{self.where}: {self.reason}. {remedy}"


@runtime_checkable
class Source(Protocol):
    """Encoded images by key. Picklable, and to be used from several threads and processes."""

    def open(self, key: Any) -> ByteFile:
        """The encoded image, as a seekable binary file."""

    def where(self, key: Any) -> str:
        """What an error message calls the image."""


class _Header(NamedTuple):
    """What is known of an image before its pixels are decoded; `upright` is (height, width)."""

    gray: bool
    alpha: bool
    upright: tuple[int, int]
    kinds: Kinds


def _open(file: ByteFile, where: str) -> ImageFile.ImageFile:
    """The image with its header read; raises BadImageError for what cannot become one array of pixels."""
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise ValueError("PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set, so Pillow would pad truncated images. Unset it.")
    if not file.read(1):
        raise BadImageError(where, "the file is empty")
    file.seek(0)
    try:
        image = Image.open(file, formats=FORMATS)
        frames = getattr(image, "n_frames", 1)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImageError(where, f"suspiciously large ({error})") from error
    except Image.UnidentifiedImageError as error:
        raise BadImageError(where, f"not a readable {', '.join(FORMATS)} image") from error
    except Exception as error:  # damaged headers make Pillow's plugins raise almost anything
        raise BadImageError(where, f"damaged header ({error})") from error
    width, height = image.size
    if min(width, height) < 1:
        raise BadImageError(where, f"has no pixels ({height}x{width})")
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > limit:
        remedy = "Shrink it, or raise PIL.Image.MAX_IMAGE_PIXELS if you trust it."
        raise BadImageError(where, f"suspiciously large ({height}x{width}, over {limit:,} pixels)", remedy)
    if frames > 1 and image.format != "MPO":
        remedy = "Save the frame that you want, or set on_bad_image='skip'."
        raise BadImageError(where, f"an animation or stack of {frames} frames, not a still image", remedy)
    return image


def _orientation(image: ImageFile.ImageFile, *, header_only: bool) -> int | None:
    """The EXIF orientation, 1 to 8; None if the tag cannot be read."""
    if image.format == "PNG" and header_only and not _PNG_TAGS & image.info.keys():
        return 1  # the tag may also stand after the pixels, but looking there would decode them
    try:
        tag = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # EXIF blocks are written by cameras and editors of every kind
        return None
    return tag if tag in range(2, 9) else 1


def _is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether the file has 16 bits per channel: Pillow reduces color while decoding; raw modes tell."""
    ppm = any(tile[0] == "ppm" and isinstance(tile[3], tuple) and tile[3][-1] > 255 for tile in image.tile)
    return ppm or image.mode.startswith("I;16") or any(";16" in str(tile[3]) for tile in image.tile)


def _header(image: ImageFile.ImageFile, where: str, options: ReadOptions, *, header_only: bool) -> _Header:
    """What `decode_image` does to `image`."""
    mode, deep, alpha = image.mode, _is_deep(image), image.has_transparency_data
    gray = mode in ("1", "L", "LA", "La", "I") or mode.startswith("I;16")
    if mode == "F" or (mode == "I" and not deep):
        kind = "floating-point" if mode == "F" else "32-bit integer"
        remedy = "Save it with 8 bits per channel, or set on_bad_image='skip'."
        raise BadImageError(where, f"has {kind} pixels, whose range is unknown", remedy)
    if alpha and options.alpha == "raise":
        # Not damage but a choice to be made, so that on_bad_image="skip" does not skip these.
        raise ValueError(
            f"{where} has an alpha channel or transparent color (mode {mode}). "
            "Set alpha='drop' to ignore it or alpha='white' to blend onto white."
        )
    if image.format == "PNG" and not header_only:
        _load(image, where)  # its orientation tag may stand after the pixels
    tag = _orientation(image, header_only=header_only)
    width, height = image.size
    # Pillow's TIFF reader gives the upright size from the start; the others do not.
    upright = (width, height) if (tag or 1) >= 5 and image.format != "TIFF" else (height, width)
    size = options.image_size
    kinds = {
        FIRST_PICTURE: image.format == "MPO" and getattr(image, "n_frames", 1) > 1,
        UPRIGHT: tag is not None and tag > 1,
        UNREADABLE_TAG: tag is None,
        BITS: mode == "1",
        HIGH_BYTE: deep,
        PALETTE: mode in ("P", "PA"),
        f"{mode} images converted to RGB": not gray and mode not in _PLAIN_COLOR,
        ALPHA_DROPPED: alpha and options.alpha == "drop",
        ALPHA_WHITE: alpha and options.alpha == "white",
        GRAY_TO_RGB: gray and options.channels == 3,
        RGB_TO_GRAY: not gray and options.channels == 1,
        f"images resized to {size}x{size} ({options.resize})": size is not None and upright != (size, size),
    }
    return _Header(gray, alpha, upright, tuple(kind for kind, applies in kinds.items() if applies))


def _load(image: ImageFile.ImageFile, where: str) -> None:
    try:
        image.load()
    except Exception as error:  # truncated or damaged data: each decoder has its own errors
        raise BadImageError(where, f"truncated or damaged ({error})") from error


def _to_array(image: Image.Image, header: _Header, where: str) -> UInt8[np.ndarray, "h w c"]:
    """The loaded image, upright, as gray, gray + alpha, RGB or RGBA."""
    try:
        image = ImageOps.exif_transpose(image) if UPRIGHT in header.kinds else image
        if image.mode.startswith("I"):
            if header.alpha:
                raise ValueError("16-bit gray with a transparent color")
            return (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)[..., None]
        mode = ("L" if header.gray else "RGB") + ("A" if header.alpha else "")
        array = np.asarray(image if image.mode == mode else image.convert(mode))
    except Exception as error:
        raise BadImageError(where, f"cannot be converted to 8-bit gray or RGB ({error})") from error
    return array[..., None] if array.ndim == 2 else array


def decode_image(data: bytes, where: str, options: ReadOptions) -> tuple[UInt8[np.ndarray, "h w c"], Kinds]:
    """One encoded image as gray (h, w, 1) or RGB (h, w, 3), and the kinds of conversion made (often none).

    In this order: the EXIF orientation is applied; 16 bits become the high byte, 1 bit becomes 0 and 255,
    palette, CMYK and other color spaces become RGB (a palette even if its colors are gray); alpha by
    `options.alpha`; `options.channels` (gray repeated, or ITU-R 601 luminance); `options.image_size`
    (bilinear as in Pillow, averaging over the footprint when it shrinks: the whole image for "stretch", its
    centered square for "crop").

    A truncated file is refused, not padded. A file that declares its own end too early (a JPEG end marker, a
    PNG stream with too few rows) cannot be told from a whole one: Pillow's decoders fill in the rest.

    Args:
      data: the bytes of a JPEG, PNG, BMP, GIF, WebP, TIFF or PPM file.
      where: what messages call it.
      options: see `ReadOptions`.

    Raises:
      BadImageError: if it is unreadable, truncated, empty, animated, suspiciously large or floating-point.
      ValueError: if it has an alpha channel or transparent color and `options.alpha` is "raise".
    """
    check_options(options)
    return _decode(data, where, options)


def _decode(data: bytes, where: str, options: ReadOptions) -> tuple[UInt8[np.ndarray, "h w c"], Kinds]:
    image = _open(io.BytesIO(data), where)
    header = _header(image, where, options, header_only=False)
    _load(image, where)
    array = _to_array(image, header, where)
    if header.alpha:
        array = WithoutAlpha(options.alpha)(array)
    if RGB_TO_GRAY in header.kinds:
        array = ToGray()(array)
    if options.image_size is not None:
        array = Resize(options.image_size, options.resize)(array)
    if GRAY_TO_RGB in header.kinds:  # last, so that one channel is resized and not three
        array = ToRGB()(array)
    return array, header.kinds


def probe_image(file: ByteFile, where: str, options: ReadOptions) -> tuple[Shape, Kinds]:
    """The shape and kinds that `decode_image` would return, from the header alone; raises as it does.

    Damaged pixels pass unseen, and so does an orientation tag that a PNG has after its pixels.
    """
    header = _header(_open(file, where), where, options, header_only=True)
    height, width = header.upright if options.image_size is None else (options.image_size,) * 2
    return (height, width, options.channels or (1 if header.gray else 3)), header.kinds


def count_kinds(counts: Mapping[str, int]) -> tuple[str, ...]:
    """Notes on conversions and how often each was made: "127 gray images repeated to RGB"."""
    return tuple(f"{n:,} {kind if n > 1 else kind.replace('images', 'image', 1)}" for kind, n in counts.items())


@contextmanager
def _opened(source: Source, key: Any) -> Iterator[ByteFile]:
    try:
        file = source.open(key)
    except Exception as error:  # a source may be any storage, with errors of its own
        raise BadImageError(source.where(key), f"cannot be read ({error})") from error
    with file:
        try:
            yield file
        except OSError as error:
            raise BadImageError(source.where(key), f"cannot be read ({error})") from error


def _read(source: Source, key: Any, options: ReadOptions) -> tuple[UInt8[np.ndarray, "h w c"], Kinds]:
    with _opened(source, key) as file:
        return _decode(file.read(), source.where(key), options)


@dataclass(frozen=True)
class LazyDecode:
    """Image i of `keys`, decoded when asked for. Picklable: a worker process opens the source for itself."""

    source: Source
    keys: tuple[Any, ...]
    options: ReadOptions
    shape: Shape

    def __call__(self, index: int) -> UInt8[np.ndarray, "h w c"]:
        key = self.keys[index]
        image, _ = _read(self.source, key, self.options)
        if image.shape != self.shape:
            reason = f"decodes to shape {image.shape} where its header promised {self.shape}"
            raise BadImageError(self.source.where(key), reason)
        return image


class _Work:
    """Decodes a list of images into one array or, if that would be too large, checks their headers."""

    def __init__(self, source: Source, keys: Sequence[Any], options: ReadOptions) -> None:
        self.source, self.keys, self.options = source, keys, options
        self.first, self.shape = self._first()
        self.lazy = len(keys) * int(np.prod(self.shape)) > MEMORY_LIMIT
        self.array = np.empty((0 if self.lazy else len(keys), *self.shape), np.uint8)

    def _first(self) -> tuple[Any, Shape]:
        """The first image that can be decoded, and its shape, which all others must have."""
        for key in self.keys:
            try:
                height, width, channels = _read(self.source, key, self.options)[0].shape
            except BadImageError:
                if self.options.on_bad_image == "raise":
                    raise
                continue
            if height != width:
                raise ValueError(
                    f"Images are not square: {self.source.where(key)} is {height}x{width}. "
                    "Set image_size=... with resize='stretch' or resize='crop'."
                )
            return key, (height, width, channels)
        raise ValueError(f"None of {len(self.keys)} images can be read, {self.source.where(self.keys[0])} first.")

    def _one(self, index: int) -> Kinds | Skip:
        """The kinds of conversion of one image, or why it is left out."""
        key = self.keys[index]
        try:
            if self.lazy:
                with _opened(self.source, key) as file:
                    shape, kinds = probe_image(file, self.source.where(key), self.options)
            else:
                image, kinds = _read(self.source, key, self.options)
                shape = image.shape
        except BadImageError as error:
            if self.options.on_bad_image == "raise":
                raise
            return Skip(error.where, error.reason)
        if shape != self.shape:
            expected, got = ("x".join(map(str, s)) for s in (self.shape, shape))
            remedy = "channels=1 or channels=3" if shape[:2] == self.shape[:2] else "image_size=... and resize=..."
            first, here = self.source.where(self.first), self.source.where(key)
            raise ValueError(f"Images differ in shape: {first} is {expected}, {here} is {got}. Set {remedy}.")
        if not self.lazy:
            self.array[index] = image
        return kinds

    def _chunk(self, start: int) -> list[Kinds | Skip]:
        return [self._one(i) for i in range(start, min(start + CHUNK, len(self.keys)))]

    def run(self) -> list[Kinds | Skip]:
        """One result per image, in order; the first error in that order is raised."""
        with ThreadPoolExecutor(os.cpu_count()) as threads:  # Pillow frees the other threads while it decodes
            chunks = threads.map(self._chunk, range(0, len(self.keys), CHUNK))
            return [result for chunk in chunks for result in chunk]

    def images(self, kept: np.ndarray) -> Images:
        """The images at the increasing positions `kept`."""
        if self.lazy:
            keys = tuple(self.keys[i] for i in kept)
            decode = LazyDecode(self.source, keys, self.options, self.shape)
            return LazyImages(decode, (len(kept), *self.shape))
        first, last = int(kept[0]), int(kept[-1])
        return self.array[first : last + 1] if len(kept) == last + 1 - first else self.array[kept]


def decode_splits(
    source: Source,
    records: Mapping[str, Sequence[tuple[Any, int]]],
    options: ReadOptions,
    class_names: Sequence[str],
) -> tuple[dict[str, Split], tuple[Skip, ...], tuple[str, ...]]:
    """Decodes all images of all splits, given as (key, label) pairs, to one shape; (splits, skipped, notes).

    Sets of at most `MEMORY_LIMIT` bytes once decoded are decoded now, into one array that the splits share.
    Of larger ones only each header is read and checked; `LazyImages` decode an image when it is asked for,
    and one whose pixels turn out to be damaged then raises BadImageError with its name, even under "skip".

    Raises:
      BadImageError: at the first bad image, unless `options.on_bad_image` is "skip".
      ValueError: if images differ in shape, are not square, or a class of a split has no image left.
    """
    check_options(options)
    pairs = [pair for split in records.values() for pair in split]
    labels = np.array([label for _, label in pairs], np.int32)
    work = _Work(source, [key for key, _ in pairs], options)
    results = work.run()
    good = np.array([not isinstance(result, Skip) for result in results])
    splits, start = {}, 0
    for name, split in records.items():
        positions = np.arange(start, start := start + len(split))
        kept = positions[good[positions]]
        lost = np.setdiff1d(labels[positions], labels[kept])
        if len(lost):
            raise ValueError(
                f"Every image of class {class_names[lost[0]]!r} in {name} is bad and was skipped. "
                "Set on_bad_image='raise' to see why, or remove the class."
            )
        splits[name] = Split(work.images(kept), labels[kept])
    skipped = tuple(result for result in results if isinstance(result, Skip))
    counts = Counter(kind for result in results if not isinstance(result, Skip) for kind in result)
    return splits, skipped, count_kinds(counts)
