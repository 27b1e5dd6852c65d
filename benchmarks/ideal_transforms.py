"""What is the best that a flow, or InstaAug's box, can learn of a frozen classifier in two dimensions? (fig 7; A.3.8)

    python -m mollax.main --config=configs/sprites_flow.py:90,small,none --config.optim.weight_decay=3.0 \
        --workdir=runs/sprites
    python -m mollax.main --config=configs/rotation_discovery.py:small,score --config.init_from=runs/sprites \
        --workdir=runs/discovery
    python benchmarks/ideal_transforms.py --classifier=runs/sprites --flow=runs/discovery \
        --figure=docs/figures/rotation_discovery.png --out=docs/results/ideal_transforms.json

The loss of eq 9 and 10, E_g[-log f] + weight E_g[log g], is least at g = f^(1 / weight) / Z. On a grid over both
entries of the exponent that is computed for each image without learning anything, and so is the box [a, b] x [c, d] of
InstaAug with the least loss, of all boxes of whole cells. Printed for each weight: distance from the nearest rotation,
spread of the angles, entropy. Both are limits that the classifier sets; a flow that does not reach them has itself to
blame. The figure shows an image's optimum, its best box and draws of the flow.
"""

from __future__ import annotations

import argparse
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from mollax.experiment import load_data
from mollax.finished_run import FinishedRun, open_run
from mollax.image import affine_warp, standardize
from mollax.invariance import affine_matrix, rotation_error, turn_angle

KIND = "decoupled_rotation"
WEIGHTS = (0.1, 0.02, 0.002, 0.0005, 0.0001)
SIDE = 2.0  # parameters are in (-1, 1)


@dataclass(frozen=True)
class Grid:
    """Centers of cells x cells cells over the parameters, row by row, and what their matrices do."""

    cells: int

    @functools.cached_property
    def params(self) -> Float[np.ndarray, "m 2"]:
        """The centers."""
        axis = SIDE * (np.arange(self.cells) + 0.5) / self.cells - SIDE / 2
        return np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2).astype(np.float32)

    @functools.cached_property
    def matrices(self) -> Float[np.ndarray, "m 2 3"]:
        """Of the centers."""
        return np.asarray(jax.vmap(functools.partial(affine_matrix, kind=KIND))(jnp.asarray(self.params)))

    @functools.cached_property
    def distance(self) -> Float[np.ndarray, " m"]:
        """From the nearest rotation, relative."""
        return np.asarray(jax.vmap(rotation_error)(self.matrices))

    @functools.cached_property
    def angle(self) -> Float[np.ndarray, " m"]:
        """Of the nearest rotation, radians."""
        return np.asarray(turn_angle(jnp.asarray(self.matrices)))

    def facts(self, density: Float[np.ndarray, " m"]) -> dict[str, float]:
        """Of probabilities of the cells."""
        cell = (SIDE / self.cells) ** 2
        length = np.abs(density @ np.exp(1j * self.angle))
        return {
            "distance": float(density @ self.distance),
            "angle_spread": float(np.rad2deg(np.sqrt(-2 * np.log(length)))),  # as invariance.angle_spread
            "entropy": float(-density @ np.log(np.maximum(density, 1e-300)) + np.log(cell)),
        }


def losses(run: FinishedRun, image: Any, label: Any, matrices: Any) -> jax.Array:
    """-log f(label; A_T image) of every matrix; the image is of 8 bits."""
    image = image / np.float32(255)

    def loss(matrix: jax.Array) -> jax.Array:
        warped = affine_warp(image, matrix, padding=run.config.invariance.padding)
        logits = run.model.apply(run.variables, standardize(warped, run.mean, run.std)[None], train=False)
        return -jax.nn.log_softmax(logits)[0, label]

    return jax.lax.map(loss, matrices, batch_size=512)


def spread_out(run: FinishedRun, count: int) -> list[tuple[Any, Any]]:
    """That many 8-bit test images with their labels, evenly spread over the set."""
    test = load_data(run.config).test
    chosen = np.linspace(0, len(test) - 1, count).astype(int)
    return list(zip(np.asarray(test.images[chosen]), test.labels[chosen], strict=True))


def optimum(loss: Float[np.ndarray, " m"], weight: float) -> Float[np.ndarray, " m"]:
    """f^(1 / weight) / Z."""
    density = np.exp((loss.min() - loss) / weight)
    return density / density.sum()


