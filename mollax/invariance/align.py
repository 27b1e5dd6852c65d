"""Mean shift: moving an image, draw by draw, to the pose that its own transform distribution points to."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mollax import checks
from mollax.image import affine
from mollax.image.warp import affine_warp
from mollax.invariance.transforms import KINDS, affine_matrix, dimension

COMPOSITIONS = ("add", "matrices")
Draw = Callable[[Array, Array], Array]
"""(key, image (h, w, c)) -> transforms (n, d) of that image, in parameters of `affine_matrix`."""


class Aligned(NamedTuple):
    """An image after mean shift, and the way there.

    Attributes:
      image: the observed image, warped once by `matrix`.
      matrix: its pull matrix, the last of `trace`.
      trace: the matrix after each of k steps.
      means: E[T] that each step found; with compose="add" the parameters after the steps are
        step_size * cumsum(means). They go to zero as the image comes to its mode (fig 10b-d).
    """

    image: Float[Array, "h w c"]
    matrix: Float[Array, "2 3"]
    trace: Float[Array, "k 2 3"]
    means: Float[Array, "k d"]


def align(
    key: PRNGKeyArray,
    image: Float[Array, "h w c"],
    draw: Draw,
    *,
    kind: str,
    steps: int = 10,
    step_size: float = 0.1,
    compose: str = "add",
    entry_range: float = math.pi,
    padding: str = "zeros",
) -> Aligned:
    """Mean shift towards the nearest mode of the transform distribution (section 3; METHODS section 2).

    T_k = T_{k-1} + step_size * E_{T ~ g(.; I_{k-1})}[T], I_k = A_{T_k}(I_0), from T_0 = 0. Every I_k is warped from the
    observed image, so that interpolation does not add up. The paper takes 10 steps of .1 with 50 draws for CIFAR-10 and
    100 for the accuracy curves (fig 10e), 20 with 100 for sprites and digits (appendix A.3.9).

    `draw` is all that is random here; how many transforms a mean is over is its choice. It sees what the warp makes:
    give an image in [0, 1], as `padding` is of that range (zeros are black), and standardise inside of `draw`. Works
    under `jax.jit` and `jax.vmap` over keys and images.

    A rotation is rigid for square images only, see `affine_matrix`.

    The mean is that of parameters. Where they turn a full circle or have several modes it is a compromise, and similar
    images can end in different poses (appendix A.2). Where `draw` gives NaN or the steps diverge, the result is NaN
    from there on: see `require_finite`.

    Args:
      kind: of the transforms, any of `KINDS` but "crop".
      steps: k.
      step_size: gamma; 1 jumps to the mean, from 2 on the steps diverge.
      compose: "add" adds the parameters (default, as the paper), which is exact for one generator and for translations.
        "matrices" composes what the steps do: M_k = M_{k-1} exp(step_size * sum_i mean w_i G_i); the new factor stands
        on the right because the warp pulls.
      entry_range: see `lie_algebra`.
      padding: see `affine_warp`.

    Raises:
      ValueError: for kind "crop" (its parameters are no steps from an identity), an unknown `kind`, `compose` or
        `padding`, a step size that is not positive, no steps, or draws that are not (n, d) with n >= 1.
    """
    checks.one_of("kind", kind, KINDS)
    if kind == "crop":
        raise ValueError(
            'Mean shift adds up steps from the identity, and zeros of kind "crop" are a crop, not the identity. '
            'Choose a kind of Lie coefficients, such as "affine".'
        )
    checks.one_of("compose", compose, COMPOSITIONS)
    checks.positive_int("steps", steps)
    checks.in_range("step_size", step_size, 0, open_low=True)

    def pull(params: Float[Array, " d"]) -> Float[Array, "2 3"]:
        return affine_matrix(params, kind=kind, entry_range=entry_range)

    def warp(matrix: Float[Array, "2 3"]) -> Float[Array, "h w c"]:
        # A position that is no number has no pixel; what a gather reads there depends on the device.
        finite = jnp.isfinite(matrix).all()
        warped = affine_warp(image, jnp.where(finite, matrix, affine.identity()), padding=padding)
        return jnp.where(finite, warped, jnp.nan)

    def step(
        position: tuple[Float[Array, " d"], Float[Array, "2 3"]], step_key: PRNGKeyArray
    ) -> tuple[tuple[Float[Array, " d"], Float[Array, "2 3"]], tuple[Float[Array, "2 3"], Float[Array, " d"]]]:
        params, matrix = position
        mean = _mean(draw(step_key, warp(matrix)), kind)
        params = params + step_size * mean
        matrix = pull(params) if compose == "add" else affine.compose(matrix, pull(step_size * mean))
        return (params, matrix), (matrix, mean)

    start = (jnp.zeros(dimension(kind)), affine.identity())
    (_, matrix), (trace, means) = jax.lax.scan(step, start, jax.random.split(key, steps))
    return Aligned(warp(matrix), matrix, trace, means)


def require_finite(matrices: Float[np.ndarray | Array, "*n 2 3"]) -> None:
    """Checks, on the host, that alignment has worked: matrices of n images, or of n images' steps, all finite.

    Raises:
      ValueError: if there are none, or naming the first that holds NaN or infinity.
    """
    values = np.asarray(matrices)
    if values.shape[-2:] != (2, 3):
        raise ValueError(f"matrices must be (..., 2, 3); got shape {values.shape}.")
    if values.size == 0:
        raise ValueError("There is nothing to align: the set of images is empty.")
    broken = ~np.isfinite(values).all(axis=(-2, -1))
    if broken.any():
        first = tuple(int(i) for i in np.argwhere(broken)[0])
        raise ValueError(
            f"Alignment gave matrices with NaN or infinity: {int(broken.sum())} of {broken.size}, the first at index "
            f"{first[0] if len(first) == 1 else first}. Look for NaN in the augmenter's parameters or its input; "
            "if its transforms are large, take a smaller step_size or fewer steps."
        )


def _mean(draws: Float[Array, "n d"], kind: str) -> Float[Array, " d"]:
    """E[T] over the draws, checked because the caller made them."""
    expected = dimension(kind)
    if draws.ndim != 2 or draws.shape[0] == 0 or draws.shape[1] != expected:
        raise ValueError(
            f'draw must return (n, {expected}) parameters with n >= 1 for kind "{kind}"; got shape {draws.shape}.'
        )
    return jnp.mean(draws.astype(jnp.float32), axis=0)
