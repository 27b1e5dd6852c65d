"""What the policies share: tables of magnitudes, and applying to each image the operations drawn for it.

A policy draws indices into its operations and magnitudes; `apply` applies them. The draws are plain arrays, so a
`vmap` over them is cheap everywhere. Applying is different: an accelerator runs all operations for the whole batch and
selects, which for such small ones beats divergence, while a CPU should compute the chosen one only.
`jax.vmap(policy)` does what suits the device, because `apply` brings its own batching rule. The price: reverse-mode
gradients with respect to the image stop with an error (those of other things, such as parameters, are not concerned).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Float, Int

from mollax import checks
from mollax.augment import operations, warps
from mollax.augment.cutout import cutout
from mollax.image.warp import METHODS, affine_warp

# Magnitudes run from the first to the second number; None for operations that have none.
Ranges = Mapping[str, tuple[float, float] | None]


class Space(NamedTuple):
    """The operations of a policy and how strong each can be.

    Attributes:
      names: of the operations.
      magnitudes: one row an operation, one column a bin; zeros where there is no magnitude.
      signed: whether the sign of the magnitude is drawn.
    """

    names: tuple[str, ...]
    magnitudes: Float[np.ndarray, "ops bins"]
    signed: Bool[np.ndarray, " ops"]


def create_space(ranges: Ranges, bins: int) -> Space:
    """Cuts each range into `bins` magnitudes at equal distances, both ends included.

    Bits of posterize are rounded, pixels of translations cut to whole ones.

    Raises: ValueError for an unknown operation or fewer than two bins (TypeError if not an integer).
    """
    checks.positive_int("bins", bins, minimum=2)
    rows = []
    for name, ends in ranges.items():
        checks.one_of("operation", name, operations.OPERATIONS)
        row = np.linspace(*ends, bins) if ends else np.zeros(bins)
        if name == "posterize":
            row = np.round(row)
        if name.startswith("translate"):
            # Not 15 for a 16 that lost its last bit.
            row = np.trunc(row + 1e-6)
        rows.append(row)
    signed = np.array([name in operations.SIGNED for name in ranges])
    return Space(tuple(ranges), np.stack(rows).astype(np.float32), signed)


def signed_magnitude(
    space: Space, index: Int[Array, "*n"], level: Int[Array, "*n"] | int, draw: Float[Array, "*n"]
) -> Float[Array, "*n"]:
    """The magnitude of operation `index` in bin `level`, negative for draws below 1/2 where it has a sign."""
    magnitude = jnp.asarray(space.magnitudes)[index, level]
    return jnp.where(jnp.asarray(space.signed)[index] & (draw < 0.5), -magnitude, magnitude)


def below(count: int, draw: Float[Array, "*n"]) -> Int[Array, "*n"]:
    """Turns draws in [0, 1) into integers in [0, count), all alike."""
    return jnp.floor(draw * count).astype(jnp.int32)


def apply(
    image: Float[Array, "h w c"],
    indices: Int[Array, " d"],
    magnitudes: Float[Array, " d"],
    *,
    names: tuple[str, ...],
    interpolation: str = "nearest",
    centers: Float[Array, "d 2"] | None = None,
) -> Float[Array, "h w c"]:
    """Applies names[indices[0]] with magnitudes[0], then the next, to one image.

    Magnitudes are signed and in each operation's unit: slopes, pixels, degrees, bits, thresholds in [0, 1], and
    factors less 1. "cutout" may be among the names if there are `centers`. Under `vmap` each image takes its own; see
    the module's text for what that costs.

    Raises: ValueError for an unknown name or interpolation or a wrong shape, TypeError for an integer image.
    """
    operations.require_image(image)
    checks.one_of("interpolation", interpolation, METHODS)
    known = operations.OPERATIONS if centers is None else (*operations.OPERATIONS, "cutout")
    for name in names:
        checks.one_of("operation", name, known)
    drawn = (indices, magnitudes) if centers is None else (indices, magnitudes, centers)
    return _by_device(functools.partial(_chain, names=names, interpolation=interpolation))(image, *drawn)


def _chain(image: jax.Array, *drawn: jax.Array, names: tuple[str, ...], interpolation: str) -> jax.Array:
    step = functools.partial(_apply, names=names, interpolation=interpolation)
    if len(drawn[0]) == 1:
        return step(image, *(values[0] for values in drawn))
    # Scanned: all operations are compiled once, not once for every place in the chain.
    return jax.lax.scan(lambda x, one: (step(x, *one), None), image, drawn)[0]


def _apply(
    image: jax.Array,
    index: jax.Array,
    magnitude: jax.Array,
    center: jax.Array | None = None,
    *,
    names: tuple[str, ...],
    interpolation: str,
) -> jax.Array:
    """One operation; the geometric ones share a branch, since a warp is a warp."""
    moves = [name for name in names if name in warps.GEOMETRIC]
    colors = [name for name in names if name in operations.COLOR]

    def keep() -> jax.Array:
        return image

    def warp() -> jax.Array:
        height, width, _ = image.shape
        matrices = [warps.geometric_matrix(name, magnitude, height=height, width=width) for name in moves]
        rank = np.array([moves.index(name) if name in moves else 0 for name in names])
        return affine_warp(image, jnp.stack(matrices)[jnp.asarray(rank)[index]], method=interpolation)

    def recolor(name: str) -> Callable[[], jax.Array]:
        return lambda: operations.COLOR[name](image, magnitude)

    branches = [keep, *([warp] if moves else []), *map(recolor, colors)]
    places = {"identity": 0, **dict.fromkeys(moves, 1)}
    places |= {name: len(branches) - len(colors) + i for i, name in enumerate(colors)}
    if center is not None:
        places["cutout"] = len(branches)
        branches.append(lambda: cutout(image, magnitude, center=center))
    return jax.lax.switch(jnp.asarray(np.array([places[name] for name in names]))[index], branches)


def _by_device(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """`function`, whose `vmap` is a loop on CPU and the plain one elsewhere (see the module's text)."""
    mapped = custom_vmap(function)

    def rule(axis_size: int, in_batched: list[bool], *args: jax.Array) -> tuple[jax.Array, bool]:
        batch = [x if b else jnp.broadcast_to(x, (axis_size, *x.shape)) for x, b in zip(args, in_batched, strict=True)]
        result = jax.lax.platform_dependent(
            *batch,
            # An inner `mapped`, not `function`: a second vmap around this one takes the loop again.
            cpu=lambda *examples: jax.lax.map(lambda example: mapped(*example), examples),
            default=jax.vmap(function),
        )
        return result, True

    mapped.def_vmap(rule)
    return mapped
