"""Checks of points at the door."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mollax import checks

Host = jax.Array | np.ndarray
VALUES = 2**22  # looked at at once


def check_points(name: str, points: Any, *, width: int | None = None) -> None:
    """Raises unless `points` is a non-empty (points, values) array of finite floating-point numbers.

    Args:
      width: that of the points it will be compared with.

    Raises:
      ValueError: for another rank or width, no point, or numbers that are not finite.
      TypeError: for integers.
    """
    checks.rank(name, points, 2, "(points, values of each)")
    if not jnp.issubdtype(points.dtype, jnp.floating):
        raise TypeError(f"{name} must hold floating-point numbers; got {points.dtype}. Divide 8-bit images by 255.")
    if not points.size:
        raise ValueError(f"{name} must hold at least one point of at least one value; got shape {points.shape}.")
    if width is not None and points.shape[1] != width:
        raise ValueError(
            f"{name} has points of {points.shape[1]} values, the other points have {width}: bring both to one size."
        )
    if isinstance(points, jax.core.Tracer):
        return
    module: Any = np if isinstance(points, np.ndarray) else jnp
    with jax.ensure_compile_time_eval():  # numbers that are known are looked at while others are traced, too
        rows = max(1, VALUES // points.shape[1])
        for low in range(0, len(points), rows):
            finite = module.isfinite(points[low : low + rows]).all(axis=1)
            if not bool(finite.all()):
                place = low + int(module.argmin(finite))
                raise ValueError(f"{name} must hold finite numbers; row {place} does not.")
