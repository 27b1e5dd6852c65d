"""All 19 corruptions against the NumPy packages, on real test images, one corruption after the other in one run.

    python benchmarks/corruption_speed.py --cifar cifar10_jpeg.zip --tiny-imagenet tiny-imagenet-200.zip \\
        --out docs/results/benchmark_corruptions.json

Ours corrupts batches of 128, compiled, one device a core, from 8-bit images to 8-bit images, as the program's
evaluation does. The peers take image by image, as they are made to, in this process: `corruption_reference.reference`,
which has the same constants, and, if it is installed, the package `imagecorruptions`, which has ImageNet's at every
size, so that its work differs somewhat. The ratio is to the faster of the two. The floors, for the 15 test corruptions
at severity 3, are those that this project set itself; the other four corruptions have none.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import math
from collections.abc import Callable
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np
import peers
import samples
from corruption_reference import reference

from mollax import corrupt

COLUMNS = ("mollax", "reference", "imagecorruptions")
SEVERITY = 3
GEOMETRIC_MEAN = {32: 8.0, 64: 5.0}
FLOORS = {32: 2.0, 64: 1.0}
# Where more is asked for than that, at 32 pixels.
HIGHER_FLOORS = {"shot_noise": 4.0, "glass_blur": 10.0, "motion_blur": 10.0, "zoom_blur": 10.0, "frost": 10.0}
PACKAGE_IS_THERE = importlib.util.find_spec("imagecorruptions") is not None
PEER_IMAGES = 8  # of a peer's call: the slowest take a tenth of a second an image


def ours(name: str, severity: int, images: np.ndarray) -> Callable[[], object]:
    """A batch corrupted by all devices, 8-bit to 8-bit."""

    def run(seed: jax.Array, device: jax.Array, images: jax.Array) -> jax.Array:
        unit = images.astype(jnp.float32) / 255
        first = device * len(images)
        corrupted = corrupt.corrupt_batch(jax.random.key(seed), unit, name, severity, first_index=first)
        return jnp.round(255 * corrupted).astype(jnp.uint8)

    return common.split_over_devices(run, images)


def one_by_one(corrupt_one: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> Callable[[], object]:
    """A peer; each call takes the next `PEER_IMAGES` images."""
    following = itertools.cycle(images)
    return lambda: [corrupt_one(next(following)) for _ in range(PEER_IMAGES)]


def compare(name: str, severity: int, images: np.ndarray, options: argparse.Namespace) -> dict[str, Any]:
    """Times one corruption and sets it against the faster peer."""
    rng = np.random.default_rng(0)
    calls = {
        "mollax": ours(name, severity, images),
        "reference": one_by_one(lambda image: reference(name, severity, image, rng), images),
    }
    if PACKAGE_IS_THERE:
        package = peers.imagecorruptions()
        calls["imagecorruptions"] = one_by_one(lambda image: package.corrupt(image, severity, name), images)
    counts = {column: len(images) if column == "mollax" else PEER_IMAGES for column in calls}
    seconds = common.measure(calls, options)
    # From here on for one image.
    seconds = {column: [value / counts[column] for value in rounds] for column, rounds in seconds.items()}
    peer = min([column for column in calls if column != "mollax"], key=lambda column: min(seconds[column]))
    side = images.shape[1]
    floor = None
    if name in corrupt.NAMES and severity == SEVERITY:
        floor = HIGHER_FLOORS.get(name, FLOORS[side]) if side == 32 else FLOORS[side]
    speed = {column: round(1 / min(rounds)) for column, rounds in seconds.items()}
    result = common.compare(f"{name} {side}", seconds, ours="mollax", peer=peer, floor=floor)
    return result | {"corruption": name, "severity": severity, "side": side, "images_per_second": speed}


def summarize(results: list[dict[str, Any]], side: int, severity: int) -> dict[str, Any]:
    """Geometric mean and minimum of the ratios over the 15 test corruptions, and whether floors are reached."""
    ratios = {result["corruption"]: result["ratio"] for result in results if result["corruption"] in corrupt.NAMES}
    mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
    least = min(ratios, key=lambda name: ratios[name])
    summary = {
        "what": f"15 corruptions, {side}x{side}, severity {severity}",
        "geometric_mean": round(mean, 2),
        "least": round(ratios[least], 2),
        "least_of": least,
    }
    if severity == SEVERITY:
        missed = [result["corruption"] for result in results if result["floor"] and result["ratio"] < result["floor"]]
        summary |= {"floor_of_mean": GEOMETRIC_MEAN[side], "reached": mean >= GEOMETRIC_MEAN[side], "missed": missed}
    print(summary, flush=True)
    return summary


def speed_table(results: list[dict[str, Any]], summary: dict[str, Any]) -> str:
    """Images a second and ratios as a table; ratios below their floor are bold."""
    rows = []
    for result in results:
        speed, floor = result["images_per_second"], result["floor"]
        ratio = f"{result['ratio']:.1f}"
        rows.append(
            [result["corruption"]]
            + [f"{speed[column]:,}" if column in speed else "-" for column in COLUMNS]
            + [f"**{ratio}**" if floor and result["ratio"] < floor else ratio, f"{floor:g}" if floor else "-"]
        )
    mean, goal = f"{summary['geometric_mean']:.1f}", summary.get("floor_of_mean")
    mean = f"**{mean}**" if goal and not summary["reached"] else mean
    rows.append(["geometric mean of the 15", "", "", "", mean, f"{goal:g}" if goal else "-"])
    side, severity = results[0]["side"], results[0]["severity"]
    heads = [f"images/s, {side}x{side}, severity {severity}", *COLUMNS, "ratio", "floor"]
    return common.table(heads, rows)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Images, and which corruptions."""
    samples.add_arguments(parser)
    everything = (*corrupt.NAMES, *corrupt.EXTRA_NAMES)
    parser.add_argument("--only", nargs="+", choices=everything, default=everything, metavar="NAME", help="these only")
    parser.add_argument("--all-severities", action="store_true", help=f"1 to 5 instead of {SEVERITY}")


def main() -> None:
    """Every side that there are images of."""
    options = common.arguments(__doc__, more=add_arguments)
    zips = samples.paths(options)
    packages = ["pillow", "scikit-image", "opencv-python-headless", *["imagecorruptions"] * PACKAGE_IS_THERE]
    record = common.start(options, peer=False, packages=packages)
    record["tables"] = []
    for side, path in zips.items():
        images = samples.read(path, side, 8 if options.tiny else common.BATCH)
        for severity in corrupt.SEVERITIES if options.all_severities else (SEVERITY,):
            results = [compare(name, severity, images, options) for name in options.only]
            record["results"] += results
            if set(corrupt.NAMES) <= set(options.only):
                summary = summarize(results, side, severity)
                record["results"].append(summary)
                record["tables"].append(speed_table(results, summary))
    print("", *record["tables"], sep="\n\n")
    common.finish(record, options)


if __name__ == "__main__":
    main()
