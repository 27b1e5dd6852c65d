"""A multilayer perceptron on the pixels, the classifier of Singhal et al. (2023) for small sprites."""

from __future__ import annotations

from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from mollax.checks import in_range, positive_int
from mollax.models.classifier import Classifier
from mollax.models.layers import he_fan_in


class MLPTrunk(nn.Module):
    """Flatten, then linear-ReLU-dropout per hidden layer; the result stands at one position, (n, 1, 1, d)."""

    hidden: tuple[int, ...]
    dropout: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n 1 1 d"]:
        x = x.reshape(x.shape[0], 1, 1, -1).astype(self.dtype)
        for i, width in enumerate(self.hidden, start=1):
            x = nn.relu(nn.Dense(width, dtype=self.dtype, kernel_init=he_fan_in, name=f"hidden{i}")(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return x


class MLP(Classifier):
    """Linear layers with ReLU; d = hidden[-1], features non-negative. Any side, but one: the first.

    It has no maps: `feature_maps` gives the features at one position, (n, 1, 1, d), so that methods on maps
    treat it as they treat every other network. `hidden=()` is multinomial logistic regression on the pixels.
    Hidden layers start He normal (variance 2 / fan_in) with zero bias, the last uniform in +-1/sqrt(d).
    `axis_name` is not used: there is no batch norm. At 32 x 32 x 3 and 10 classes: 1,841,162 parameters.

    Attributes:
      hidden: widths of the hidden layers.
      dropout: probability in [0, 1) that a hidden unit is dropped in training (rng stream "dropout").
    """

    hidden: tuple[int, ...] = (512, 512)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for width in self.hidden:
            positive_int("each of hidden", width)
        in_range("dropout", self.dropout, 0.0, 1.0, open_high=True)
        super().__post_init__()

    def make_trunk(self) -> nn.Module:
        """See `MLPTrunk`."""
        return MLPTrunk(self.hidden, self.dropout, self.dtype)
