"""Prototypes of classes and how well a set of images is aligned (fig 10f, g), on the host in float64.

Images are (n, height, width, channels) in [0, 1], labels integers from 0; angles are radians unless they are called
degrees, counter-clockwise as seen.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Integer

from mollax import checks

Host = np.ndarray | jax.Array


class Prototypes(NamedTuple):
    """The mean image of every class, and of how many images it is the mean.

    Attributes:
      images: in [0, 1], float32.
      counts: at least 1 each.
    """

    images: Float[np.ndarray, "k h w c"]
    counts: Integer[np.ndarray, " k"]


def prototypes(images: Float[Host, "n h w c"], labels: Integer[Host, " n"], *, classes: int) -> Prototypes:
    """The mean image of each class: of aligned images the prototype, of others a blur (fig 10g).

    Raises:
      ValueError: for an empty set, a class without an image (it is named), labels outside 0..classes-1, or images that
        hold NaN, as those of a failed alignment do.
      TypeError: for labels that are no integers, or images that are no floats.
    """
    groups = _by_class(images, labels, classes)
    means = [np.asarray(group, np.float64).mean(axis=0) for group in groups]
    return Prototypes(np.stack(means).astype(np.float32), np.array([len(group) for group in groups]))


def class_spread(
    images: Float[Host, "n h w c"], labels: Integer[Host, " n"], *, classes: int, relative: bool = False
) -> Float[np.ndarray, " k"]:
    """Mean over pixels and channels of the variance within each class: how blurred its prototype is.

    Smaller after alignment than before, and 0 for images that are all the same. A transform that darkens or empties the
    images lowers it as well, which `relative` shows.

    Args:
      relative: sum_i |x_i - mean|^2 / sum_i |x_i|^2 instead: the share, in [0, 1], of a class's energy that its
        prototype does not hold; independent of brightness, and NaN for a class of black images.

    Raises:
      ValueError, TypeError: as `prototypes`.
    """
    spreads = []
    for group in _by_class(images, labels, classes):
        values = np.asarray(group, np.float64)
        spread = float(values.var(axis=0).mean())
        energy = float(np.square(values).mean()) if relative else 1.0
        spreads.append(spread / energy if energy > 0 else math.nan)
    return np.array(spreads)


def turn_angle(matrices: Float[Host, "*n 2 3"]) -> Float[np.ndarray, "*n"]:
    """By which angle, in [-pi, pi], pull matrices turn the content: that of the nearest rotation of each 2x2 part.

    For [[a, b], [c, d]] it is atan2(c - b, a + d), the angle of `image.affine.rotation`. An image that was turned by
    theta and is aligned by this angle is left turned by their sum.

    Raises:
      ValueError: for arrays that are not (..., 2, 3).
    """
    values = np.asarray(matrices).astype(np.float64)
    if values.shape[-2:] != (2, 3):
        raise ValueError(f"matrices must be (..., 2, 3); got shape {values.shape}.")
    (a, b), (c, d) = np.moveaxis(values[..., :2], (-2, -1), (0, 1))
    return np.asarray(np.arctan2(c - b, a + d))


def angle_spread(angles: Float[Host, " n"], *, period: float = 2 * math.pi) -> float:
    """Circular standard deviation of angles, sqrt(-2 log R) with R = |mean exp(i angle)|, in radians.

    For angles within a small arc it is their standard deviation; infinite if they cancel. Of the angles that are left
    after alignment it says how closely a class agrees on one pose, whichever that is.

    Args:
      period: after which angles repeat: pi for figures that look the same after half a turn.

    Raises:
      ValueError: for no angles, one that is not finite, or a period that is not positive.
    """
    checks.in_range("period", period, 0, open_low=True)
    values = np.asarray(angles).astype(np.float64)
    if values.size == 0:
        raise ValueError("There are no angles to take the spread of.")
    if not np.isfinite(values).all():
        raise ValueError(f"angles must be finite; {int((~np.isfinite(values)).sum())} of {values.size} are not.")
    cycle = 2 * math.pi / period
    length = min(float(np.abs(np.exp(1j * cycle * values).mean())), 1.0)
    # Below the rounding of the mean the angles cancel.
    return math.sqrt(-2 * math.log(length)) / cycle if length > 1e-15 else math.inf


def mean_direction(
    degrees: Float[Host, "b n"], *, near: Float[np.ndarray, " b"] | float = 0.0
) -> tuple[Float[np.ndarray, " b"], Float[np.ndarray, " b"]]:
    """Circular mean in degrees, the one closest to `near`, and resultant length R = |mean_n exp(i angle)| of each row.

    R is 1 for equal angles and 0 for angles that cancel: those have no direction, and their mean is one of chance.
    """
    mean = np.exp(1j * np.deg2rad(np.asarray(degrees).astype(np.float64))).mean(axis=1)
    return near + _wrapped(np.rad2deg(np.angle(mean)) - near), np.abs(mean)


def angle_percentiles(
    degrees: Float[Host, "b n"], *, near: Float[np.ndarray, " b"] | float = 0.0
) -> Float[np.ndarray, "3 b"]:
    """1 %, 50 % and 99 % of n angles, all in degrees, each row around its circular mean, the one closest to `near`.

    On a line the percentiles of angles on both sides of +-180 degrees would span the circle.
    """
    values = np.asarray(degrees).astype(np.float64)
    centre, _ = mean_direction(values, near=near)
    return np.asarray(centre + np.percentile(_wrapped(values - centre[:, None]), [1, 50, 99], axis=1))


def _wrapped(degrees: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Within -180 to 180, the last excluded."""
    return (degrees + 180) % 360 - 180


def _by_class(
    images: Float[Host, "n h w c"], labels: Integer[Host, " n"], classes: int
) -> list[Float[np.ndarray, "m h w c"]]:
    """The images of each class, checked: at least one each, all finite."""
    checks.positive_int("classes", classes)
    checks.rank("images", images, 4, "(images, height, width, channels)")
    values, truth = np.asarray(images), np.asarray(labels)
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise TypeError(f"images must be floats in [0, 1]; got dtype {values.dtype}. Divide uint8 images by 255.")
    if not np.issubdtype(truth.dtype, np.integer):
        raise TypeError(f"labels must be integers (class indices); got dtype {truth.dtype}.")
    if checks.same_length(("images", "labels"), (values, truth)) == 0:
        raise ValueError("There are no images: prototypes need at least one per class.")
    outside = (truth < 0) | (truth >= classes)
    if outside.any():
        row = int(outside.argmax())
        raise ValueError(f"labels must be in 0..{classes - 1} for {classes} classes; got {truth[row]} at row {row}.")
    empty = sorted(set(range(classes)) - set(truth.tolist()))
    if empty:
        raise ValueError(
            f"No image of class {', '.join(map(str, empty))}: it has no prototype. "
            "Give more images, or relabel the classes that are there."
        )
    broken = ~np.isfinite(values.astype(np.float32, copy=False)).all(axis=(1, 2, 3))
    if broken.any():
        raise ValueError(
            f"images must be finite; {int(broken.sum())} of {len(values)} hold NaN or infinity, the first is row "
            f"{int(broken.argmax())}. After an alignment, see require_finite."
        )
    return [values[truth == label] for label in range(classes)]
