"""Residual networks with four stages (He et al. 2016, "Deep residual learning"): ResNet-18, -34 and -50.

Post-activation: conv-BN-ReLU, the last ReLU after the sum; the shortcut is a 1x1 convolution with batch norm
where shapes change (option B). In bottlenecks the 3x3 convolution has the stride, as in every PyTorch version.
Two stems: "cifar", 3x3 without pooling, the widely used form for small images (kuangliu/pytorch-cifar), and
"imagenet", 7x7 at stride 2 and a 3x3 max-pool at stride 2 (He et al.; torchvision).

| parameters, 3 channels | cifar, 10 classes | imagenet, 1000 classes |
|---|---|---|
| ResNet-18 | 11,173,962 | 11,689,512 |
| ResNet-34 | 21,282,122 | 21,797,672 |
| ResNet-50 | 23,520,842 | 25,557,032 |

The first column is that of tables made from kuangliu/pytorch-cifar, the second torchvision's "num_params".
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from mollax.checks import one_of, positive_int
from mollax.models.classifier import Classifier
from mollax.models.layers import batch_norm, conv, max_pool3

BLOCKS = ("basic", "bottleneck")
STEMS = ("cifar", "imagenet")


class Layer(NamedTuple):
    """One convolution of a block."""

    planes: int
    size: int
    stride: int = 1
    groups: int = 1


def basic(planes: int, *, stride: int = 1) -> tuple[Layer, ...]:
    """Two 3x3 convolutions of `planes`, the first with the stride."""
    return Layer(planes, 3, stride), Layer(planes, 3)


def bottleneck(planes: int, *, stride: int = 1, inner: int | None = None, groups: int = 1) -> tuple[Layer, ...]:
    """1x1 and 3x3 (with stride and `groups`) of `inner` planes (default: `planes`), then 1x1 of 4 `planes`."""
    inner = planes if inner is None else inner
    return Layer(inner, 1), Layer(inner, 3, stride, groups), Layer(4 * planes, 1)


class ResidualBlock(nn.Module):
    """relu(shortcut(x) + BN conv ... relu BN conv (x)) of the given convolutions."""

    layers: tuple[Layer, ...]
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h2 w2 d"]:
        def norm(x: Array, name: str) -> Array:
            return batch_norm(x, train=train, dtype=self.dtype, axis_name=self.axis_name, name=name)

        y, total = x, 1
        for i, (planes, size, stride, groups) in enumerate(self.layers, start=1):
            y = nn.relu(y) if i > 1 else y
            y = conv(planes, size, stride=stride, groups=groups, dtype=self.dtype, name=f"conv{i}")(y)
            y = norm(y, f"norm{i}")
            total *= stride
        if total != 1 or x.shape[-1] != y.shape[-1]:
            project = conv(y.shape[-1], 1, stride=total, dtype=self.dtype, name="shortcut")
            x = norm(project(x), "shortcut_norm")
        return nn.relu(x + y)


class ResNetTrunk(nn.Module):
    """Stem of `planes` and stages of blocks, each given by its convolutions."""

    planes: int
    stem: str
    stages: tuple[tuple[tuple[Layer, ...], ...], ...]
    dtype: DTypeLike
    axis_name: str | None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h2 w2 d"]:
        size, stride = (3, 1) if self.stem == "cifar" else (7, 2)
        x = conv(self.planes, size, stride=stride, dtype=self.dtype, name="stem")(x)
        x = batch_norm(x, train=train, dtype=self.dtype, axis_name=self.axis_name, name="stem_norm")
        x = nn.relu(x)
        if self.stem == "imagenet":
            x = max_pool3(x, stride=2)
        for stage, blocks in enumerate(self.stages, start=1):
            for i, layers in enumerate(blocks, start=1):
                name = f"stage{stage}_block{i}"
                x = ResidualBlock(layers, self.dtype, self.axis_name, name=name)(x, train=train)
        return x


class ResNet(Classifier):
    """A residual network; d = planes x 2^(stages - 1), x 4 for bottlenecks; features non-negative.

    Convolutions start as He et al.'s (normal, variance 2 / fan_out), the linear layer uniform in +-1/sqrt(d)
    with zero bias; every batch norm starts at scale 1. Gray or color images of any side from 2^(stages - 1), 8
    by default, four times that with the "imagenet" stem; sides need not be even.

    Attributes:
      block: "basic" or "bottleneck".
      stages: blocks per stage; every stage but the first halves the side.
      stem: "cifar" or "imagenet".
      planes: width of the stem and the first stage; planes double from stage to stage.
    """

    block: str = "basic"
    stages: tuple[int, ...] = (2, 2, 2, 2)
    stem: str = "cifar"
    planes: int = 64

    def __post_init__(self) -> None:
        one_of("block", self.block, BLOCKS)
        one_of("stem", self.stem, STEMS)
        positive_int("planes", self.planes)
        positive_int("number of stages", len(self.stages))
        for blocks in self.stages:
            positive_int("blocks of a stage", blocks)
        super().__post_init__()

    def make_trunk(self) -> nn.Module:
        """See `ResNetTrunk`."""
        block = basic if self.block == "basic" else bottleneck
        stages = tuple(
            tuple(block(self.planes * 2**stage, stride=2 if stage > 0 and i == 0 else 1) for i in range(blocks))
            for stage, blocks in enumerate(self.stages)
        )
        return ResNetTrunk(self.planes, self.stem, stages, self.dtype, self.axis_name)

    def minimum_side(self) -> int:
        """2^(stages - 1), x 4 after the "imagenet" stem: one position is left of it in the last stage."""
        return 2 ** (len(self.stages) - 1) * (4 if self.stem == "imagenet" else 1)
