"""Wide residual networks (Zagoruyko and Komodakis 2016): WRN-depth-width.

Pre-activation residual networks of depth 6n + 4: a 3x3 stem of 16 planes, three stages of n blocks with 16, 32
and 64 times `width` planes at strides 1, 2, 2, a last BN-ReLU, global average, linear. Dropout, if any, lies
between the two convolutions of a block. Where shapes change, the shortcut is a 1x1 convolution of the
pre-activated input. WRN-40-2 is the network of table 6 of Heinonen et al. 2025 and of AugMix's comparisons.

| parameters, 3 channels | 10 classes | 100 classes | published |
|---|---|---|---|
| WRN-40-2 | 2,243,546 | 2,255,156 | 2.2 M (the paper's table 4) |
| WRN-28-10 | 36,479,194 | 36,536,884 | 36.5 M (table 4) |
| WRN-40-10 | 55,841,754 | 55,899,444 | none found; the same layers, counted |
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from mollax.checks import in_range, positive_int
from mollax.models.classifier import Classifier
from mollax.models.layers import batch_norm, conv


class WideBlock(nn.Module):
    """BN-ReLU-conv, BN-ReLU-dropout-conv, plus the shortcut; both convolutions 3x3, the first with the stride."""

    planes: int
    stride: int = 1
    dropout: float = 0.0
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h2 w2 d"]:
        def norm_relu(x: Array, name: str) -> Array:
            return nn.relu(batch_norm(x, train=train, dtype=self.dtype, axis_name=self.axis_name, name=name))

        shortcut, y = x, norm_relu(x, "norm1")
        if self.stride != 1 or x.shape[-1] != self.planes:
            shortcut = conv(self.planes, 1, stride=self.stride, dtype=self.dtype, name="shortcut")(y)
        y = conv(self.planes, stride=self.stride, dtype=self.dtype, name="conv1")(y)
        y = norm_relu(y, "norm2")
        y = nn.Dropout(self.dropout, deterministic=not train)(y)
        return shortcut + conv(self.planes, dtype=self.dtype, name="conv2")(y)


class WideResNetTrunk(nn.Module):
    """Stem, three stages of `blocks` blocks, last BN-ReLU."""

    blocks: int
    width: int
    dropout: float
    dtype: DTypeLike
    axis_name: str | None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h2 w2 d"]:
        x = conv(16, dtype=self.dtype, name="stem")(x)
        for stage in range(3):
            for block in range(self.blocks):
                x = WideBlock(
                    16 * self.width * 2**stage,
                    stride=2 if stage > 0 and block == 0 else 1,
                    dropout=self.dropout,
                    dtype=self.dtype,
                    axis_name=self.axis_name,
                    name=f"stage{stage + 1}_block{block + 1}",
                )(x, train=train)
        return nn.relu(batch_norm(x, train=train, dtype=self.dtype, axis_name=self.axis_name, name="norm"))


class WideResNet(Classifier):
    """WRN-depth-width; d = 64 width, features non-negative.

    Convolutions start as He et al.'s (normal, variance 2 / fan_out, as in the authors' code), the linear layer
    uniform in +-1/sqrt(d) with zero bias. Gray or color images of any side from 4; sides need not be even.

    Attributes:
      depth: 6n + 4 with n >= 1: 10, 16, 22, 28, 40, ...
      width: k, times the planes of a plain residual network.
      dropout: probability in [0, 1) that a unit between the convolutions of a block is dropped in training (rng
        stream "dropout"); the paper has 0.3 for CIFAR where it has any.
    """

    depth: int = 40
    width: int = 2
    dropout: float = 0.0

    def __post_init__(self) -> None:
        positive_int("depth", self.depth)
        positive_int("width", self.width)
        in_range("dropout", self.dropout, 0.0, 1.0, open_high=True)
        if self.depth < 10 or (self.depth - 4) % 6:
            raise ValueError(f"depth must be 6n + 4 with n >= 1, such as 16, 28 or 40; got {self.depth}.")
        super().__post_init__()

    def make_trunk(self) -> nn.Module:
        """See `WideResNetTrunk`."""
        return WideResNetTrunk((self.depth - 4) // 6, self.width, self.dropout, self.dtype, self.axis_name)

    def minimum_side(self) -> int:
        """4: one position is left of it in the third stage."""
        return 4
