"""AllConv-10: nine convolutions and a linear layer, the first network of table 6 of Heinonen et al. 2025.

Springenberg et al. 2015 ("Striving for simplicity") in the form of AugMix's comparisons (google-research/augmix,
models/cifar/allconv.py): max-pools for strided convolutions, batch norm, GELU, and a linear layer after the
global average. Convolutions have a bias before batch norm, as there; it has no effect. One deviation: AugMix's
1x1 convolutions are padded by 1, which puts a border of constants around the last maps, and its 8x8 average then
leaves out two rows and columns; ours are not padded, as in Springenberg et al., and the average is over all.

1,409,674 parameters at 3 channels and 10 classes, as AugMix's layers (counted by hand in the test; Springenberg
et al. give about 1.4 M).
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from mollax.checks import in_range, positive_int
from mollax.models.classifier import Classifier
from mollax.models.layers import batch_norm, conv, max_pool2


def sigmoid_gelu(x: Float[Array, "*axes"]) -> Float[Array, "*axes"]:
    """x sigmoid(1.702 x), the approximation of GELU (Hendrycks and Gimpel 2016, section 2) that AugMix uses."""
    return x * nn.sigmoid(1.702 * x)


class ConvNormGelu(nn.Module):
    """Convolution with bias, batch norm, GELU."""

    planes: int
    size: int = 3
    pad: int | None = None
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h2 w2 d"]:
        x = conv(self.planes, self.size, pad=self.pad, bias=True, dtype=self.dtype, name="conv")(x)
        x = batch_norm(x, train=train, dtype=self.dtype, axis_name=self.axis_name, name="norm")
        return sigmoid_gelu(x)


class AllConvTrunk(nn.Module):
    """Two groups of three 3x3 convolutions, each with max-pool and dropout; then 3x3 unpadded, 1x1, 1x1."""

    widths: tuple[int, ...]
    dropout: float
    dtype: DTypeLike
    axis_name: str | None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h2 w2 d"]:
        def layer(x: Array, name: str, planes: int, size: int = 3, pad: int | None = None) -> Array:
            block = ConvNormGelu(planes, size, pad, self.dtype, self.axis_name, name=name)
            return block(x, train=train)

        for group, planes in enumerate(self.widths, start=1):
            for i in (1, 2, 3):
                x = layer(x, f"layer{group}_{i}", planes)
            x = max_pool2(x)
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        planes = self.widths[-1]
        x = layer(x, "layer3_1", planes, pad=0)
        x = layer(x, "layer3_2", planes, 1)
        return layer(x, "layer3_3", planes, 1)


class AllConv(Classifier):
    """Nine convolutions, global average, linear; d = widths[1], features at least GELU's minimum, -0.17.

    Convolutions start He normal (variance 2 / fan_out, as AugMix's) with zero bias, the linear layer uniform in
    +-1/sqrt(d) with zero bias. Gray or color images of any side from 12; a pool leaves out the last row and
    column of an odd side.

    Attributes:
      widths: planes of the first three convolutions, and of the other six.
      dropout: probability in [0, 1) that a unit is dropped in training (rng stream "dropout"), after each pool.
    """

    widths: tuple[int, ...] = (96, 192)
    dropout: float = 0.5

    def __post_init__(self) -> None:
        if len(self.widths) != 2:
            raise ValueError(
                f"widths must be two numbers, of the first three and the other convolutions; got {self.widths}."
            )
        for width in self.widths:
            positive_int("each of widths", width)
        in_range("dropout", self.dropout, 0.0, 1.0, open_high=True)
        super().__post_init__()

    def make_trunk(self) -> nn.Module:
        """See `AllConvTrunk`."""
        return AllConvTrunk(self.widths, self.dropout, self.dtype, self.axis_name)

    def minimum_side(self) -> int:
        """12: halved twice it is 3, of which the unpadded convolution leaves one position."""
        return 12
