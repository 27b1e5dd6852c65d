"""Compares `mollax.corrupt` with the plain NumPy reference on real images, all corruptions at all severities.

    python benchmarks/corruption_parity.py --cifar cifar10_jpeg.zip --tiny tiny-imagenet-200.zip \\
        --out docs/results/corruption_parity.json --sheets docs/figures

The reference is `corruption_reference.py`. Corruptions without randomness are compared pixel by pixel, the others as
distributions over the same images, with draws of their own. Prints Markdown tables, the worst severity of each
corruption, and ends with code 1 where a bound is missed. With --sheets it also draws one image of each set. Six
minutes of one core, most of it compilation.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import io
import json
import os
import platform
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from corruption_reference import reference
from corruption_sheet import encode, sheet
from jaxtyping import Float, Shaped, UInt8
from PIL import Image

from mollax import corrupt

PARTS = {32: ("CIFAR-10", "cifar10/test/"), 64: ("TinyImageNet", "tiny-imagenet-200/val/images/")}
BATCH = 100
SHOWN = {32: 0.45, 64: 0.65}  # the image on a contact sheet, as a place in the list of images
SHEET_BYTES = 500_000

# What is asked for. Levels are those of 8 bits.
WITHIN_ONE, MEAN_ERROR = 0.98, 0.6
LEVELS, CHANGE, BANDS = 3.0, 0.12, (0.6, 1.67)

Images = UInt8[np.ndarray, "n h w 3"]
Cell = dict[str, Any]
Results = dict[str, dict[str, list[Cell]]]  # side -> corruption -> severities


def read(path: Path, folder: str, count: int) -> Images:
    """`count` color images spread evenly over a folder of a zip file in the order of their names."""
    with zipfile.ZipFile(path) as files:
        names = sorted(name for name in files.namelist() if name.startswith(folder) and not name.endswith("/"))
        if len(names) < count:
            raise SystemExit(f"{path} holds {len(names)} images below {folder}; --count asks for {count}.")
        chosen = [names[i * len(names) // count] for i in range(count)]
        return np.stack([np.asarray(Image.open(io.BytesIO(files.read(name))).convert("RGB")) for name in chosen])


def ours(name: str, severity: int, images: Images) -> Images:
    """What `corrupt_batch` makes of the images, in 8 bits."""
    key = jax.random.key(severity)
    parts = []
    for first in range(0, len(images), BATCH):
        batch = jnp.asarray(images[first : first + BATCH], jnp.float32) / 255
        parts.append(np.asarray(_compiled(name, severity)(key, batch, first)))
    return np.rint(np.concatenate(parts) * 255).astype(np.uint8)


@functools.lru_cache(maxsize=1)
def _compiled(name: str, severity: int) -> Any:
    return jax.jit(lambda key, x, first: corrupt.corrupt_batch(key, x, name, severity, first_index=first))


def plain(name: str, severity: int, images: Images, seed: int) -> Images:
    """What the reference makes of them."""
    rng = np.random.default_rng([seed, severity])
    return np.stack([reference(name, severity, image, rng) for image in images])


def pixel_by_pixel(mine: Images, theirs: Images) -> Cell:
    """Differences of a corruption that draws nothing."""
    error = np.abs(mine.astype(np.int16) - theirs)
    cell = {
        "equal": float(np.mean(error == 0)),
        "within_one": float(np.mean(error <= 1)),
        "mean_error": float(error.mean()),
        "largest": int(error.max()),
    }
    return {**cell, "passed": cell["within_one"] >= WITHIN_ONE and cell["mean_error"] <= MEAN_ERROR}


def in_distribution(mine: Images, theirs: Images, clean: Images) -> Cell:
    """Differences of mean and deviation over all values, in levels; ratios of mean change and of spectral bands."""
    change, expected = (x.astype(np.float32) - clean for x in (mine, theirs))
    cell = {
        "mean": float(mine.mean() - theirs.mean()),
        "deviation": float(mine.std() - theirs.std()),
        "change": float(np.abs(change).mean(dtype=np.float64) / np.abs(expected).mean(dtype=np.float64)),
        "bands_of_change": (bands(change) / bands(expected)).tolist(),
        "bands_of_image": (bands(mine) / bands(theirs)).tolist(),
    }
    ratios = [*cell["bands_of_change"], *cell["bands_of_image"]]
    passed = max(abs(cell["mean"]), abs(cell["deviation"])) <= LEVELS and abs(cell["change"] - 1) <= CHANGE
    return {**cell, "passed": passed and BANDS[0] <= min(ratios) and max(ratios) <= BANDS[1]}


def bands(images: Shaped[np.ndarray, "n h w c"]) -> Float[np.ndarray, " rings"]:
    """Mean spectral power in four rings of equal width up to the Nyquist frequency, without the mean."""
    side = images.shape[1]
    power = np.zeros((side, side))
    for image in images:
        power += (np.abs(np.fft.fft2(image, axes=(0, 1))) ** 2).sum(-1)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij"))
    return np.array([power[(radius > i / 8) & (radius <= (i + 1) / 8)].sum() for i in range(4)])


def compare(name: str, severity: int, clean: Images, mine: Images) -> Cell:
    """One cell of the study."""
    theirs = plain(name, severity, clean, 0)
    if name not in corrupt.RANDOM_NAMES:
        return {"severity": severity, **pixel_by_pixel(mine, theirs)}
    # The reference against itself: what other draws alone make of the numbers.
    again = in_distribution(plain(name, severity, clean, 1), theirs, clean)
    del again["passed"]
    return {"severity": severity, **in_distribution(mine, theirs, clean), "reference_redrawn": again}


def summarize_pixels(results: Results) -> str:
    """Markdown table of the corruptions without randomness: the worst severity at each size."""
    head = [f"{what}, {side} px" for side in results for what in ("equal", "within one level", "mean error")]
    lines = [f"| corruption | {' | '.join(head)} | |", "|---" * (2 + len(head)) + "|"]
    for name in (n for n in names() if n not in corrupt.RANDOM_NAMES):
        row = []
        for cells in (results[side][name] for side in results):
            row += [f"{100 * min(c[key] for c in cells):.2f} %" for key in ("equal", "within_one")]
            row.append(f"{max(c['mean_error'] for c in cells):.3f}")
        lines.append(f"| {name} | {' | '.join(row)} | {_verdict(results, name)} |")
    return "\n".join(lines)


def summarize_draws(cells: dict[str, list[Cell]]) -> str:
    """Markdown table of the random corruptions at one size: the worst severity of each measure."""
    lines = [
        "| corruption | mean | deviation | change | bands of the change | bands of the image | |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in (n for n in names() if n in corrupt.RANDOM_NAMES):
        row = [f"{max((c[k] for c in cells[name]), key=abs):+.2f}" for k in ("mean", "deviation")]
        row.append(f"{max((c['change'] for c in cells[name]), key=lambda x: abs(x - 1)):.3f}")
        for kind in ("bands_of_change", "bands_of_image"):
            ratios = np.array([c[kind] for c in cells[name]])
            row.append(f"{ratios.min():.2f} to {ratios.max():.2f}")
        lines.append(f"| {name} | {' | '.join(row)} | {_verdict({'': cells}, name)} |")
    return "\n".join(lines)


def _verdict(results: Results, name: str) -> str:
    failed = [f"{side} s{c['severity']}".strip() for side in results for c in results[side][name] if not c["passed"]]
    return f"**fails** ({', '.join(failed)})" if failed else "passes"


def names() -> tuple[str, ...]:
    """All corruptions."""
    return (*corrupt.NAMES, *corrupt.EXTRA_NAMES)


def rounded(value: Any) -> Any:
    """The same with floats to 5 digits, for the record."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return round(value, 5) if isinstance(value, float) else value


