"""Kernels: the density p_theta(x | x_i) that an augmentation puts around a point of the bank (METHODS section 4).

Every kernel is a mixture of isotropic Gaussians, p(x | x_i) = sum_r w_r N(x; a_r c_r(x_i), s_r^2 I), where c_r(x_i) is
a version of the point: itself, blurred, or drawn from an augmentation. Sigma is in the units of the points: of pixels
in [0, 1], or of features. Versions that many Gaussians share cost one matrix product for all of them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from mollax import checks
from mollax.image.dct import heat_operator

Transform = Callable[[Any, jax.Array, jax.Array], jax.Array]


@struct.dataclass
class Group:
    """Gaussians about g versions of a bank point, r of them about each.

    Attributes:
      transform: (parameters of a version, rows (n, d), their places in the bank (n,)) -> (n, d); None if the version is
        the point itself. Hashable, as compiled functions depend on it.
      parameters: of the versions, an array or a tree of arrays with a leading axis of g; None without a transform.
      scale, sigma, log_weight: a, s and log w, (g, r) each.
    """

    scale: Any
    sigma: Any
    log_weight: Any
    parameters: Any = None
    transform: Transform | None = struct.field(pytree_node=False, default=None)

    def version(self, parameters: Any, rows: Float[Array, "n d"], places: Int[Array, " n"]) -> Float[Array, "n d"]:
        """One version of bank rows, given its parameters and the rows' places in the bank."""
        return rows if self.transform is None else self.transform(parameters, rows, places)


@runtime_checkable
class Kernel(Protocol):
    """What `log_density` asks of a kernel."""

    def groups(self, width: int) -> tuple[Group, ...]:
        """The mixture for points of `width` values; weights add up to 1 over all groups.

        Raises:
          ValueError: if the kernel is for points of another width.
        """
        ...


def positive(name: str, value: Any) -> None:
    """Checks that `value` is a number above 0; arrays, such as tracers in a gradient, are taken as they are."""
    if not isinstance(value, (jax.Array, np.ndarray, np.floating)):
        checks.in_range(name, value, 0.0, open_low=True)
    elif isinstance(value, jax.core.Tracer):
        return
    elif value.ndim or not 0 < float(np.asarray(value)) < math.inf:  # on the host: a jit around it may be tracing
        raise ValueError(f"{name} must be in (0, inf); got {value}.")


def single(scale: Any, sigma: Any, parameters: Any = None, transform: Transform | None = None) -> tuple[Group, ...]:
    """One Gaussian about one version."""

    def shaped(value: Any) -> Any:
        return value.reshape(1, 1) if isinstance(value, jax.Array) else np.full((1, 1), value)

    return (Group(shaped(scale), shaped(sigma), np.zeros((1, 1)), parameters, transform),)


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """p(x | x_i) = N(x; x_i, sigma^2 I): Gaussian noise of scale sigma. The density is then a kernel density estimate.

    Raises:
      ValueError: if sigma is not above 0.
    """

    sigma: float | Float[Array, ""]

    def __post_init__(self) -> None:
        positive("sigma", self.sigma)

    def groups(self, width: int) -> tuple[Group, ...]:
        """One Gaussian about the point itself."""
        return single(1.0, self.sigma)


@dataclasses.dataclass(frozen=True)
class Mollifier:
    """p(x | x_i) = N(x; alpha_t x_i, sigma_t^2 I), alpha_t = cos(pi t / 2), sigma_t = sin(pi t / 2).

    Noise at temperature t, for points standardized as the mollifier's images are; t = 1 is N(0, I) whatever the bank.

    Raises:
      ValueError: if t is not in (0, 1]; at t = 0 there is no density.
    """

    t: float | Float[Array, ""]

    def __post_init__(self) -> None:
        positive("t", self.t)
        if not isinstance(self.t, jax.core.Tracer) and float(self.t) > 1:
            raise ValueError(f"t must be in (0, 1]; got {self.t}.")

    def groups(self, width: int) -> tuple[Group, ...]:
        """One Gaussian about the shrunken point."""
        if isinstance(self.t, jax.Array):
            return single(jnp.cos(self.t * (math.pi / 2)), jnp.sin(self.t * (math.pi / 2)))
        return single(math.cos(self.t * (math.pi / 2)), math.sin(self.t * (math.pi / 2)))


@dataclasses.dataclass(frozen=True)
class HeatBlur:
    """The blur A_H x A_W^T (METHODS section 1) of flattened (height, width, channels) images, a `Transform`.

    Its parameter is the blur's standard deviation in pixels.
    """

    shape: tuple[int, int, int]

    def __call__(
        self, scale: Float[Array, ""], rows: Float[Array, "n d"], places: Int[Array, " n"]
    ) -> Float[Array, "n d"]:
        height, width, _ = self.shape
        scale = scale.astype(rows.dtype)
        down, along = heat_operator(scale, height), heat_operator(scale, width)
        images = rows.reshape(len(rows), *self.shape)
        precision = jax.lax.Precision.HIGHEST
        return jnp.einsum("ih,nhwc,jw->nijc", down, images, along, precision=precision).reshape(rows.shape)


def check_shape(shape: tuple[int, ...], width: int) -> None:
    """Raises ValueError unless images of `shape` have `width` values."""
    if math.prod(shape) != width:
        raise ValueError(
            f"The kernel is for images of shape {shape}, {math.prod(shape)} values; the points have {width}. "
            "Give the kernel the shape of the images that were flattened."
        )


def image_shape(shape: Any) -> None:
    """Raises ValueError unless `shape` is (height, width, channels)."""
    if len(shape) != 3:
        raise ValueError(f"shape must be (height, width, channels); got {shape}.")
    for name, value in zip(("height", "width", "channels"), shape, strict=True):
        checks.positive_int(name, value)


@dataclasses.dataclass(frozen=True)
class BlurNoise:
    """p(x | x_i) = N(x; B x_i, sigma^2 I): the point blurred by `scale` pixels, then noise of scale sigma.

    Attributes:
      scale: standard deviation of the blur in pixels; 0 is no blur.
      sigma: of the noise.
      shape: (height, width, channels) of the images that the points are, flattened.

    Raises:
      ValueError: if sigma is not above 0, scale below 0, or the shape not one of images.
    """

    scale: float
    sigma: float | Float[Array, ""]
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        checks.in_range("scale", self.scale, 0.0)
        positive("sigma", self.sigma)
        image_shape(self.shape)

    def groups(self, width: int) -> tuple[Group, ...]:
        """One Gaussian about the blurred point."""
        check_shape(self.shape, width)
        return single(1.0, self.sigma, np.asarray([self.scale]), HeatBlur(self.shape))
