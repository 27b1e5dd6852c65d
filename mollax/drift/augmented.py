"""Kernels of augmentations that can be drawn from but have no density: fixed draws, each with a Gaussian floor."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mollax import checks
from mollax.drift.kernels import Group, positive

Draw = Callable[[PRNGKeyArray, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class OwnKeys:
    """A `Transform` that draws each bank row with its own key, fold_in(the version's key, the row's place)."""

    draw: Draw

    def __call__(self, key: PRNGKeyArray, rows: Float[Array, "n d"], places: Int[Array, " n"]) -> Float[Array, "n d"]:
        def one(place: jax.Array, row: jax.Array) -> jax.Array:
            drawn = self.draw(jax.random.fold_in(key, place), row[None])
            if drawn.shape != (1, len(row)):
                raise ValueError(
                    f"The augmentation must return points as it gets them, (1, {len(row)}); got shape {drawn.shape}."
                )
            return drawn[0].astype(row.dtype)

        return jax.vmap(one)(places, rows)


@dataclasses.dataclass(frozen=True)
class Augmented:
    """p(x | x_i) = 1/R sum_r N(x; T_ir(x_i), sigma^2 I): R fixed draws T of an augmentation, with a Gaussian floor.

    Draw r of bank row i depends on (key, r, i) alone: not on blocks, devices or queries. Draws are made anew in each
    pass over the bank and never stored.

    Attributes:
      draw: (key, points (n, d)) -> points (n, d); called with one point at a time, under `jax.vmap`. Give the same
        function object again and compiled code is used again.
      key: of the draws.
      sigma: the floor.
      draws: R. Each costs a pass over the bank.

    Raises:
      ValueError: if sigma is not above 0 or there is no draw; later, if `draw` returns points of another width.
    """

    draw: Draw
    key: PRNGKeyArray
    sigma: float | Float[Array, ""]
    draws: int = 8

    def __post_init__(self) -> None:
        positive("sigma", self.sigma)
        checks.positive_int("draws", self.draws)

    def groups(self, width: int) -> tuple[Group, ...]:
        """One Gaussian about each of R versions."""
        keys = jax.vmap(lambda r: jax.random.fold_in(self.key, r))(jnp.arange(self.draws, dtype=jnp.uint32))
        ones: Any = np.ones((self.draws, 1))
        sigma = jnp.full(ones.shape, self.sigma) if isinstance(self.sigma, jax.Array) else self.sigma * ones
        return (Group(ones, sigma, -math.log(self.draws) * ones, keys, OwnKeys(self.draw)),)


@dataclasses.dataclass(frozen=True)
class Flow(Augmented):
    """The kernel of a normalizing flow over transformations (METHODS section 2): each bank image as the flow moves it.

    `draw` samples the flow given the image and warps the image by what it drew; see `Augmented` for the rest.
    """
