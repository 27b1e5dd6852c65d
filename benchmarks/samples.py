"""Real test images for the benchmarks whose speed depends on what images show."""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

# Side of the images, and the folder of the zip that holds those to test on.
FOLDERS = {32: "/test/", 64: "/val/images/"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the images are."""
    parser.add_argument("--cifar", type=Path, help="zip of CIFAR-10 as an image folder, with test/CLASS/*: 32 pixels")
    parser.add_argument("--tiny-imagenet", type=Path, help="tiny-imagenet-200.zip (its val/images/*): 64 pixels")


def paths(options: argparse.Namespace) -> dict[int, Path | None]:
    """The zip for each side that was given; 32 pixels of random images with --tiny.

    Raises: SystemExit if there is none.
    """
    given = {32: options.cifar, 64: options.tiny_imagenet}
    found = {side: path for side, path in given.items() if path is not None}
    if not found and not options.tiny:
        raise SystemExit("Give the zip of at least one set of images: --cifar, --tiny-imagenet.")
    return found or {32: None}


def read(path: Path | None, side: int, count: int) -> UInt8[np.ndarray, "n side side 3"]:
    """`count` of the test images of a zip, evenly spread, gray ones as RGB; without a path, random ones."""
    if path is None:
        return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if FOLDERS[side] in name and not name.endswith("/"))
        if len(names) < count:
            raise SystemExit(f"{path} holds {len(names)} images in {FOLDERS[side]}; {count} are needed.")
        chosen = [names[i * len(names) // count] for i in range(count)]
        images = [np.asarray(Image.open(archive.open(name)).convert("RGB")) for name in chosen]
    if images[0].shape != (side, side, 3):
        raise SystemExit(f"{path} holds images of {images[0].shape[1]}x{images[0].shape[0]} pixels, not {side}.")
    return np.stack(images)