def best_box(loss: Float[np.ndarray, " m"], cells: int, weight: float) -> Float[np.ndarray, " m"]:
    """Uniform in the box of whole cells that has the least mean loss - weight * entropy."""
    sums = np.zeros((cells + 1, cells + 1))
    sums[1:, 1:] = loss.reshape(cells, cells).cumsum(0).cumsum(1)
    starts, ends = np.triu_indices(cells + 1, 1)
    best, found = np.inf, (0, 0, 0, 0)
    for low, high in zip(starts, ends, strict=True):
        rows = sums[high] - sums[low]
        area = (high - low) * (ends - starts)
        values = (rows[ends] - rows[starts]) / area - weight * np.log(area)
        k = int(values.argmin())
        if values[k] < best:
            best, found = float(values[k]), (low, high, starts[k], ends[k])
    inside = np.zeros((cells, cells))
    inside[found[0] : found[1], found[2] : found[3]] = 1
    return (inside / inside.sum()).ravel()


def mean_facts(grid: Grid, densities: list[np.ndarray]) -> dict[str, float]:
    """Means over images."""
    facts = [grid.facts(density) for density in densities]
    return {name: float(np.mean([each[name] for each in facts])) for name in facts[0]}


def draw(grid: Grid, panels: dict[str, np.ndarray], drawn: np.ndarray | None) -> Figure:
    """Densities over both entries, an image's draws of the flow; the rotations' diagonal dashed."""
    count = len(panels) + (drawn is not None)
    figure = Figure(figsize=(3.2 * count, 3.4), layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)[0]
    for axis, (title, density) in zip(axes, panels.items(), strict=False):
        picture = density.reshape(grid.cells, grid.cells).T
        axis.imshow(picture, origin="lower", extent=(-1, 1, -1, 1), cmap="Blues", vmax=np.quantile(picture, 0.995))
        axis.set_title(title, fontsize=10)
    if drawn is not None:
        axes[-1].scatter(*drawn.T, s=3, alpha=0.4, color="C0")
        axes[-1].set_title("draws of the flow", fontsize=10)
    for axis in axes:
        axis.plot([-1, 1], [1, -1], "--", color="gray", linewidth=0.8)
        axis.set(xlim=(-1, 1), ylim=(-1, 1), aspect="equal", xlabel="first entry / π")
    axes[0].set_ylabel("second entry / π")
    return figure


def main() -> None:
    """Losses, optima, boxes; a table, a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classifier", type=Path, required=True, help="folder of a run without an augmenter")
    parser.add_argument("--flow", type=Path, help="folder of a run of configs/rotation_discovery.py")
    parser.add_argument("--images", type=int, default=24, help="test images, evenly spread")
    parser.add_argument("--cells", type=int, default=81, help="of the grid, along each side")
    parser.add_argument("--figure", type=Path, help="PNG to write")
    parser.add_argument("--shown", type=float, default=0.002, help="weight of the figure")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    run = open_run(options.classifier)
    examples = spread_out(run, options.images)
    grid = Grid(options.cells)
    measured = jax.jit(functools.partial(losses, run))
    found = [np.asarray(measured(image, label, jnp.asarray(grid.matrices)), np.float64) for image, label in examples]
    even = np.full(grid.cells**2, grid.cells**-2.0)
    table: dict[str, Any] = {"command": " ".join(["benchmarks/ideal_transforms.py", f"--images={options.images}"])}
    table["even"] = grid.facts(even)
    print("| weight | distribution | distance | spread | entropy |", "|---|---|---|---|---|", sep="\n")
    print(f"| - | even draws | {table['even']['distance']:.3f} | {table['even']['angle_spread']:.1f} | 1.39 |")
    for weight in WEIGHTS:
        kinds = {
            "optimum": [optimum(loss, weight) for loss in found],
            "best box": [best_box(loss, grid.cells, weight) for loss in found],
        }
        for name, densities in kinds.items():
            facts = mean_facts(grid, densities)
            table[f"{name}, weight {weight:g}"] = facts
            numbers = f"{facts['distance']:.3f} | {facts['angle_spread']:.1f} | {facts['entropy']:.2f}"
            print(f"| {weight:g} | {name} | {numbers} |", flush=True)
    if options.figure:
        panels = {
            f"optimum, weight {options.shown:g}": optimum(found[0], options.shown),
            "best box": best_box(found[0], grid.cells, options.shown),
        }
        drawn = np.asarray(open_run(options.flow).draw(examples[0][0][None], n=500).params[0]) if options.flow else None
        draw(grid, panels, drawn).savefig(options.figure, dpi=110)
    if options.out:
        options.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
