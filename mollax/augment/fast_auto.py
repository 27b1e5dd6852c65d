"""Fast AutoAugment (Lim et al. 2019): pairs of operations from a search by density matching, hundreds for each policy.

The pairs, probabilities and levels in `fast_auto_policies.json` are those that the authors published; the file names
their source.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mollax import checks
from mollax.augment import chain, operations
from mollax.augment.warps import GEOMETRIC

# Each published policy by the data that it was searched on.
POLICIES = ("cifar10", "imagenet", "svhn")
# (operation, probability, level in [0, 1]).
Step = tuple[str, float, float]


class Pairs(NamedTuple):
    """A policy for images of one size; one row a pair.

    Attributes:
      indices: into `NAMES`.
      probabilities: of each of the two.
      magnitudes: in the operations' units, before a sign is drawn.
    """

    indices: Int[np.ndarray, "pairs 2"]
    probabilities: Float[np.ndarray, "pairs 2"]
    magnitudes: Float[np.ndarray, "pairs 2"]


def fast_auto_augment(
    key: PRNGKeyArray, image: Float[Array, "h w c"], *, policy: str = "cifar10", interpolation: str = "nearest"
) -> Float[Array, "h w c"]:
    """Applies one of about 490 pairs of operations, drawn alike, each of the two with its own probability.

    Level 0 to 1 stands for: shears from -0.3 to 0.3, translations from -0.45 to 0.45 of the side, rotations from -30
    to 30 degrees, 4 to 8 bits, thresholds from 0 to 256 / 255, factors from 0.1 to 1.9, squares (see `cutout`) of up to
    0.2 of the width. A pair has one level for each operation; only the sign of the geometric ones and the
    place of the square are drawn. `interpolation` is that of the geometric operations, "nearest" (the authors') or
    "bilinear"; what comes in is black.

    `policy` is "cifar10" (493 pairs, found on reduced CIFAR-10 with a Wide ResNet 40-2), "imagenet" (498, reduced
    ImageNet, ResNet-50) or "svhn" (497, reduced SVHN).

    Raises: ValueError for another policy, an unknown interpolation or a wrong shape; TypeError for an integer image.
    """
    operations.require_image(image)
    checks.one_of("policy", policy, POLICIES)
    indices, magnitudes, centers = draw(key, tabulate(policy, *image.shape[:2]))
    return chain.apply(image, indices, magnitudes, centers=centers, names=NAMES, interpolation=interpolation)


def ranges(height: int, width: int) -> chain.Ranges:
    """Magnitudes at levels 0 and 1: slopes, pixels, degrees, bits, thresholds, factors less 1."""
    return {
        "shear_x": (-0.3, 0.3),
        "shear_y": (-0.3, 0.3),
        "translate_x": (-0.45 * width, 0.45 * width),
        "translate_y": (-0.45 * height, 0.45 * height),
        "rotate": (-30, 30),
        "posterize": (4, 8),
        "solarize": (0, 256 / 255),
        "brightness": (-0.9, 0.9),
        "color": (-0.9, 0.9),
        "contrast": (-0.9, 0.9),
        "sharpness": (-0.9, 0.9),
        "cutout": (0, 0.2 * width),
        "auto_contrast": None,
        "equalize": None,
        "invert": None,
    }


# "identity" is what a step does that is passed over.
NAMES = ("identity", *ranges(1, 1))


@functools.cache
def load() -> dict[str, tuple[tuple[Step, Step], ...]]:
    """The pairs of all policies, read once."""
    file = importlib.resources.files("mollax.augment") / "fast_auto_policies.json"
    tables = json.loads(file.read_text(encoding="utf-8"))
    return {policy: tuple((tuple(row[:3]), tuple(row[3:])) for row in tables[policy]) for policy in POLICIES}


def tabulate(policy: str, height: int, width: int) -> Pairs:
    """Levels as magnitudes on height x width images; bits are cut to whole ones."""
    ends = ranges(height, width)

    def magnitude(name: str, level: float) -> float:
        low, high = ends[name] or (0, 0)
        value = low + level * (high - low)
        return float(np.floor(value)) if name == "posterize" else value

    pairs = load()[policy]
    return Pairs(
        np.array([[NAMES.index(name) for name, _, _ in pair] for pair in pairs], np.int32),
        np.array([[probability for _, probability, _ in pair] for pair in pairs], np.float32),
        np.array([[magnitude(name, level) for name, _, level in pair] for pair in pairs], np.float32),
    )


def draw(key: PRNGKeyArray, pairs: Pairs) -> tuple[Int[Array, 2], Float[Array, 2], Float[Array, "2 2"]]:
    """Indices and signed magnitudes of a pair, those of "identity" for steps passed over, and centers for `cutout`."""
    draws = jax.random.uniform(key, (9,))
    pair = chain.below(len(pairs.indices), draws[0])
    index, probability, magnitude = (jnp.asarray(values)[pair] for values in pairs)
    signed = jnp.asarray(np.isin(NAMES, GEOMETRIC))[index]
    magnitude = jnp.where(signed & (draws[3:5] < 0.5), -magnitude, magnitude)
    applied = draws[1:3] < probability
    identity = NAMES.index("identity")
    return jnp.where(applied, index, identity), jnp.where(applied, magnitude, 0), draws[5:].reshape(2, 2)
