"""The critic of TV-OOD and of the other divergences: a head on a classifier's features (METHODS section 3)."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mollax import checks


class Critic(nn.Module):
    """Free outputs v of K classes and the extra label: a linear layer, or an MLP with ReLU, on features.

    That the critic sits on the classifier's features is our reading, the paper leaves it open. It computes in float32
    whatever the features are in: ranks by v must not tie. Outputs are before g; `bounded_critic` gives T of "tv". The
    last layer starts at zero, so v = 0 for every input: the critic that knows nothing, with E_Q[e^v] = 1 for "dv".
    Hidden layers start He normal (variance 2 / fan_in), biases at zero.

    Attributes:
      classes: K.
      hidden: widths of hidden layers; () is linear.
      stop_gradient: the features' network gets no gradient from the critic ("head only").
    """

    classes: int
    hidden: tuple[int, ...] = ()
    stop_gradient: bool = False

    def __post_init__(self) -> None:
        checks.positive_int("classes", self.classes)
        for width in self.hidden:
            checks.positive_int("each of hidden", width)
        super().__post_init__()

    @nn.compact
    def __call__(self, features: Float[Array, "n d"]) -> Float[Array, "n c"]:
        """Free outputs (n, K + 1), the last column that of the extra label."""
        checks.rank("features", features, 2, "(examples, features)")
        x = features.astype(jnp.float32)
        if self.stop_gradient:
            x = jax.lax.stop_gradient(x)
        he = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
        for i, width in enumerate(self.hidden, start=1):
            x = nn.relu(self._linear(width, he, f"hidden{i}")(x))
        return self._linear(self.classes + 1, nn.initializers.zeros, "outputs")(x)

    def _linear(self, width: int, init: nn.initializers.Initializer, name: str) -> nn.Dense:
        """A layer in full float32, on hardware that rounds products too."""
        return nn.Dense(width, dtype=jnp.float32, precision=jax.lax.Precision.HIGHEST, kernel_init=init, name=name)
