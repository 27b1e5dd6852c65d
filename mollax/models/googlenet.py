"""GoogLeNet for small images (Szegedy et al. 2015, "Going deeper with convolutions").

A network of table 6 of Heinonen et al. (2025).

In the form of kuangliu/pytorch-cifar: a 3x3 stem of 192 planes instead of the three-layer one, then the paper's
nine inception blocks (its table 1) with 3x3 max-pools at stride 2 before blocks 4a and 5a, batch norm after every
convolution, two 3x3 convolutions for each 5x5 one, no dropout and no auxiliary classifiers. Convolutions have a
bias before batch norm, as there; it has no effect.

6,166,250 parameters at 3 channels and 10 classes, the number of tables made from kuangliu/pytorch-cifar.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from mollax.checks import positive_int
from mollax.models.classifier import Classifier
from mollax.models.layers import batch_norm, conv, max_pool3

# Six numbers of planes for one block: 1x1; 1x1 before 3x3, 3x3; 1x1 before 5x5, 5x5; 1x1 after the pool.
Widths = tuple[int, ...]
# Szegedy et al.'s table 1: blocks 3a, 3b; 4a to 4e; 5a, 5b.
STAGES: tuple[tuple[Widths, ...], ...] = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)


class ConvNormRelu(nn.Module):
    """Convolution with bias, batch norm, ReLU."""

    planes: int
    size: int
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h w d"]:
        x = conv(self.planes, self.size, bias=True, dtype=self.dtype, name="conv")(x)
        return nn.relu(batch_norm(x, train=train, dtype=self.dtype, axis_name=self.axis_name, name="norm"))


class Inception(nn.Module):
    """Four branches side by side: 1x1; 1x1, 3x3; 1x1, 3x3, 3x3; 3x3 max-pool at stride 1, 1x1."""

    widths: Widths
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h w d"]:
        def layer(x: Array, planes: int, size: int, name: str) -> Array:
            return ConvNormRelu(planes, size, self.dtype, self.axis_name, name=name)(x, train=train)

        one, reduce3, three, reduce5, five, pooled = self.widths
        branches = [
            layer(x, one, 1, "one"),
            layer(layer(x, reduce3, 1, "three_reduce"), three, 3, "three"),
            layer(layer(layer(x, reduce5, 1, "five_reduce"), five, 3, "five1"), five, 3, "five2"),
            layer(max_pool3(x), pooled, 1, "pooled"),
        ]
        return jnp.concatenate(branches, axis=-1)


class GoogLeNetTrunk(nn.Module):
    """Stem and stages of inception blocks, a max-pool before each stage but the first."""

    stages: tuple[tuple[Widths, ...], ...]
    stem: int
    dtype: DTypeLike
    axis_name: str | None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h2 w2 d"]:
        x = ConvNormRelu(self.stem, 3, self.dtype, self.axis_name, name="stem")(x, train=train)
        for stage, blocks in enumerate(self.stages, start=1):
            x = max_pool3(x, stride=2) if stage > 1 else x
            for i, widths in enumerate(blocks, start=1):
                name = f"stage{stage}_block{i}"
                x = Inception(widths, self.dtype, self.axis_name, name=name)(x, train=train)
        return x


class GoogLeNet(Classifier):
    """Inception blocks, global average, linear; d = 1024 by default, features non-negative.

    Convolutions start He normal (variance 2 / fan_out) with zero bias, the linear layer uniform in +-1/sqrt(d)
    with zero bias. Gray or color images of any side from 2^(stages - 1), 4 by default; sides need not be even.

    Attributes:
      stages: six widths for every block of every stage, in the order of `Widths`; a max-pool between stages
        halves the side.
      stem: planes of the first convolution.
    """

    stages: tuple[tuple[Widths, ...], ...] = STAGES
    stem: int = 192

    def __post_init__(self) -> None:
        positive_int("stem", self.stem)
        positive_int("number of stages", len(self.stages))
        for blocks in self.stages:
            positive_int("blocks of a stage", len(blocks))
            for widths in blocks:
                if len(widths) != 6:
                    raise ValueError(f"an inception block needs six widths (see `Widths`); got {widths}.")
                for width in widths:
                    positive_int("each of widths", width)
        super().__post_init__()

    def make_trunk(self) -> nn.Module:
        """See `GoogLeNetTrunk`."""
        return GoogLeNetTrunk(self.stages, self.stem, self.dtype, self.axis_name)

    def minimum_side(self) -> int:
        """2^(stages - 1): one position is left of it in the last stage."""
        return 2 ** (len(self.stages) - 1)
