"""Contact sheets of corruptions: a row for each, columns for the clean image and the five severities.

A part of `corruption_parity.py`, which draws them with --sheets.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont
from scipy.cluster.vq import kmeans2

CELL, GAP, LABEL, HEAD = 128, 4, 150, 24  # pixels
COLORS, SAMPLE = 256, 20_000


def sheet(clean: UInt8[ndarray, "h w 3"], corrupted: Mapping[str, Sequence[UInt8[ndarray, "h w 3"]]]) -> Image.Image:
    """The labelled picture; every pixel of the image becomes a square."""
    step = CELL + GAP
    columns = 1 + max(len(pictures) for pictures in corrupted.values())
    canvas = Image.new("RGB", (LABEL + columns * step, HEAD + len(corrupted) * step), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(15)
    for column, title in enumerate(("clean", *(f"severity {i}" for i in range(1, columns)))):
        pen.text((LABEL + column * step + CELL // 2, HEAD // 2), title, fill="black", font=font, anchor="mm")
    for row, (name, pictures) in enumerate(corrupted.items()):
        top = HEAD + row * step
        pen.text((8, top + CELL // 2), name.replace("_", " "), fill="black", font=font, anchor="lm")
        for column, pixels in enumerate((clean, *pictures)):
            tile = Image.fromarray(pixels).resize((CELL, CELL), Image.Resampling.NEAREST)
            canvas.paste(tile, (LABEL + column * step, top))
    return canvas


def encode(picture: Image.Image, *, most: int) -> bytes:
    """The picture as a PNG file, in 256 colors if all of its colors take more than `most` bytes."""
    if len(file := _png(picture)) <= most:
        return file
    pixels = np.asarray(picture).reshape(-1, 3).astype(np.float64)
    some = np.random.default_rng(0).choice(pixels, SAMPLE, replace=False)
    # Clusters: a median cut spends its colors on the large even areas. No dithering, which would look like noise.
    colors, _ = kmeans2(some, COLORS, minit="++", rng=0)
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.rint(colors).astype(np.uint8).tobytes())
    return _png(picture.quantize(palette=palette, dither=Image.Dither.NONE))


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()
