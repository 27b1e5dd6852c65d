"""Digits aligned by a flow that has only seen sprites (fig 10 and 12 of Singhal et al.; A.3.9).

    python -m mollax.main --config=configs/sprites_flow.py:45,small,none --workdir=runs/45
    python -m mollax.main --config=configs/sprites_flow.py:45,small,frozen --workdir=runs/45_flow \
        --config.init_from=runs/45
    python benchmarks/alignment.py --workdir=runs/45_flow --path=MNIST --figure=docs/figures/alignment.png \
        --out=docs/results/alignment.json

Test digits are turned by known random angles, up to 45 and up to 180 degrees, and moved by mean shift: 20 steps of .1,
100 draws each. After it an image lies at (turn before + turn by the alignment); how these angles spread within a class,
against the turns alone, says whether it was aligned. In a class whose images have no common pose they cannot come to 0.
The share of the images' energy that class means miss says the same in pixels. Figure: class means at both ranges, one
digit in eight poses (what mean shift makes of each), and single digits at up to 180 degrees laid over each other.
"""

from __future__ import annotations

import argparse
import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from mollax import data
from mollax.finished_run import FinishedRun, open_run
from mollax.image import affine_warp, rotation
from mollax.invariance import align_batch, angle_spread, class_spread, turn_angle

DIGITS = 10
BATCH = 50
RANGES = (45, 180)
POSES = np.linspace(-90, 90, 8)
SINGLE = (4, 6, 7)


def turned(images: Float[np.ndarray, "n h w c"], degrees: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n h w c"]:
    """Images turned counter-clockwise, black outside."""
    warp = jax.jit(jax.vmap(lambda image, angle: affine_warp(image, rotation(angle))))
    return np.asarray(warp(jnp.asarray(images), jnp.deg2rad(jnp.asarray(degrees, jnp.float32))))


def aligned(run: FinishedRun, images: Float[np.ndarray, "n h w c"]) -> tuple[np.ndarray, np.ndarray]:
    """Images after mean shift and by which angles, in degrees, it turned them."""
    options = {"model": run.model, "mean": run.mean, "std": run.std, "n": 100, "steps": 20, "step_size": 0.1}
    shift = jax.jit(functools.partial(align_batch, **options))
    keys = jax.random.split(jax.random.key(0), len(images))
    parts = []
    for start in range(0, len(images), BATCH):
        here = slice(start, start + BATCH)
        found = shift(keys[here], jnp.asarray(images[here]), variables=run.variables)
        parts.append((np.asarray(found.image), np.rad2deg(turn_angle(found.matrix))))
    moved, angles = zip(*parts, strict=True)
    return np.concatenate(moved), np.concatenate(angles)


def measure(before: np.ndarray, after: np.ndarray, turns: np.ndarray, moves: np.ndarray, labels: np.ndarray) -> Any:
    """Spreads within each class before and after."""
    energy = functools.partial(class_spread, labels=labels, classes=DIGITS, relative=True)
    angles = {"before": turns, "after": turns + moves}
    return {
        "energy_missed": {"before": energy(before).tolist(), "after": energy(after).tolist()},
        "angle_spread_degrees": {
            when: [float(np.rad2deg(angle_spread(np.deg2rad(found[labels == k])))) for k in range(DIGITS)]
            for when, found in angles.items()
        },
    }


def draw(rows: list[tuple[str, list[np.ndarray]]]) -> Figure:
    """Rows of pictures with their names."""
    columns = max(len(pictures) for _, pictures in rows)
    figure = Figure(figsize=(columns, 1.02 * len(rows)), layout="constrained")
    for i, (name, pictures) in enumerate(rows):
        for j, picture in enumerate(pictures):
            axes = figure.add_subplot(len(rows), columns, i * columns + j + 1)
            axes.imshow(np.clip(picture, 0, 1))
            axes.set(xticks=[], yticks=[])
            if j == 0:
                axes.set_ylabel(name, fontsize=8, rotation=0, ha="right", va="center")
    return figure


def main() -> None:
    """Turns, aligns, measures, draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True, help="run of a flow on sprites")
    parser.add_argument("--path", required=True, help="folder of MNIST's files")
    parser.add_argument("--images", type=int, default=500, help="test digits")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--figure", type=Path, required=True, help="PNG file to write")
    options = parser.parse_args()
    run = open_run(options.workdir)
    height, _, channels = run.results["data"]["image_shape"]
    digits = data.load("idx", path=options.path, image_size=height, channels=channels).test
    chosen = np.linspace(0, len(digits) - 1, options.images).astype(int)
    images, labels = digits.images[chosen].astype(np.float32) / 255, digits.labels[chosen]
    record: dict[str, Any] = {"run": run.results["run"]["command"], "images": len(images)}
    rows = []
    rng = np.random.default_rng(0)
    for most in RANGES:
        turns = rng.uniform(-most, most, len(images))
        before = turned(images, turns)
        after, moves = aligned(run, before)
        record[f"turned by up to {most}"] = measure(before, after, turns, moves, labels)
        for name, found in (("before", before), ("after", after)):
            rows.append((f"±{most}°, {name}", [found[labels == k].mean(0) for k in range(DIGITS)]))
    first = images[np.argmax(labels == SINGLE[0])]
    poses = turned(np.stack([first] * len(POSES)), POSES)
    rows += [("one digit", list(poses)), ("aligned", list(aligned(run, poses)[0]))]
    for digit in SINGLE:
        one = np.stack([images[np.argmax(labels == digit)]] * 60)
        before = turned(one, rng.uniform(-180, 180, len(one)))
        after, _ = aligned(run, before)
        rows.append((f"a {digit}, ±180°", [before.mean(0), after.mean(0), *after[:8]]))
    draw(rows).savefig(options.figure, dpi=110)
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for name, block in record.items():
        if isinstance(block, dict):
            for what, values in block.items():
                print(name, what, {when: np.round(v, 2).tolist() for when, v in values.items()})


if __name__ == "__main__":
    main()
