"""Pre-activation residual networks for small images (He et al. 2016, "Identity mappings").

The form of Heinonen et al.'s experiments (2025): a 3x3 stem without max-pool, four stages at strides 1, 2, 2, 2, global
average pooling and a linear layer, *without* batch norm or ReLU after the last block. The penultimate features are
therefore signed; scores that need non-negative ones (ASH, for one) want `final_norm=True`, the form of He et
al. (Heinonen et al. also start from PyTorch's default, variance 1 / (3 fan_in); batch norm hides most of that
difference.)

| parameters, 3 channels | 10 classes | 100 classes | 200 classes |
|---|---|---|---|
| PreActResNet-50 | 23,509,066 | 23,693,476 | 23,898,376 |
| with `final_norm` | 23,513,162 | 23,697,572 | 23,902,472 |
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from mollax.checks import one_of, positive_int
from mollax.models.classifier import Classifier
from mollax.models.layers import batch_norm, conv

# Stages of the published depths: the number of blocks at each resolution, and the kind of block.
DEPTHS: dict[int, tuple[str, tuple[int, ...]]] = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
}
BLOCKS = ("basic", "bottleneck")


class PreActBlock(nn.Module):
    """BN-ReLU-conv, repeated, plus the shortcut.

    "basic": two 3x3 convolutions of `planes`. "bottleneck": 1x1 and 3x3 (which has the stride) of `planes`,
    then 1x1 of 4 `planes`. Where shapes change, the shortcut is a 1x1 convolution (no batch norm) of the
    *pre-activated* input; elsewhere it is the raw input.
    """

    kind: str
    planes: int
    stride: int = 1
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h2 w2 d"]:
        layers: tuple[tuple[int, int, int], ...]
        if self.kind == "basic":
            layers = ((self.planes, 3, self.stride), (self.planes, 3, 1))
        else:
            layers = ((self.planes, 1, 1), (self.planes, 3, self.stride), (4 * self.planes, 1, 1))
        out_planes = layers[-1][0]
        shortcut = y = x
        for i, (planes, size, stride) in enumerate(layers, start=1):
            y = batch_norm(y, train=train, dtype=self.dtype, axis_name=self.axis_name, name=f"norm{i}")
            y = nn.relu(y)
            if i == 1 and (self.stride != 1 or x.shape[-1] != out_planes):
                project = conv(out_planes, 1, stride=self.stride, dtype=self.dtype, name="shortcut")
                shortcut = project(y)
            y = conv(planes, size, stride=stride, dtype=self.dtype, name=f"conv{i}")(y)
        return shortcut + y


class PreActTrunk(nn.Module):
    """Stem, stages and, with `final_norm`, a last BN-ReLU. Planes double from stage to stage."""

    block: str
    stages: tuple[int, ...]
    planes: int
    final_norm: bool
    dtype: DTypeLike
    axis_name: str | None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h2 w2 d"]:
        x = conv(self.planes, dtype=self.dtype, name="stem")(x)
        for stage, blocks in enumerate(self.stages):
            for block in range(blocks):
                x = PreActBlock(
                    self.block,
                    self.planes * 2**stage,
                    stride=2 if stage > 0 and block == 0 else 1,
                    dtype=self.dtype,
                    axis_name=self.axis_name,
                    name=f"stage{stage + 1}_block{block + 1}",
                )(x, train=train)
        if self.final_norm:
            x = batch_norm(x, train=train, dtype=self.dtype, axis_name=self.axis_name, name="norm")
            x = nn.relu(x)
        return x


class PreActResNet(Classifier):
    """A pre-activation residual network; d = planes x 2^(stages - 1), x 4 for bottlenecks.

    Convolutions start as He et al.'s (normal, variance 2 / fan_out), the linear layer uniform in +-1/sqrt(d)
    with zero bias. Gray or color images of any side from 2^(stages - 1), 8 by default; sides need not be
    even.

    Attributes:
      block: "basic" or "bottleneck".
      stages: blocks per stage; every stage but the first halves the side.
      planes: width of the first stage.
      final_norm: batch norm and ReLU before pooling (adds 2 d parameters).
    """

    block: str = "basic"
    stages: tuple[int, ...] = (2, 2, 2, 2)
    planes: int = 64
    final_norm: bool = False

    def __post_init__(self) -> None:
        one_of("block", self.block, BLOCKS)
        positive_int("planes", self.planes)
        positive_int("number of stages", len(self.stages))
        for blocks in self.stages:
            positive_int("blocks of a stage", blocks)
        super().__post_init__()

    def make_trunk(self) -> nn.Module:
        """See `PreActTrunk`."""
        return PreActTrunk(self.block, self.stages, self.planes, self.final_norm, self.dtype, self.axis_name)

    def minimum_side(self) -> int:
        """2^(stages - 1): one position is left of it in the last stage."""
        return 2 ** (len(self.stages) - 1)