def environment() -> dict[str, Any]:
    """What the numbers depend on."""
    device = jax.devices()[0]
    packages = ("jax", "jaxlib", "numpy", "scipy", "scikit-image", "opencv-python-headless", "pillow")
    return {
        "command": " ".join(["python", *sys.argv]),
        "device": f"{device.platform} ({device.device_kind}), {os.cpu_count()} cores, {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def study(
    archive: Path, side: int, count: int, only: Sequence[str]
) -> tuple[dict[str, list[Cell]], Images, dict[str, list[UInt8[np.ndarray, "h w 3"]]]]:
    """All cells at one size; one clean image, and what became of it."""
    clean = read(archive, PARTS[side][1], count)
    number = int(SHOWN[side] * count)
    cells: dict[str, list[Cell]] = {name: [] for name in only}
    pictures: dict[str, list[UInt8[np.ndarray, "h w 3"]]] = {name: [] for name in only}
    for name in only:
        for severity in corrupt.SEVERITIES:
            mine = ours(name, severity, clean)
            cells[name].append(compare(name, severity, clean, mine))
            pictures[name].append(mine[number])
        print(f"{side} {name}: {_verdict({'': cells}, name)}", file=sys.stderr, flush=True)
    return cells, clean[number], pictures


def main() -> None:
    """Reads the arguments, compares, prints the tables and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cifar", type=Path, help="zip file with CIFAR-10 as images below cifar10/test/")
    parser.add_argument("--tiny", type=Path, help="tiny-imagenet-200.zip")
    parser.add_argument("--count", type=int, default=500, help="images of each set; a result takes at least 500")
    parser.add_argument("--only", nargs="*", default=names(), choices=names(), help="corruptions; all by default")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--sheets", type=Path, help="folder for corruptions_32.png and corruptions_64.png")
    options = parser.parse_args()
    archives = {side: path for side, path in ((32, options.cifar), (64, options.tiny)) if path}
    if not archives:
        parser.error("give --cifar, --tiny or both.")

    began = time.perf_counter()
    results: Results = {}
    for side, archive in archives.items():
        results[str(side)], image, pictures = study(archive, side, options.count, options.only)
        if options.sheets:
            options.sheets.mkdir(parents=True, exist_ok=True)
            file = encode(sheet(image, pictures), most=SHEET_BYTES)
            (options.sheets / f"corruptions_{side}.png").write_bytes(file)
    if set(options.only) == set(names()):
        print(summarize_pixels(results))
        for side in archives:
            print(f"\n{PARTS[side][0]}, {side} pixels\n\n{summarize_draws(results[str(side)])}")
    if options.out:
        record = {
            **environment(),
            "images": {side: f"{options.count} test images of {PARTS[side][0]}" for side in archives},
            "bounds": {
                "within_one": WITHIN_ONE, "mean_error": MEAN_ERROR, "levels": LEVELS, "change": CHANGE, "bands": BANDS
            },
            "seconds": round(time.perf_counter() - began),
            "results": results,
        }  # fmt: skip
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(rounded(record), indent=1) + "\n", encoding="utf-8")
    if not all(cell["passed"] for cells in results.values() for rows in cells.values() for cell in rows):
        raise SystemExit("Some bounds are missed.")


if __name__ == "__main__":
    main()
