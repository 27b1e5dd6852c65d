"""Small steps of the input that make a network surer, and their length chosen on ID images alone.

Lengths are in units of pixels in [0, 1]; images may be standardised, with the deviation of every channel told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mollax import checks

Images = Float[Array, "n h w c"]


class Chosen(NamedTuple):
    """A step's length and why.

    Attributes:
      epsilon: of the grid, the one with the largest mean confidence; the first of equals.
      grid: the lengths tried.
      confidences: mean over ID images for each of them, float64.
    """

    epsilon: float
    grid: tuple[float, ...]
    confidences: Float[np.ndarray, " e"]


def channel_deviation(deviation: float | Sequence[float]) -> Float[np.ndarray, " c"]:
    """Standard deviations by which the network's images were divided, one or one a channel.

    Raises:
      ValueError: for none, or one that is not positive.
    """
    values = (deviation,) if isinstance(deviation, (int, float)) else tuple(deviation)
    if not values:
        raise ValueError("deviation must be a number or one number a channel; got none.")
    for value in values:
        checks.in_range("deviation", value, 0, open_low=True)
    return np.asarray(values, np.float64)


def direction(
    loss: Callable[[Images], Float[Array, " n"]], images: Images, deviation: Float[Array, " deviations"]
) -> Images:
    """The step of length 1 that lowers a loss per example: minus the sign of its gradient, over the deviation.

    A gradient of 0 counts as positive, as in ODIN's code. The loss of an example must depend on that example alone: a
    network in evaluation mode. Raises ValueError for images without four axes or with another number of channels.
    """
    checks.rank("images", images, 4, "(examples, height, width, channels)")
    if deviation.shape[0] not in (1, images.shape[3]):
        raise ValueError(f"There are {deviation.shape[0]} deviations for images of {images.shape[3]} channels.")
    gradient = jax.grad(lambda values: loss(values).sum())(images)
    sign = jnp.where(gradient >= 0, -1.0, 1.0).astype(images.dtype)
    return sign / jnp.reshape(deviation.astype(images.dtype), (1, 1, 1, -1))


def choose(
    confidence: Callable[[Images], Float[Array, " n"]],
    towards: Callable[[Images], Images],
    batches: Iterable[Array],
    grid: Sequence[float],
) -> Chosen:
    """The length of the grid with the largest mean confidence over ID images (eq 10 of Hsu et al. 2020).

    Args:
      confidence: of images, high for ID.
      towards: the step of length 1 from images.
      batches: ID validation images, read once; batches of one shape compile once.
      grid: lengths.

    Raises:
      ValueError: for no images, an empty grid, a negative length or confidences that are not finite.
    """
    if not len(grid):
        raise ValueError("The grid of epsilon is empty: give at least one length, 0 for no step.")
    for epsilon in grid:
        checks.in_range("epsilon", epsilon, 0)

    @jax.jit
    def along(images: Images, steps: Float[Array, " e"]) -> Float[Array, "e n"]:
        unit = towards(images)
        return jax.lax.map(lambda step: confidence(images + step * unit), steps)

    totals, count = np.zeros(len(grid)), 0
    for images in batches:
        images = jnp.asarray(images)
        totals += np.asarray(along(images, jnp.asarray(grid, images.dtype)), np.float64).sum(axis=1)
        count += images.shape[0]
    if count == 0:
        raise ValueError("There are no ID validation images to choose epsilon on.")
    means = totals / count
    bad = np.flatnonzero(~np.isfinite(means))
    if bad.size:
        raise ValueError(
            f"The mean confidence at epsilon {grid[bad[0]]:g} is not finite: look at the network's outputs."
        )
    return Chosen(float(grid[int(np.argmax(means))]), tuple(float(epsilon) for epsilon in grid), means)
