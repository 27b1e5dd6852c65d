"""Augerino's 13-layer network (Benton et al. 2020), table 2 of Singhal et al. 2023.

Nine 3x3 conv-BN-ReLU in three groups of three, planes k, k, 2k / 2k, 2k, 2k / 2k, 2k, 2k with k = 128; 2x2
max-pools after the first and second group; whole channels dropped with probability 0.3 after each group;
global average pooling and a linear layer. The name is inherited from the larger network it was cut from
(Laine and Aila's, whose last group has 512, 256 and 128 planes, valid and 1x1 convolutions); Singhal et al. compare on
Augerino's, so this is that one. Its convolutions have a bias before batch norm, which has no effect there;
ours have none, 2,048 parameters fewer.
"""

from __future__ import annotations

from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from mollax.checks import in_range, positive_int
from mollax.models.classifier import Classifier
from mollax.models.layers import batch_norm, conv, max_pool2


class Conv13Trunk(nn.Module):
    """The three groups."""

    width: int
    dropout: float
    dtype: DTypeLike
    axis_name: str | None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h2 w2 d"]:
        k = self.width
        for group, planes in enumerate(((k, k, 2 * k), (2 * k,) * 3, (2 * k,) * 3), start=1):
            if group > 1:
                x = max_pool2(x)
            for i, out in enumerate(planes, start=1):
                x = conv(out, dtype=self.dtype, name=f"conv{group}_{i}")(x)
                x = batch_norm(x, train=train, dtype=self.dtype, axis_name=self.axis_name, name=f"norm{group}_{i}")
                x = nn.relu(x)
            # Broadcast over positions: a channel is dropped as a whole (so it commutes with pooling).
            x = nn.Dropout(self.dropout, broadcast_dims=(1, 2), deterministic=not train)(x)
        return x


class Conv13(Classifier):
    """Nine convolutions, global average, linear; d = 2 width, features non-negative.

    At 3 channels and 10 classes: 3,991,434 parameters. Convolutions start He normal (variance 2 / fan_out),
    the linear layer uniform in +-1/sqrt(d) with zero bias. Gray or color images of any side from 4; a pool
    leaves out the last row and column of an odd side.

    Attributes:
      width: k, planes of the first two convolutions; the others have 2k. dropout: probability in [0, 1) that
        a channel is dropped in training (rng stream "dropout"), after each group.
    """

    width: int = 128
    dropout: float = 0.3

    def __post_init__(self) -> None:
        positive_int("width", self.width)
        in_range("dropout", self.dropout, 0.0, 1.0, open_high=True)
        super().__post_init__()

    def make_trunk(self) -> nn.Module:
        """See `Conv13Trunk`."""
        return Conv13Trunk(self.width, self.dropout, self.dtype, self.axis_name)

    def minimum_side(self) -> int:
        """4: one position is left of it in the third group."""
        return 4
