"""Densely connected networks for small images (Huang et al. 2017).

DenseNet-40 with growth 12, of Heinonen et al.'s table 6 (2025) and AugMix's comparisons: three blocks of 12 layers, no
bottleneck, no compression. DenseNet-121 in the form for small images of kuangliu/pytorch-cifar: blocks of 6, 12, 24 and
16 bottleneck layers, growth 32, compression 0.5, a 3x3 stem without pooling.

| parameters, 3 channels, 10 classes | |
|---|---|
| DenseNet-40, growth 12 | 1,059,298: AugMix's layers, counted by hand; the paper gives 1.0 M |
| with `stem=16` | 1,019,722: Huang et al.'s text; published with DenseNet(L=40, k=12) checkpoints |
| DenseNet-121 | 6,956,298: tables made from kuangliu/pytorch-cifar |

The stem has twice the growth in planes, as in Huang et al.'s released code, AugMix's and kuangliu's; the paper's
text has 16 where there is neither bottleneck nor compression.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from mollax.checks import in_range, positive_int
from mollax.models.classifier import Classifier
from mollax.models.layers import batch_norm, conv, mean_pool2


class DenseLayer(nn.Module):
    """BN-ReLU-conv, after a BN-ReLU-1x1 conv of 4 `growth` planes if `bottleneck`; appends `growth` planes."""

    growth: int
    bottleneck: bool = False
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h w d"]:
        sizes = ((4 * self.growth, 1), (self.growth, 3)) if self.bottleneck else ((self.growth, 3),)
        y = x
        for i, (planes, size) in enumerate(sizes, start=1):
            y = batch_norm(y, train=train, dtype=self.dtype, axis_name=self.axis_name, name=f"norm{i}")
            y = conv(planes, size, dtype=self.dtype, name=f"conv{i}")(nn.relu(y))
        return jnp.concatenate([x, y], axis=-1)


class DenseNetTrunk(nn.Module):
    """Stem, blocks of dense layers with transitions between them, and a last BN-ReLU.

    A transition is BN-ReLU, a 1x1 convolution and a 2x2 average. Here the average comes first: a mean and a
    sum over planes commute, and the convolution has a quarter of the positions left.
    """

    layers: tuple[int, ...]
    growth: int
    bottleneck: bool
    compression: float
    stem: int
    dtype: DTypeLike
    axis_name: str | None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h2 w2 d"]:
        def norm_relu(x: Array, name: str) -> Array:
            return nn.relu(batch_norm(x, train=train, dtype=self.dtype, axis_name=self.axis_name, name=name))

        x = conv(self.stem, dtype=self.dtype, name="stem")(x)
        for block, layers in enumerate(self.layers, start=1):
            if block > 1:
                planes = math.floor(x.shape[-1] * self.compression)
                x = mean_pool2(norm_relu(x, f"transition{block - 1}_norm"))
                x = conv(planes, 1, dtype=self.dtype, name=f"transition{block - 1}_conv")(x)
            for i in range(1, layers + 1):
                name = f"block{block}_layer{i}"
                layer = DenseLayer(self.growth, self.bottleneck, self.dtype, self.axis_name, name=name)
                x = layer(x, train=train)
        return norm_relu(x, "norm")


class DenseNet(Classifier):
    """A densely connected network; features non-negative.

    Convolutions start He normal (variance 2 / fan_out, as Huang et al.'s released code), the linear layer
    uniform in +-1/sqrt(d) with zero bias. No dropout (Huang et al. have none with augmentation). Gray or color
    images of any side from 2^(blocks - 1); a transition leaves out the last row and column of an odd side.

    Attributes:
      layers: dense layers per block; a transition between blocks halves the side.
      growth: k, planes that each layer appends.
      bottleneck: a 1x1 convolution of 4k planes before each 3x3 one.
      compression: share in (0, 1] of the planes that a transition keeps, rounded down.
      stem: planes of the first convolution; 2 growth if None.
    """

    layers: tuple[int, ...] = (12, 12, 12)
    growth: int = 12
    bottleneck: bool = False
    compression: float = 1.0
    stem: int | None = None

    def __post_init__(self) -> None:
        positive_int("number of blocks", len(self.layers))
        for layers in self.layers:
            positive_int("layers of a block", layers)
        positive_int("growth", self.growth)
        in_range("compression", self.compression, 0.0, 1.0, open_low=True)
        if self.stem is not None:
            positive_int("stem", self.stem)
        super().__post_init__()

    def make_trunk(self) -> nn.Module:
        """See `DenseNetTrunk`."""
        stem = 2 * self.growth if self.stem is None else self.stem
        return DenseNetTrunk(
            self.layers, self.growth, self.bottleneck, self.compression, stem, self.dtype, self.axis_name
        )

    def minimum_side(self) -> int:
        """2^(blocks - 1): one position is left of it in the last block."""
        return 2 ** (len(self.layers) - 1)
