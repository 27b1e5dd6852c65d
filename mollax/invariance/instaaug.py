"""InstaAug, mean-field (Miao et al. 2022, "Learning instance-specific augmentations by capturing local invariances").

Each parameter is uniform between two ends that are predicted from the image, independently of the other parameters. The
paper's other form, a categorical distribution over crops, is `mollax.invariance.crop_grid`.
"""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from mollax import checks
from mollax.invariance.draws import Draws, matrices_of
from mollax.invariance.transforms import DEFAULT_LIMITS, KINDS, Limit, dimension
from mollax.invariance.uniform import check_call, uniform_noise

_START = -2.0  # an end starts at sigmoid(-2) = .12 of its range, as in the authors' code for rotations
# Intervals that crops start with, in units of the bound: centre x, centre y, width, height.
_CROP_START = np.array([(-0.12, 0.12), (-0.12, 0.12), (0.72, 0.96), (0.72, 0.96)])


class InstaAug(nn.Module):
    """Parameters uniform in [lower_i(I), upper_i(I)], each end a linear function of the embedding in a sigmoid.

    With l, u the outputs of the projection and B the bound:

    - transforms whose identity is 0 (all but crops): lower = -B sigmoid(l - 2), upper = B sigmoid(u - 2). The interval
      contains the identity and is as lopsided as the image asks for: both width and centre are predicted.
    - crops, which have no such centre: upper = -B + 2 B b, lower = -B + 2 B a b with a, b in (0, 1) sigmoids, so that
      any interval in (-B, B) can be reached and the ends keep their order. They start as centres within +-.12 and sizes
      near the top of the limits.

    Entropy sum_i log(upper_i - lower_i), penalty -entropy; its weight is meant to be moved by the multiplicative
    controller of the paper, which keeps the mean entropy in a range.

    What the paper's code (github.com/NingMiao/InstaAug) does and this does not: for rotations and colors its "entropy"
    is the sum of the two ends, not the logarithm of the width; its mean-field crops are square (one size), and their
    ends, free in (-1, 1) and not ordered, start with width 0, where the entropy would be -infinity.

    Attributes:
      kind: of the transform, see `affine_matrix`.
      pose: images to embeddings, called as `pose(images, train=False)`.
      entry_range: see `affine_matrix`.
      bound: B; for crops at most 1, beyond which they would leave the image.
      init_scale: of the projection's initial weights, 0.1 in the authors' code.
    """

    kind: str
    pose: nn.Module
    entry_range: float = math.pi
    bound: float = 1.0
    init_scale: float = 0.1

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, KINDS)
        checks.in_range("bound", self.bound, 0.0, 1.0 if self.kind == "crop" else None, open_low=True)
        checks.in_range("init_scale", self.init_scale, 0.0, open_low=True)
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        keys: Key[Array, " b"],
        images: Float[Array, "b h w c"],
        *,
        n: int,
        limits: tuple[Limit, Limit] = DEFAULT_LIMITS,
    ) -> Draws:
        """n transforms an image; see `Draws`."""
        check_call(keys, images, n)
        d = dimension(self.kind)
        lower, log_width = self._interval(project(self.pose, images, 2 * d, init_scale=self.init_scale))
        share = (uniform_noise(keys, n, d) + 1) / 2
        params = lower[:, None] + jnp.exp(log_width)[:, None] * share
        entropy = jnp.sum(log_width, -1)
        return Draws(
            params,
            matrices_of(params, kind=self.kind, entry_range=self.entry_range, limits=limits),
            jnp.broadcast_to(-entropy[:, None], params.shape[:2]),
            entropy,
            -entropy,
        )

    def _interval(self, raw: Float[Array, "b ends"]) -> tuple[Float[Array, "b d"], Float[Array, "b d"]]:
        """Lower end and log of the width, the latter by logarithms all through: it may be tiny."""
        left, right = jnp.split(raw, 2, axis=-1)
        if self.kind != "crop":
            left, right = jax.nn.log_sigmoid(left + _START), jax.nn.log_sigmoid(right + _START)
            return -self.bound * jnp.exp(left), math.log(self.bound) + jnp.logaddexp(left, right)
        low, high = (_CROP_START.T + 1) / 2
        left += _logit(low / high)[None]
        right += _logit(high)[None]
        lower = self.bound * (2 * nn.sigmoid(left) * nn.sigmoid(right) - 1)
        return lower, math.log(2 * self.bound) + jax.nn.log_sigmoid(-left) + jax.nn.log_sigmoid(right)


def project(
    pose: nn.Module, images: Float[Array, "b h w c"], outputs: int, *, init_scale: float
) -> Float[Array, "b outputs"]:
    """A linear layer on the embeddings of the images, its initial weights scaled; call it in a compact method.

    Raises:
      ValueError: for an embedding that is not (b, e).
    """
    embedding = pose(images, train=False)
    checks.rank("The embedding that pose returns", embedding, 2, "(batch, features)")
    small = nn.initializers.variance_scaling(init_scale**2, "fan_in", "truncated_normal")
    # Half-precision products would shift ends and means by percents.
    layer = nn.Dense(outputs, dtype=jnp.float32, precision="highest", kernel_init=small, name="projection")
    return layer(embedding)


def _logit(p: Float[np.ndarray, " d"]) -> Float[Array, " d"]:
    return jnp.asarray(np.log(p) - np.log1p(-p), jnp.float32)
