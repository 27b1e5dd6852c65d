"""How the images of a collection are stored: size, format, color mode, JPEG quality; and how two collections differ.

Only headers are read. Two collections that are stored differently can be told apart by that alone, whatever they show,
so that any comparison of their content begins here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Int
from PIL import Image

from mollax.checks import positive_int
from mollax.data.decode import FORMATS, Source
from mollax.data.options import evenly_spaced
from mollax.data.pixels import COLORS

SAMPLE = 2000  # headers read at most
SHARE = 0.05  # of the images: how far two shares may be apart before it counts as a difference
LOSSLESS = ("PNG", "BMP", "PPM", "TIFF")
QUALITY = 3  # points of JPEG quality, likewise
MODES = {"1": "1 bit", "L": "gray", "LA": "gray + alpha", "P": "palette", "RGB": "RGB", "RGBA": "RGBA", "CMYK": "CMYK"}
# Luminance and chrominance of ITU-T T.81, annex K, from which libjpeg scales the tables of every quality.
_LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip


@dataclass(frozen=True)
class Storage:
    """What headers say of a collection; counts are of the images that were looked at.

    Attributes:
      images: how many there are.
      looked_at: how many headers were read, evenly spaced.
      format: "JPEG", "PNG", ... or the kind of array.
      mode: "gray", "RGB", "palette", ...
      size: "height x width".
      quality: JPEG quality as libjpeg counts it (`jpeg_quality`), by its text; empty without JPEG files.
    """

    images: int
    looked_at: int
    format: dict[str, int]
    mode: dict[str, int]
    size: dict[str, int]
    quality: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)

    def typical_quality(self) -> int | None:
        """The median JPEG quality; None if fewer than half of the files are JPEG."""
        count = sum(self.quality.values())
        if 2 * count < max(1, self.looked_at):
            return None
        values = np.repeat([int(q) for q in self.quality], list(self.quality.values()))
        return int(np.sort(values)[(count - 1) // 2])

    def common_size(self) -> tuple[int, int]:
        """The most frequent (height, width); of several, the smallest."""
        sides = [(count, tuple(map(int, size.split(" x ")))) for size, count in self.size.items()]
        height, width = min(sides, key=lambda pair: (-pair[0], pair[1]))[1]
        return height, width


@dataclass(frozen=True)
class Difference:
    """One way in which two collections are stored differently, or not.

    Attributes:
      what: "size", "format", "color mode" or "JPEG quality".
      reference, new: what is typical of each, in words.
      differs: whether by more than a share of `SHARE`, or `QUALITY` points.
    """

    what: str
    reference: str
    new: str
    differs: bool


def jpeg_quality(tables: Mapping[int, Sequence[int]]) -> int:
    """The quality in 1 .. 100 whose luminance table libjpeg makes most like the first of a file's tables.

    Exact for files of libjpeg and of programs that scale its tables; cameras and some editors have tables of their
    own, for which this is the nearest.

    Raises:
      ValueError: for no table, or one without 64 entries.
    """
    if not tables:
        raise ValueError("A JPEG file has at least one quantization table; got none.")
    table = np.asarray(tables[min(tables)], np.int64)
    if table.shape != (64,):
        raise ValueError(f"A quantization table has 64 entries; got shape {table.shape}.")
    # Near the best quality many tables are alike: the highest that fits best.
    distance = np.abs(_scaled_tables() - table).sum(axis=1)
    return 100 - int(np.argmin(distance[::-1]))


def _scaled_tables() -> Int[np.ndarray, "100 64"]:
    """libjpeg's luminance table of each quality from 1 to 100."""
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.clip((np.asarray(_LUMINANCE) * scale[:, None] + 50) // 100, 1, 255)


def inspect_files(source: Source, keys: Sequence[Any], *, sample: int = SAMPLE) -> Storage:
    """Reads the headers of at most `sample` of the files, evenly spaced; what cannot be opened is passed over.

    Raises:
      ValueError: if `sample` is not positive.
    """
    positive_int("sample", sample)
    formats, modes, sizes, qualities = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    looked_at = 0
    for position in evenly_spaced(len(keys), sample):
        try:
            with source.open(keys[position]) as file, Image.open(file, formats=FORMATS) as image:
                tables = dict(getattr(image, "quantization", None) or {})
                name, mode, (width, height) = str(image.format), image.mode, image.size
        except Exception:  # damaged headers make Pillow's plugins raise almost anything; reading reports them
            continue
        looked_at += 1
        formats[name] += 1
        modes[MODES.get(mode, mode)] += 1
        sizes[f"{height} x {width}"] += 1
        if tables:
            qualities[str(jpeg_quality(tables))] += 1
    return Storage(len(keys), looked_at, *(dict(count.most_common()) for count in (formats, modes, sizes, qualities)))


def inspect_array(shape: tuple[int, ...], *, kind: str) -> Storage:
    """The same of images in one array (n, h, w, c), which are all alike; `kind` says what holds them."""
    count, height, width, channels = shape
    return Storage(
        count, count, {kind: count}, {COLORS.get(channels, f"{channels} channels"): count},
        {f"{height} x {width}": count}, {},
    )  # fmt: skip


def differences(reference: Storage, new: Storage) -> tuple[Difference, ...]:
    """Size, format, color mode and JPEG quality of two collections, one after the other.

    Shares are compared by their total variation distance, half the sum of what they differ by. Formats that keep every
    pixel do not count as different.
    """
    found = []
    for what, first, second in (
        ("size", reference.size, new.size),
        ("format", reference.format, new.format),
        ("color mode", reference.mode, new.mode),
    ):
        apart = _distance(_lossless(first), _lossless(second)) if what == "format" else _distance(first, second)
        found.append(Difference(what, _typical(first), _typical(second), apart > SHARE))
    if reference.quality or new.quality:
        pair = reference.typical_quality(), new.typical_quality()
        apart = pair[0] != pair[1] if None in pair else abs((pair[0] or 0) - (pair[1] or 0)) >= QUALITY
        words = [_quality_words(storage) for storage in (reference, new)]
        found.append(Difference("JPEG quality", words[0], words[1], apart))
    return tuple(found)


def _lossless(formats: Mapping[str, int]) -> dict[str, int]:
    """Formats with those as one that leave no trace in pixels: arrays, PNG, BMP, PPM and TIFF."""
    counts = Counter[str]()
    for name, count in formats.items():
        counts["lossless" if name in LOSSLESS or name.startswith("array") else name] += count
    return dict(counts)


def _distance(first: Mapping[str, int], second: Mapping[str, int]) -> float:
    totals = max(1, sum(first.values())), max(1, sum(second.values()))
    return sum(abs(first.get(k, 0) / totals[0] - second.get(k, 0) / totals[1]) for k in {*first, *second}) / 2


def _typical(counts: Mapping[str, int]) -> str:
    """The most frequent value, with its share unless it is the only one, and how many others there are."""
    if not counts:
        return "unknown"
    value, count = max(counts.items(), key=lambda pair: pair[1])
    others = len(counts) - 1
    share = f" ({100 * count / sum(counts.values()):.0f} %, {others} other{'s' * (others > 1)})" if others else ""
    return value + share


def _quality_words(storage: Storage) -> str:
    quality = storage.typical_quality()
    if quality is None:
        return f"{_typical(storage.quality)} where JPEG" if storage.quality else "no JPEG"
    values = [int(q) for q in storage.quality]
    spread = f" ({min(values)} to {max(values)})" if len(values) > 1 else ""
    return f"{quality}{spread}"
