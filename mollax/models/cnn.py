"""The 5-layer CNN of Singhal et al. 2023 (appendix A.3.4), as a classifier.

Four 3x3 convolutions (32, 64, 128, 256) with ReLU, 2x2 max-pools after the second, third and fourth, the
maximum over the positions that are left, and a linear layer: METHODS section 2. They use it as the pose
network; Augerino's, which it follows, has batch norm after each convolution (`batch_norm=True`).
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from mollax.checks import positive_int
from mollax.models.classifier import Classifier
from mollax.models.layers import batch_norm, conv, he_fan_in, max_pool2


class CNNTrunk(nn.Module):
    """The convolutions, with a max-pool after each but the first. Biases only where no batch norm follows."""

    widths: tuple[int, ...]
    norm: bool
    dtype: DTypeLike
    axis_name: str | None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h2 w2 d"]:
        for i, width in enumerate(self.widths, start=1):
            layer = conv(width, bias=not self.norm, dtype=self.dtype, init=he_fan_in, name=f"conv{i}")
            x = layer(x)
            if self.norm:
                x = batch_norm(x, train=train, dtype=self.dtype, axis_name=self.axis_name, name=f"norm{i}")
            x = nn.relu(x)
            if i > 1:
                x = max_pool2(x)
        return x


class CNN(Classifier):
    """Convolutions, pools, global maximum, linear; d = widths[-1], features non-negative.

    At 3 channels and 10 classes: 390,986 parameters, 391,466 with batch norm. Convolutions start He normal
    (variance 2 / fan_in) with zero bias, the linear layer uniform in +-1/sqrt(d). Gray or color images of
    any side from 2^(len(widths) - 1), 8 by default; a pool leaves out the last row and column of an odd
    side.

    Attributes:
      widths: planes of the convolutions.
      batch_norm: batch norm between each convolution and its ReLU.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    batch_norm: bool = False

    def __post_init__(self) -> None:
        positive_int("number of widths", len(self.widths))
        for width in self.widths:
            positive_int("each of widths", width)
        super().__post_init__()

    def make_trunk(self) -> nn.Module:
        """See `CNNTrunk`."""
        return CNNTrunk(self.widths, self.batch_norm, self.dtype, self.axis_name)

    def minimum_side(self) -> int:
        """2^(number of pools): one position is left of it."""
        return 2 ** (len(self.widths) - 1)

    def pool(self, maps: Float[Array, "n h w d"]) -> Float[Array, "n d"]:
        """The maximum over positions, the first of equal ones: see `layers.larger` for why not `jnp.max`."""
        # Not -1, which could not tell the size if there are no images.
        rows = maps.reshape(maps.shape[0], maps.shape[1] * maps.shape[2], maps.shape[3])
        return jnp.take_along_axis(rows, jnp.argmax(rows, axis=1, keepdims=True), axis=1)[:, 0]
