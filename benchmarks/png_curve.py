"""Measures gamma_blur in PNG bytes (eq 13, fig 3) on TinyImageNet's validation images and writes it as JSON.

    python benchmarks/png_curve.py --images tiny-imagenet-200.zip --count 1000 \\
        --out docs/results/png_curve.json

The means are `TINY_IMAGENET_PNG_LOSS` of `mollax/mollify/compression.py`. About a minute on two cores.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from mollax.data import ReadOptions
from mollax.data.decode import decode_splits
from mollax.data.tiny_imagenet import list_tiny_imagenet
from mollax.mollify import png_loss_curve

TEMPERATURES = np.linspace(0.0, 1.0, 21)


def first_images(path: Path, count: int) -> UInt8[np.ndarray, "n h w c"]:
    """The first `count` validation images by sorted file name, gray ones repeated to RGB."""
    tiny = list_tiny_imagenet(path)
    records = sorted(tiny.records["test"])[:count]
    if len(records) < count:
        raise SystemExit(f"{path} holds {len(records)} validation images; --count asks for {count}.")
    splits, _, _ = decode_splits(tiny.files, {"test": records}, ReadOptions(channels=3), tiny.class_names)
    images = splits["test"].images
    return np.stack([images[i] for i in range(count)])


def summarize(images: UInt8[np.ndarray, "n h w c"], curve: Float[np.ndarray, "n t"]) -> dict[str, object]:
    """Mean and standard deviation at each temperature, and how far the mean is from the paper's t."""
    mean, deviation = curve.mean(axis=0), curve.std(axis=0, ddof=1)
    distance = mean - TEMPERATURES
    worst = int(np.abs(distance).argmax())
    return {
        "what": "1 - size(x_t) / size(x_0) in PNG bytes, x_0 the image at t = 0 (blur of 0.3 pixels)",
        "images": f"first {len(images)} TinyImageNet validation images by sorted file name, gray as RGB",
        "side": int(images.shape[1]),
        "t": [round(float(t), 4) for t in TEMPERATURES],
        "mean": [round(float(x), 4) for x in mean],
        "standard_deviation": [round(float(x), 4) for x in deviation],
        "largest_deviation_from_t": {
            "t": round(float(TEMPERATURES[worst]), 4),
            "mean_minus_t": round(float(distance[worst]), 4),
        },
    }


def main() -> None:
    """Reads the arguments, measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="tiny-imagenet-200.zip or its folder")
    parser.add_argument("--count", type=int, default=1000, help="how many images")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()

    images = first_images(arguments.images, arguments.count)
    result = summarize(images, png_loss_curve(images, TEMPERATURES))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{arguments.out}: {result['mean']}")


if __name__ == "__main__":
    main()
