"""ResNeXt of depth 9n + 2 for small images (Xie et al. 2017, "Aggregated residual transformations", section 5.3).

ResNeXt-29 4x32d (cardinality 4, base width 32) is the second network of Heinonen et al.'s table 6 (2025), in
the form of AugMix's (google-research/augmix, third_party/ResNeXt_DenseNet/models/resnext.py): a 3x3 stem of 64 planes,
three stages of n bottlenecks of 256, 512 and 1024 planes whose 3x3 convolution is grouped, post-activation.

Parameters at 3 channels and 10 classes: 6,807,882 for 4x32d, AugMix's layers counted by hand. With the same
code 34,426,698 for 8x64d and 68,155,210 for 16x64d, Xie et al.'s 34.4 M and 68.1 M (table 7).
"""

from __future__ import annotations

from flax import linen as nn

from mollax.checks import positive_int
from mollax.models.classifier import Classifier
from mollax.models.resnet import ResNetTrunk, bottleneck


class ResNeXt(Classifier):
    """A residual network of grouped bottlenecks; d = 16 planes, features non-negative.

    Convolutions start as He et al.'s (normal, variance 2 / fan_out with the fan of all groups' outputs, as
    AugMix's), the linear layer uniform in +-1/sqrt(d) with zero bias. Gray or color images of any side from 4.

    Attributes:
      depth: 9n + 2 with n >= 1: 11, 20, 29, ...
      cardinality: groups of the 3x3 convolutions.
      base_width: planes of one group in the first stage; doubles from stage to stage.
      planes: width of the stem; the stages give 4, 8 and 16 times as many.
    """

    depth: int = 29
    cardinality: int = 4
    base_width: int = 32
    planes: int = 64

    def __post_init__(self) -> None:
        for name in ("depth", "cardinality", "base_width", "planes"):
            positive_int(name, getattr(self, name))
        if self.depth < 11 or (self.depth - 2) % 9:
            raise ValueError(f"depth must be 9n + 2 with n >= 1, such as 11, 20 or 29; got {self.depth}.")
        super().__post_init__()

    def make_trunk(self) -> nn.Module:
        """See `mollax.models.resnet.ResNetTrunk`."""
        stages = tuple(
            tuple(
                bottleneck(
                    self.planes * 2**stage,
                    stride=2 if stage > 0 and i == 0 else 1,
                    inner=self.cardinality * self.base_width * 2**stage,
                    groups=self.cardinality,
                )
                for i in range((self.depth - 2) // 9)
            )
            for stage in range(3)
        )
        return ResNetTrunk(self.planes, "cifar", stages, self.dtype, self.axis_name)

    def minimum_side(self) -> int:
        """4: one position is left of it in the third stage."""
        return 4
