"""Residual networks of depth 6n + 2 for small images (He et al. 2016, "Deep residual learning", section 4.2).

ResNet-8 with 16 planes ("ResNet-8-16") is the small network of Singhal et al.'s comparisons (2023). Parameters at 3
channels and 10 classes: 75,290 with identity shortcuts, 78,042 with projections. The default is "identity" (He et
al.'s option A), as in He et al.'s own CIFAR results and in the ResNet-8-16 of LILA, whose setting they take
over. LILA's has Fixup's scalar scales and biases where ours has batch norm.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from mollax.checks import one_of, positive_int
from mollax.models.classifier import Classifier
from mollax.models.layers import batch_norm, conv

SHORTCUTS = ("identity", "projection")


def strided_identity(x: Float[Array, "n h w c"], *, planes: int, stride: int) -> Float[Array, "n h2 w2 d"]:
    """Every `stride`-th position, zero channels appended up to `planes`: no parameters."""
    x = x[:, ::stride, ::stride]
    return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, planes - x.shape[-1])))


class ResidualBlock(nn.Module):
    """relu(shortcut(x) + BN conv relu BN conv(x)), both convolutions 3x3, the first with the stride."""

    planes: int
    stride: int = 1
    shortcut: str = "identity"
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h2 w2 d"]:
        def norm(x: Array, name: str) -> Array:
            return batch_norm(x, train=train, dtype=self.dtype, axis_name=self.axis_name, name=name)

        y = conv(self.planes, stride=self.stride, dtype=self.dtype, name="conv1")(x)
        y = nn.relu(norm(y, "norm1"))
        y = norm(conv(self.planes, dtype=self.dtype, name="conv2")(y), "norm2")
        if self.stride != 1 or x.shape[-1] != self.planes:
            if self.shortcut == "identity":
                x = strided_identity(x, planes=self.planes, stride=self.stride)
            else:
                project = conv(self.planes, 1, stride=self.stride, dtype=self.dtype, name="shortcut")
                x = norm(project(x), "shortcut_norm")
        return nn.relu(x + y)


def patches_to_channels(x: Float[Array, "n h w c"], side: int) -> Float[Array, "n h2 w2 d"]:
    """Each patch of side x side pixels as one position with side^2 c channels: row by row, colors innermost."""
    n, height, width, channels = x.shape
    x = x.reshape(n, height // side, side, width // side, side, channels).swapaxes(2, 3)
    return x.reshape(n, height // side, width // side, side * side * channels)


class ResNetTrunk(nn.Module):
    """Conv-BN-ReLU stem and three stages of n blocks with planes, 2 planes and 4 planes."""

    blocks: int
    planes: int
    shortcut: str
    patch: int
    dtype: DTypeLike
    axis_name: str | None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h2 w2 d"]:
        x = patches_to_channels(x, self.patch)
        x = conv(self.planes, dtype=self.dtype, name="stem")(x)
        x = batch_norm(x, train=train, dtype=self.dtype, axis_name=self.axis_name, name="stem_norm")
        x = nn.relu(x)
        for stage in range(3):
            for block in range(self.blocks):
                x = ResidualBlock(
                    self.planes * 2**stage,
                    stride=2 if stage > 0 and block == 0 else 1,
                    shortcut=self.shortcut,
                    dtype=self.dtype,
                    axis_name=self.axis_name,
                    name=f"stage{stage + 1}_block{block + 1}",
                )(x, train=train)
        return x


class ResNetCifar(Classifier):
    """A residual network of depth 6n + 2; d = 4 planes, features non-negative.

    Convolutions start as He et al.'s (normal, variance 2 / fan_out), the linear layer uniform in +-1/sqrt(d)
    with zero bias. Gray or color images of any side from 4.

    Attributes:
      depth: 6n + 2 with n >= 1: 8, 14, 20, 32, 44, 56, 110, ...
      planes: width of the first stage.
      shortcut: where shapes change, "identity" (every second position, zero channels appended; option A) or
        "projection" (1x1 convolution and batch norm; option B).
      patch: side of the patches that become channels before the stem; 1 leaves pixels alone. 2 makes ResNet-8 3.5 times
        as fast on a CPU, for experiments of many runs; it is not part of the paper's network.
    """

    depth: int = 8
    planes: int = 16
    shortcut: str = "identity"
    patch: int = 1

    def __post_init__(self) -> None:
        positive_int("depth", self.depth)
        positive_int("planes", self.planes)
        positive_int("patch", self.patch)
        one_of("shortcut", self.shortcut, SHORTCUTS)
        if self.depth < 8 or (self.depth - 2) % 6:
            raise ValueError(f"depth must be 6n + 2 with n >= 1, such as 8, 14 or 20; got {self.depth}.")
        super().__post_init__()

    def make_trunk(self) -> nn.Module:
        """See `ResNetTrunk`."""
        return ResNetTrunk((self.depth - 2) // 6, self.planes, self.shortcut, self.patch, self.dtype, self.axis_name)

    def minimum_side(self) -> int:
        """4 patches: one position is left of them in the third stage."""
        return 4 * self.patch

    def _check(self, images: Array) -> None:
        super()._check(images)
        if images.shape[1] % self.patch or images.shape[2] % self.patch:
            raise ValueError(
                f"Sides of images must be multiples of patch, {self.patch}; got {images.shape[1]} x {images.shape[2]}."
            )
