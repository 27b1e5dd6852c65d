"""Augmentations as kernels: by how many nats a bank that is augmented explains held-out and new images better.

For `benchmarks/drift_table.py`, which has the command.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32

from mollax import drift
from mollax.image import affine_warp, compose, flip_horizontal, rotation, scaling, translation
from mollax.mollify import blur

DRAWS = 16  # of a random augmentation, for each image of the bank
NOISE = 0.1  # in units of pixels in [0, 1]
Draw = Callable[[Array, Array], Array]
Images = Float32[np.ndarray, "n h w c"]


def flat(images: Images) -> Float32[np.ndarray, "n d"]:
    """Points."""
    return images.reshape(len(images), -1)


def turns(degrees: float, shape: tuple[int, ...]) -> Draw:
    """Random turns of flattened images, up to an angle to either side."""

    def draw(key: Array, points: Array) -> Array:
        angle = math.radians(degrees) * jax.random.uniform(key, (), minval=-1.0, maxval=1.0)
        return affine_warp(points.reshape(shape), rotation(angle)).reshape(points.shape)

    return draw


def augmentations(shape: tuple[int, ...]) -> dict[str, Draw]:
    """Random augmentations of flattened images by name."""

    def shift(key: Array) -> Array:
        x, y = 2 * jax.random.randint(key, (2,), -2, 3) / (shape[1] - 1)
        return translation(x, y)

    def zoom(key: Array) -> Array:
        return scaling(1 / jax.random.uniform(key, (), minval=0.9, maxval=1.1))

    def turn(key: Array) -> Array:
        return rotation(math.radians(15) * jax.random.uniform(key, (), minval=-1.0, maxval=1.0))

    def all_three(key: Array) -> Array:
        first, second, third = jax.random.split(key, 3)
        return compose(compose(turn(first), zoom(second)), shift(third))

    def mirror(key: Array) -> Array:
        return jnp.where(jax.random.bernoulli(key), flip_horizontal(), scaling(1.0))

    def blurred(key: Array, points: Array) -> Array:
        return blur(points.reshape(shape), jax.random.uniform(key)).reshape(points.shape)

    def warped(matrix: Callable[[Array], Array]) -> Draw:
        return lambda key, points: affine_warp(points.reshape(shape), matrix(key)).reshape(points.shape)

    return {
        "turns up to 15 degrees": warped(turn),
        "shifts up to 2 whole pixels": warped(shift),
        "zoom by .9 to 1.1": warped(zoom),
        "turn, zoom and shift": warped(all_three),
        "mirrored half of the time": warped(mirror),
        "blur up to 1 px": blurred,
    }


def transforms(bank: Images, held: Images, new: Images) -> dict[str, Any]:
    """Cross-entropy of held-out and of new images, in nats, for every augmentation of one bank with one floor.

    Random augmentations are `DRAWS` fixed draws an image. Noise on top of the floor is exact, a wider Gaussian, and the
    mollifier (all three roles, t ~ Beta(1, 2)) a sum over nodes that are enough for a few hundred of these images.
    """
    shape, points = bank.shape[1:], flat(bank)
    sides = {"held": flat(held), "new": flat(new)}
    sigma = float(drift.choose_theta(drift.Gaussian, points).theta)
    kernels: dict[str, Any] = {"none": drift.Gaussian(sigma)}
    for name, draw in augmentations(shape).items():
        kernels[name] = drift.Augmented(draw, jax.random.key(0), sigma, draws=DRAWS)
    kernels[f"noise of {NOISE}"] = drift.Gaussian(math.hypot(sigma, NOISE))
    rows = {name: against(points, sides, kernel) for name, kernel in kernels.items()}
    # The mollifier sees standardized images; a density of pixels is larger by 1 / deviation for each of them.
    mean, deviation = points.mean(), points.std()
    points, sides = (points - mean) / deviation, {name: (side - mean) / deviation for name, side in sides.items()}
    mollifier = drift.AveragedMollifier(shape, sigma / float(deviation))
    few = np.concatenate([side[:100] for side in sides.values()])
    mollifier = drift.fit_nodes(few, points, mollifier)
    constant = points.shape[1] * math.log(deviation)
    rows["mollifier"] = against(points, sides, mollifier, constant=constant)
    nodes = {"noise_nodes": mollifier.noise_nodes, "blur_nodes": mollifier.blur_nodes}
    return {
        "bank": len(bank),
        "held": len(held),
        "new": len(new),
        "sigma": sigma,
        "draws": DRAWS,
        **nodes,
        "rows": rows,
    }


def against(bank: np.ndarray, sides: dict[str, np.ndarray], kernel: drift.Kernel, *, constant: float = 0.0) -> dict:
    """Cross-entropies of both sides, `constant` nats added, and the excess of one over the other."""
    # Both at once: augmentations are drawn anew in every pass over the bank.
    both = np.concatenate([sides["held"], sides["new"]])
    logs = np.asarray(drift.log_density(both, bank, kernel), np.float64)
    held, new = np.split(logs, [len(sides["held"])])
    found = drift.excess(held, new)
    numbers = {key: getattr(found, key) for key in ("value", "low", "high", "p_value")}
    print(
        f"{type(kernel).__name__}: {found.held + constant:.1f}, {found.new + constant:.1f}, p {found.p_value:.3f}",
        flush=True,
    )
    return {"held_cross_entropy": found.held + constant, "new_cross_entropy": found.new + constant, "excess": numbers}
