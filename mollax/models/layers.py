"""Layers that the networks share, with the field's usual settings written once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

Initializer = Callable[..., Array]


def _fan(shape: tuple[int, ...], side: str) -> int:
    """Weights that meet in one input ("out") or output ("in") of a kernel (..., in, out)."""
    return math.prod(shape[:-2]) * (shape[-2] if side == "in" else shape[-1])


def he_normal(side: str) -> Initializer:
    """He et al. 2015: normal with variance 2 / fan, the fan of the inputs ("in") or of the outputs ("out").

    The draw is flat and then shaped: the same numbers as a shaped draw, compiled four times faster on CPU.
    """

    def init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        flat = jax.random.normal(key, (math.prod(shape),), dtype)
        return flat.reshape(shape) * math.sqrt(2 / _fan(shape, side))

    return init


def torch_linear(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Uniform in +-1/sqrt(fan_in), PyTorch's default and so that of most published networks' heads."""
    flat = jax.random.uniform(key, (math.prod(shape),), dtype, -1.0, 1.0)
    return flat.reshape(shape) / math.sqrt(_fan(shape, "in"))


# Residual networks take the fan of the outputs, as He et al.'s released code does; networks without batch
# norm that of the inputs, which keeps the scale of the activations on the way forward.
he_fan_out = he_normal("out")
he_fan_in = he_normal("in")


def conv(
    planes: int,
    size: int = 3,
    *,
    stride: int = 1,
    pad: int | None = None,
    groups: int = 1,
    bias: bool = False,
    dtype: DTypeLike = jnp.float32,
    init: Initializer = he_fan_out,
    name: str | None = None,
) -> nn.Conv:
    """A `size` x `size` convolution padded by `pad` on all sides, size // 2 if None; without bias unless asked.

    With `groups`, output planes in that many equal parts, each of which sees its part of the input planes.

    Explicit padding, because "SAME" at stride 2 pads an even side on the right only and would shift the grid
    by a pixel against the published networks.
    """
    return nn.Conv(
        planes,
        (size, size),
        strides=stride,
        padding=size // 2 if pad is None else pad,
        feature_group_count=groups,
        use_bias=bias,
        dtype=dtype,
        kernel_init=init,
        name=name,
    )


def batch_norm(
    x: Float[Array, "*axes d"],
    *,
    train: bool,
    dtype: DTypeLike = jnp.float32,
    axis_name: str | None = None,
    name: str | None = None,
) -> Float[Array, "*axes d"]:
    """Batch norm over all axes but the last; call it inside a compact method. Result in `dtype`.

    Statistics and normalisation in float32. Momentum 0.9 (PyTorch's 0.1) and epsilon 1e-5. The running
    variance is the biased one (divided by n; PyTorch divides by n - 1), n counted over `axis_name` too;
    training is the
    same, and in evaluation variances are smaller by a factor (n - 1) / n, n = batch x height x width.
    """
    norm = nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-5,
        dtype=jnp.float32,
        axis_name=axis_name,
        name=name,
    )
    return norm(x.astype(jnp.float32)).astype(dtype)


def max_pool2(x: Float[Array, "n h w d"]) -> Float[Array, "n h2 w2 d"]:
    """Maximum over 2 x 2 positions at stride 2; an odd last row or column is left out.

    By slices, not by a window reduction: the gradient of the latter is a scatter, slow on CPU.
    """
    squares = _squares(x)
    upper, lower = (larger(squares[:, :, row, :, 0], squares[:, :, row, :, 1]) for row in (0, 1))
    return larger(upper, lower)


def larger(x: Float[Array, "*axes"], y: Float[Array, "*axes"]) -> Float[Array, "*axes"]:
    """The larger of x and y, x where they tie, NaN where either is; the gradient goes to the one that is taken.

    The gradient of `jnp.max` compares values with their maximum. A compiler may compute them anew for that, and where
    rounding differs none equals it: 0 / 0. Here it asks once more which is larger, and one always is.
    """
    return jnp.where((y > x) | jnp.isnan(y), y, x)


def mean_pool2(x: Float[Array, "n h w d"]) -> Float[Array, "n h2 w2 d"]:
    """Mean over 2 x 2 positions at stride 2; an odd last row or column is left out."""
    return _squares(x).mean(axis=(2, 4))


def _squares(x: Float[Array, "n h w d"]) -> Float[Array, "n h2 2 w2 2 d"]:
    n, h, w, d = x.shape
    x = x[:, : h // 2 * 2, : w // 2 * 2]
    return x.reshape(n, h // 2, 2, w // 2, 2, d)


def max_pool3(x: Float[Array, "n h w d"], *, stride: int = 1) -> Float[Array, "n h2 w2 d"]:
    """Maximum over 3 x 3 positions around every `stride`-th one; positions beyond the edge do not count.

    Rows, then columns, each as the maximum of three shifted copies: for the reason of `max_pool2`. Where
    positions tie, the first has the gradient.
    """
    for axis in (1, 2):
        side = x.shape[axis]
        edges = [(1, 1) if i == axis else (0, 0) for i in range(4)]
        padded = jnp.pad(x, edges, constant_values=-jnp.inf)
        shifted = [jax.lax.slice_in_dim(padded, i, i + side, stride, axis) for i in range(3)]
        x = larger(larger(shifted[0], shifted[1]), shifted[2])
    return x
