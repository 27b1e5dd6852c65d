"""What `ideal_transforms.py` asks, in more dimensions than a grid allows: the best that a flow can learn (fig 7).

    python -m mollax.main --config=configs/sprites_flow.py:90,small,none --config.optim.weight_decay=30.0 \
        --workdir=runs/sprites
    python benchmarks/ideal_particles.py --classifier=runs/sprites --out=docs/results/ideal_particles.json

For each image particles start evenly in the box and follow f^(1 / weight) / Z while the weight falls (sequential Monte
Carlo, Del Moral et al. 2006): they are weighted and drawn anew whenever half of them would be left, then moved by
differences of two others (differential evolution, ter Braak 2006) and accepted as Metropolis does. The entropy is
log Z + E[-log f] / weight. `--kind=decoupled_rotation` repeats what the grid of `ideal_transforms.py` gives.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from ideal_transforms import losses, spread_out
from jaxtyping import Float

from mollax.finished_run import open_run
from mollax.invariance import affine_matrix, dimension, rotation_error, turn_angle

WEIGHTS = (0.1, 0.02, 0.002, 0.0005)
MOVES = 12  # of every particle, each time after they are drawn anew
LEAST = 0.5  # share of the particles that a step of the weight has to leave
SCALES = (1.0, 0.3, 0.1)  # of a move, beside the best for a Gaussian; 1 leads from one mode to another
JITTER = 0.003

Particles = Float[np.ndarray, "n d"]
Loss = Callable[[Particles], Float[np.ndarray, " n"]]


def reweighted(loss: Float[np.ndarray, " n"], more: float) -> tuple[Float[np.ndarray, " n"], float]:
    """Weights exp(-more * loss) that sum to 1, and the logarithm of their mean before that."""
    weights = np.exp(-more * (loss - loss.min()))
    return weights / weights.sum(), float(np.log(weights.mean()) - more * loss.min())


def left(loss: Float[np.ndarray, " n"], more: float) -> float:
    """Effective number of the particles after a step, as a share."""
    weights, _ = reweighted(loss, more)
    return float(1 / (weights**2).sum() / len(loss))


def step_to(loss: Float[np.ndarray, " n"], most: float) -> float:
    """The largest step of 1 / weight, up to `most`, that leaves enough particles."""
    if left(loss, most) >= LEAST:
        return most
    low, high = 0.0, most
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if left(loss, middle) >= LEAST else (low, middle)
    return low


def moved(
    loss_of: Loss, x: Particles, loss: Float[np.ndarray, " n"], power: float, rng: np.random.Generator
) -> tuple[Particles, Float[np.ndarray, " n"]]:
    """One Metropolis move of each, along the difference of two others; out of the box is never accepted."""
    n, d = x.shape
    scale = rng.choice([2.38 / np.sqrt(2 * d), *SCALES], size=(n, 1)) * rng.uniform(0.75, 1.25, (n, 1))
    proposed = x + scale * (x[rng.permutation(n)] - x[rng.permutation(n)]) + JITTER * rng.normal(size=x.shape)
    inside = (np.abs(proposed) < 1).all(1)
    proposed_loss = np.where(inside, loss_of(np.where(inside[:, None], proposed, x)), np.inf)
    accepted = np.log(rng.random(n)) < power * (loss - proposed_loss)
    return np.where(accepted[:, None], proposed, x), np.where(accepted, proposed_loss, loss)


def tempered(loss_of: Loss, d: int, n: int, rng: np.random.Generator) -> Iterator[tuple[Particles, float]]:
    """Particles and entropy at each of the weights."""
    x = rng.uniform(-1, 1, (n, d))
    loss, power, log_z = loss_of(x), 0.0, d * np.log(2.0)
    for weight in WEIGHTS:
        while power < 1 / weight:
            step = step_to(loss, 1 / weight - power)
            weights, gained = reweighted(loss, step)
            power, log_z = power + step, log_z + gained
            drawn = np.searchsorted(np.cumsum(weights), (rng.random() + np.arange(n)) / n).clip(0, n - 1)
            x, loss = x[drawn], loss[drawn]
            for _ in range(MOVES):
                x, loss = moved(loss_of, x, loss, power, rng)
        yield x, float(log_z + power * loss.mean())


def facts(matrices: Any, entropy: float) -> dict[str, float]:
    """Means over particles, as of `ideal_transforms.Grid.facts`."""
    return {
        "distance": float(jax.vmap(rotation_error)(matrices).mean()),
        "angle_spread": float(np.rad2deg(scipy.stats.circstd(turn_angle(matrices)))),
        "entropy": entropy,
    }


def main() -> None:
    """Particles for each image; a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classifier", type=Path, required=True, help="folder of a run without an augmenter")
    parser.add_argument("--kind", default="decoupled", help="of transform")
    parser.add_argument("--images", type=int, default=12, help="test images, evenly spread")
    parser.add_argument("--particles", type=int, default=2048, help="of each image")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    run = open_run(options.classifier)
    matrices = jax.jit(jax.vmap(functools.partial(affine_matrix, kind=options.kind)))
    measured = jax.jit(functools.partial(losses, run))
    rng = np.random.default_rng(0)
    found: dict[float, list[dict[str, float]]] = {weight: [] for weight in WEIGHTS}

    def loss_of(image: Any, label: Any, x: Particles) -> Float[np.ndarray, " n"]:
        return np.asarray(measured(image, label, matrices(jnp.asarray(x, jnp.float32))), np.float64)

    for image, label in spread_out(run, options.images):
        of_image = functools.partial(loss_of, image, label)
        steps = tempered(of_image, dimension(options.kind), options.particles, rng)
        for weight, (x, entropy) in zip(WEIGHTS, steps, strict=True):
            found[weight].append(facts(matrices(jnp.asarray(x, jnp.float32)), entropy))
    command = f"benchmarks/ideal_particles.py --kind={options.kind} --images={options.images}"
    table: dict[str, Any] = {"command": f"{command} --particles={options.particles}"}
    print("| weight | distance | spread | entropy |", "|---|---|---|---|", sep="\n")
    for weight, each in found.items():
        mean = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
        table[f"optimum, weight {weight:g}"] = mean
        print(f"| {weight:g} | {mean['distance']:.3f} | {mean['angle_spread']:.1f} | {mean['entropy']:.2f} |")
    if options.out:
        options.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
