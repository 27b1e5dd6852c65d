"""Which rotations of the sprites flow and rivals learn, against those that keep the class (fig 4 of Singhal et al.).

    python benchmarks/sprite_ranges.py --workdir=runs/sprites --out=docs/results/sprite_ranges.json \\
        --figure=docs/figures/sprite_ranges.png

For each set and seed a classifier is trained alone (`configs/sprites_flow.py:SET,small,none`) and kept as it is for the
flow (`SET,small,frozen`, with `score` for three modes), for its rivals and for the flow at other weights: all learn
against the same f, the flow with weight .5 (A.3.7) everywhere. "joint" trains both at once (`SET,small`, weight .1). A
run that is there is not made again, and with --only the others' results stay.

Then test images of known angle a are turned by 500 draws each. What counts is the angle from the pose of the class,
a + draw. For +-45 and +-90: its 1 to 99 % range, "low" and "high" being means over images of the ends of each image's
own draws (those of all images together lie further out: see "histogram"; the ideal for +-90 is [-90, 90], +-45 leave
the boundary between the classes free), how much of its mass is beyond +-90, and the slope of the middle of the draws'
range against a, -1 for a distribution that moves with the input and 0 for one that does not. For three modes: the mass
in each of the class's arcs and outside of them.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from mollax import keys
from mollax.data import ReadOptions
from mollax.data.sprites import ARCS, read_sprites, sprite_angles
from mollax.finished_run import FinishedRun, open_run
from mollax.image import standardize
from mollax.invariance import turn_angle

SETS = ("45", "90", "three_modes")
DRAWS = 500
WEIGHTS = (0.02, 0.1, 2.0)  # beside the config's own
RIVALS = ("augerino", "instaaug", "gaussian")


def planned(workdir: Path, seeds: int, rivals: int) -> dict[str, tuple[str, list[str]]]:
    """Name of each run to its config's words and its further flags."""
    runs: dict[str, tuple[str, list[str]]] = {}
    for seed in range(seeds):
        for angles in SETS:
            own = [f"--config.seed={seed}"]
            runs[f"{angles}-none-{seed}"] = f"{angles},small,none", own
            kept = [*own, f"--config.init_from={workdir}/{angles}-none-{seed}"]
            words, score = f"{angles},small,frozen", ",score" * (angles == "three_modes")
            runs[f"{angles}-flow-{seed}"] = words + score, kept
            if seed < rivals:
                runs.update({f"{angles}-{rival}-{seed}": (f"{words},{rival}", kept) for rival in RIVALS})
                runs[f"{angles}-joint-{seed}"] = f"{angles},small{score}", own
            if seed < rivals and score:
                runs[f"{angles}-straight_through-{seed}"] = words, kept
            if seed == 0 and angles == "90":
                for weight in WEIGHTS:
                    runs[f"90-flow_{weight}-0"] = words, [*kept, f"--config.invariance.weight={weight}"]
    return runs


def train(name: str, words: str, more: list[str], workdir: Path) -> None:
    """Runs the program, unless it has run."""
    folder = workdir / name
    if (folder / "results.json").exists():
        return
    print(f"{name}: configs/sprites_flow.py:{words}", flush=True)
    command = [sys.executable, "-m", "mollax.main", f"--config=configs/sprites_flow.py:{words}", f"--workdir={folder}"]
    subprocess.run([*command, "--config.eval.transforms.aligned=0", *more], check=True, stdout=subprocess.DEVNULL)


def draw(run: FinishedRun, images: Float[np.ndarray, "b h w c"]) -> Float[np.ndarray, "b n"]:
    """By which angles, in degrees counter-clockwise, the draws turn each image."""

    @jax.jit
    def matrices(part: Float[jax.Array, "b h w c"], first: int) -> Float[jax.Array, "b n 2 3"]:
        own = keys.example_keys(jax.random.key(0), first, len(part))
        plain = standardize(part, run.mean, run.std)
        return run.model.apply(run.variables, own, plain, n=DRAWS, method="draw").matrices

    parts = [matrices(jnp.asarray(images[i : i + 100]), i) for i in range(0, len(images), 100)]
    return np.rad2deg(turn_angle(np.concatenate(parts)))


def from_pose(
    angles: Float[np.ndarray, " b"], labels: Int[np.ndarray, " b"], drawn: Float[np.ndarray, "b n"], name: str
) -> Float[np.ndarray, "b n"]:
    """Angle of the turned image from the (first) pose of its class, in degrees within +-180."""
    poses, _ = ARCS[name]
    centre = np.array([arcs[0] for _, arcs in poses])[labels % 2]
    return (np.rad2deg(angles) - centre)[:, None] + drawn


