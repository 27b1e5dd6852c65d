"""Pretrained weights of Vision Transformers, from files by four libraries: see `mollax.models.vit_names`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Float

from mollax.checks import one_of
from mollax.models.vit_names import convert, find_naming, source
from mollax.models.weight_files import read_weights

PyTree = Any
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
# Mean and deviation by which images were standardised when weights were learned; "own" is that of the caller.
STATISTICS = {"half": HALF, "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "own": None}


def resize_positions(positions: Float[np.ndarray, "1 t d"], count: int) -> Float[np.ndarray, "1 u d"]:
    """Positions of a class token and a square grid of patches for another square grid, `count` with the token.

    Bicubic (Keys' a = -1/2), anti-aliased where the grid shrinks, pixel centres kept: PyTorch's
    `interpolate(mode="bicubic", antialias=True)`, as timm does it. The class token's position stays.

    Raises:
      ValueError: if either grid is not square.
    """
    before, after = math.isqrt(positions.shape[1] - 1), math.isqrt(count - 1)
    if before**2 != positions.shape[1] - 1 or after**2 != count - 1:
        raise ValueError(
            f"Positions are resized between square grids of patches and one class token; got {positions.shape[1]} "
            f"positions for {count}."
        )
    grid = jnp.asarray(positions[0, 1:].reshape(before, before, -1))
    resized = jax.image.resize(grid, (after, after, grid.shape[2]), "bicubic")
    return np.concatenate([positions[:, :1], np.asarray(resized).reshape(1, after**2, -1)], axis=1)


def to_vit_params(weights: Mapping[str, Any], params: PyTree) -> tuple[PyTree, tuple[str, ...]]:
    """Parameters of a `ViT` from another library's arrays, and notes on what was done.

    Args:
      weights: arrays by name, as `read_weights` gives them.
      params: the ViT's own, whose shapes are wanted. They stay where the weights have nothing: a head of another
        number of classes, or none, is left as it is, with a note. Positions are resized (`resize_positions`).

    Raises:
      ValueError: if `params` are of another network, the names are unknown, an array is missing or has another shape
        (the first one is named), or the weights have more blocks.
    """
    own = flatten_dict(params, sep="/")
    if "trunk/positions" not in own:
        raise ValueError("Weights can be loaded into ViTs alone (vit_b16, vit_s16, vit_ti16, vit).")
    naming = find_naming(weights)
    weights = {name.removeprefix("vit."): array for name, array in weights.items()}
    notes = [f"{naming.title}'s names"]
    found, used = {}, set()
    for ours, value in own.items():
        if ours.startswith("confidence/"):
            continue  # a head that no library has
        name, third = source(naming, ours)
        used.add(name)
        if name not in weights:
            if not ours.startswith("linear/"):
                raise ValueError(f"The weights have no array {name!r}, which {ours} is to be taken from.")
            continue
        array = convert(naming, ours, weights[name], third)
        if ours == "trunk/positions" and array.ndim == 3 and array.shape[1] != value.shape[1]:
            notes.append(f"positions resized from {array.shape[1] - 1} to {value.shape[1] - 1} patches (bicubic)")
            array = resize_positions(array, value.shape[1])
        if array.shape != value.shape and not ours.startswith("linear/"):
            raise ValueError(
                f"The array {name!r} makes {ours} of shape {array.shape}, but the network's is {value.shape}."
            )
        found[ours] = array
    unused = sorted(weights.keys() - used)
    start = naming.block.partition("{")[0]
    if blocks := [name for name in unused if name.startswith(start)]:
        raise ValueError(f"The weights are of another network: its blocks have no place for {blocks[0]!r}.")
    return unflatten_dict(_with_head(own, found, notes), sep="/"), (*notes, *_listed(unused))


def _with_head(own: dict[str, Any], found: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """All parameters, the head from the weights only if it fits as a whole."""
    head = [name for name in own if name.startswith("linear/")]
    if not head:
        notes.append("the head, which is not linear, stays random")
        return own | found
    classes = own["linear/bias"].shape[0]
    if all(name in found and found[name].shape == own[name].shape for name in head):
        notes.append(f"with their head of {classes} classes")
        return own | found
    theirs = f"has {len(found['linear/bias'])} classes" if "linear/bias" in found else "is not there"
    notes.append(f"the head of {classes} classes stays random: theirs {theirs}")
    return own | {name: array for name, array in found.items() if name not in head}


def _listed(unused: list[str]) -> list[str]:
    more = ", ..." if len(unused) > 5 else ""
    return [f"not used: {', '.join(unused[:5])}{more}"] if unused else []


def restandardize(
    params: PyTree,
    *,
    learned: tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"]],
    given: tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"]],
) -> PyTree:
    """A ViT's parameters for images standardised by other means and deviations (m, s) than they were learned with.

    Exact, since the patch embedding is linear and never sees padding: with x = (p - m_given) / s_given, images were
    (s_given x + m_given - m_learned) / s_learned; the factor goes into the kernel, the rest into the bias.
    """
    (mean, std), (own_mean, own_std) = learned, given
    patch = params["trunk"]["patch"]
    kernel = np.asarray(patch["kernel"], np.float64)
    shift = ((np.asarray(own_mean, np.float64) - mean) / std).reshape(1, 1, -1, 1)
    scale = (np.asarray(own_std, np.float64) / std).reshape(1, 1, -1, 1)
    bias = patch["bias"] + (kernel * shift).sum((0, 1, 2))
    moved = {"kernel": (kernel * scale).astype(np.float32), "bias": bias.astype(np.float32)}
    return {**params, "trunk": {**params["trunk"], "patch": moved}}


def load_vit(
    path: str | Path,
    params: PyTree,
    *,
    mean: Float[np.ndarray, " c"],
    std: Float[np.ndarray, " c"],
    statistics: str = "",
) -> tuple[PyTree, tuple[str, ...]]:
    """A ViT's parameters from a file, for images standardised by `mean` and `std`, and notes on what was done.

    Args:
      path: a .npz or .safetensors file, see `read_weights`.
      params: see `to_vit_params`.
      mean, std: per channel of images in [0, 1], of the data at hand.
      statistics: those that the weights were learned with: "half" (both 0.5), "imagenet", or "own", the same as
        `mean` and `std`. "" goes by the names: "imagenet" for torchvision's, else "half"; timm has some of either
        kind (DeiT's are "imagenet").

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file cannot be read, or its arrays do not fit.
    """
    weights = read_weights(path)
    name = one_of("statistics", statistics, tuple(STATISTICS)) if statistics else find_naming(weights).statistics
    loaded, notes = to_vit_params(weights, params)
    learned = STATISTICS[name]
    if learned is None:
        return loaded, (*notes, "images as the weights saw them")
    channels = len(mean)
    if channels != 3:
        raise ValueError(f'Statistics {name!r} are of 3 channels, images have {channels}; use "own".')
    arrays = (np.asarray(learned[0]), np.asarray(learned[1]))
    given = (np.asarray(mean), np.asarray(std))
    note = f"learned on images standardised by {name} statistics, which the patch embedding now does"
    return restandardize(loaded, learned=arrays, given=given), (*notes, note)
