"""The probabilistic spatial transformer (Schwoebel et al. 2022): a Gaussian over the parameters, given the image."""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from mollax import checks
from mollax.invariance.draws import Draws, matrices_of
from mollax.invariance.instaaug import project
from mollax.invariance.transforms import DEFAULT_LIMITS, KINDS, Limit, dimension
from mollax.invariance.uniform import check_call


class Gaussian(nn.Module):
    """Parameters m(I) + s(I) e, e standard normal, independent over the parameters; m, log s linear in the embedding.

    The loss is the negative evidence bound with prior N(0, p^2), p the `prior_scale`: cross-entropy + penalty (weight
    1) with

        penalty = KL[N(m, s^2) || N(0, p^2)] = sum_i (s_i^2 + m_i^2) / (2 p^2) - 1/2 - log(s_i / p),

    which stands for the entropy control of the other methods. Entropy sum_i log s_i + d/2 log(2 pi e). The projection
    starts small: m near 0, the identity, and s near p, where the penalty is 0.

    This is the Gaussian form, as Singhal et al. (2023) describe the method and as one version of the authors' code
    (github.com/FrederikWarburg/pSTN-baselines) has it, where p is .1. The named variant of that code draws from a
    Student t instead: precisions are gamma distributed with a fixed shape a and a predicted rate b, which makes 2 a
    degrees of freedom, location m and scale sqrt(b / a). The Gaussian is its limit of large a; the variant is not built
    here. Unbounded parameters are no boxes inside the image, so kind "crop" is refused.

    Attributes:
      kind: of the transform, see `affine_matrix`; not "crop".
      pose: images to embeddings, called as `pose(images, train=False)`.
      entry_range: see `affine_matrix`.
      prior_scale: p, in units of the parameters (1 is half a turn).
      init_scale: of the projection's initial weights.
    """

    kind: str
    pose: nn.Module
    entry_range: float = math.pi
    prior_scale: float = 0.1
    init_scale: float = 0.01

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, KINDS)
        if self.kind == "crop":
            raise ValueError(
                'A Gaussian has no bounds and its crops would leave the image; for kind "crop" take the flow, '
                "InstaAug or Augerino."
            )
        for name in ("prior_scale", "init_scale"):
            checks.in_range(name, getattr(self, name), 0.0, open_low=True)
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
        mean, log_ratio = jnp.split(project(self.pose, images, 2 * d, init_scale=self.init_scale), 2, axis=-1)
        log_scale = log_ratio + math.log(self.prior_scale)
        noise = jax.vmap(lambda key: jax.random.normal(key, (n * d,), jnp.float32))(keys).reshape(-1, n, d)
        params = mean[:, None] + jnp.exp(log_scale)[:, None] * noise
        spread = jnp.sum(log_scale, -1) + d / 2 * math.log(2 * math.pi)
        squares = jnp.exp(2 * log_ratio) + jnp.square(mean / self.prior_scale)
        return Draws(
            params,
            matrices_of(params, kind=self.kind, entry_range=self.entry_range, limits=limits),
            # Of the draw itself: (params - mean) / scale is the noise.
            -0.5 * jnp.sum(jnp.square(noise), -1) - spread[:, None],
            spread + d / 2,
            jnp.sum((squares - 1) / 2 - log_ratio, -1),
        )