def wrapped(angles: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Within +-180 degrees."""
    return (angles + 180) % 360 - 180


def measure(run: FinishedRun, name: str) -> dict[str, Any]:
    """What the module describes, as means over test images."""
    seed = run.config.data.split_seed
    images = (
        read_sprites("", ReadOptions(seed=seed), angles=name, per_class=1, test_per_class=100).splits["test"].images[:]
    )
    angles, labels = sprite_angles("test", angles=name, per_class=100, seed=seed)
    drawn = draw(run, images.astype(np.float32) / 255)
    total = from_pose(angles, labels, drawn, name)
    found: dict[str, Any] = {
        "error": run.results["evaluations"]["clean"]["error"],
        "entropy": run.results["invariance"]["entropy"],
        "weight": run.config.invariance.weight,
        "wall_seconds": round(run.results["run"]["wall_seconds"]),
    }
    if name == "three_modes":
        arc = np.rint(wrapped(total) / 120).astype(int) % 3
        inside = np.abs(wrapped(total - 120 * arc)) <= 30
        masses = np.stack([(inside & (arc == k)).mean(1) for k in range(3)], 1)
        found["arcs"] = masses.mean(0).tolist()
        found["least_arc"] = float(masses.min(1).mean())
        found["outside"] = float(1 - inside.mean())
        found["outside_by_class"] = [float(1 - inside[labels % 2 == k].mean()) for k in (0, 1)]
        found["histogram"] = _histogram(wrapped(total))
        return found
    own = wrapped(np.rad2deg(angles) - 180.0 * (labels % 2))
    mean = own + np.rad2deg(np.angle(np.exp(1j * np.deg2rad(drawn)).mean(1)))
    # Percentiles around the mean: beyond half a turn from it an angle has no sign.
    spread = wrapped(total - mean[:, None])
    low, high = np.percentile(spread, [1, 99], axis=1)
    middle = wrapped(mean)
    found["low"], found["high"] = float((middle + low).mean()), float((middle + high).mean())
    found["worst_low"], found["worst_high"] = _extremes(middle + low), _extremes(middle + high)
    found["range"] = float((high - low).mean())
    found["beyond_90"] = float((np.abs(wrapped(total)) > 90).mean())
    # Robust: at the border some images are taken for the other class, half a turn off.
    found["slope"] = float(scipy.stats.theilslopes(wrapped(middle + (low + high) / 2 - own), own)[0])
    found["histogram"] = _histogram(wrapped(total))
    return found


def _extremes(values: Float[np.ndarray, " b"]) -> list[float]:
    """5 and 95 % over images."""
    return np.percentile(values, [5, 95]).tolist()


def _histogram(angles: Float[np.ndarray, "*n"]) -> list[float]:
    """Density per degree in 72 cells over the circle."""
    counts, _ = np.histogram(angles, bins=72, range=(-180, 180))
    return (counts / counts.sum() / 5).round(6).tolist()


def figure(records: dict[str, dict[str, Any]]) -> Figure:
    """Histograms of a + draw for each set and method, and range against weight."""
    methods = ("flow", *RIVALS)
    made = Figure((11, 6.2), layout="constrained")
    grid = made.subplots(2, 2).ravel()
    edges = np.linspace(-180, 180, 73)
    for axes, name in zip(grid, SETS, strict=False):
        arcs, half = ([0], 90) if name != "three_modes" else ([0, 120, 240], 30)
        for centre in arcs:
            left = wrapped(np.float64(centre - half))
            axes.axvspan(left, left + 2 * half, color="0.93", label="keeps the class" if centre == 0 else None)
        for method in methods:
            rows = [r["histogram"] for key, r in records.items() if key.rsplit("-", 1)[0] == f"{name}-{method}"]
            if rows:
                axes.stairs(
                    np.mean(rows, 0), edges, label=f"{method} ({len(rows)} seed{'s' * (len(rows) > 1)})", linewidth=1.6
                )
        axes.set(title=name.replace("_", " ").replace("45", "±45°").replace("90", "±90°"), xlim=(-180, 180))
        axes.set(xlabel="angle from the pose of the class after a draw, degrees", ylabel="density per degree")
        axes.set_ylim(0, 1.35 * axes.get_ylim()[1])
        axes.legend(fontsize=8, frameon=False, ncol=3, loc="upper center")
    last = grid[3]
    of_weights = [r for key, r in records.items() if key.startswith("90-flow") and key.endswith("-0")]
    curve = sorted((r["weight"], r["low"], r["high"]) for r in of_weights)
    weight, low, high = np.array(curve).T
    last.fill_between(weight, low, high, alpha=0.3)
    last.plot(weight, low, "o-", color="C0")
    last.plot(weight, high, "o-", color="C0")
    for side in (-90, 90):
        last.axhline(side, color="0.6", linestyle="--", linewidth=1)
    last.set(xscale="log", title="±90°, one seed", xlabel="weight of the entropy", ylabel="1 to 99 %, degrees")
    for axes in grid:
        axes.spines[["top", "right"]].set_visible(False)
    return made


def main() -> None:
    """Reads the arguments, trains what is missing, measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, default=3, help="of the flow")
    parser.add_argument("--rival-seeds", type=int, default=1, help="of the rivals, and of joint training")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--figure", type=Path, required=True, help="PNG file to write")
    parser.add_argument("--measure-only", action="store_true", help="train nothing; measure what is there")
    parser.add_argument("--only", default="", help="regular expression of runs; what --out has of others stays")
    options = parser.parse_args()
    records = json.loads(options.out.read_text()) if options.only and options.out.exists() else {}
    runs = planned(options.workdir, options.seeds, options.rival_seeds)
    chosen = {name for name in runs if re.search(options.only, name)}
    chosen |= {f"{name.split('-')[0]}-none-{name[-1]}" for name in chosen}  # the classifiers that they start from
    for name, (words, more) in runs.items():
        folder = options.workdir / name
        if name not in chosen:
            continue
        if not options.measure_only:
            train(name, words, more, options.workdir)
        if "-none-" not in name and (folder / "results.json").exists():
            records[name] = {
                "config": f"configs/sprites_flow.py:{words}",
                **measure(open_run(folder), name.split("-")[0]),
            }
            short = {key: value for key, value in records[name].items() if key not in ("histogram", "config")}
            print(name, json.dumps(short), flush=True)
    records = {name: records[name] for name in runs if name in records}
    lines = [f"{json.dumps(name)}: {json.dumps(record)}" for name, record in records.items()]
    options.out.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    figure(records).savefig(options.figure, dpi=110)


if __name__ == "__main__":
    main()
