"""The flow as an augmenter: pose network, flow, transforms."""

from __future__ import annotations

import math

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from mollax import checks
from mollax.invariance.draws import Draws, matrices_of, surrogate_losses
from mollax.invariance.flow import TransformFlow
from mollax.invariance.transforms import DEFAULT_LIMITS, KINDS, Limit, dimension
from mollax.invariance.uniform import check_call


class FlowAugmenter(nn.Module):
    """Draws T ~ g(.; I) with I's embedding by the pose network (Singhal et al. 2023).

    The penalty is the mean over draws of log g(T; I) (eq 10): its weight is alpha, and with `prior_scale` s the
    uniform prior over T becomes a Gaussian N(0, s^2), which adds |T|^2 / (2 s^2) (the variant the paper names).

    Attributes:
      kind: of the transform, see `affine_matrix`.
      pose: images to embeddings, called as `pose(images, train=False)`.
      flow: of the kind's dimension.
      entry_range: see `affine_matrix`.
      prior_scale: s; 0 for the uniform prior, the only one for crops.

    Raises:
      ValueError: if the flow has another dimension than the kind, if crops could leave the image, or for crops with a
        Gaussian prior, whose middle, zeros, is a crop of the middle size and not the identity.
    """

    kind: str
    pose: nn.Module
    flow: TransformFlow
    entry_range: float = math.pi
    prior_scale: float = 0.0

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, KINDS)
        if self.flow.dimension != dimension(self.kind):
            raise ValueError(
                f'Transforms of kind "{self.kind}" have {dimension(self.kind)} parameters, but the flow has '
                f"{self.flow.dimension}; give it that dimension."
            )
        if self.kind == "crop" and self.flow.bound > 1:
            raise ValueError(f"Crops with parameters beyond 1 leave the image; the flow's bound is {self.flow.bound}.")
        checks.in_range("prior_scale", self.prior_scale, 0.0)
        if self.kind == "crop" and self.prior_scale:
            raise ValueError(
                'A Gaussian prior favours parameters of 0, which of kind "crop" are a crop of the middle size and not '
                f"the identity; got prior_scale {self.prior_scale}. Leave it at 0."
            )
        super().__post_init__()

    def __call__(
        self,
        keys: Key[Array, " b"],
        images: Float[Array, "b h w c"],
        *,
        n: int,
        limits: tuple[Limit, Limit] = DEFAULT_LIMITS,
    ) -> Draws:
        """n draws an image; see `Draws`."""
        check_call(keys, images, n)
        params, log_density, score = self.flow.sample_and_score(keys, self.pose(images, train=False), n=n)
        cost = log_density
        if self.prior_scale:
            cost += jnp.sum(params**2, -1) / (2 * self.prior_scale**2)
        penalty = jnp.mean(surrogate_losses(cost, score), -1)
        matrices = matrices_of(params, kind=self.kind, entry_range=self.entry_range, limits=limits)
        return Draws(params, matrices, log_density, -jnp.mean(log_density, -1), penalty, score)

    def log_prob(self, params: Float[Array, "b n d"], images: Float[Array, "b h w c"]) -> Float[Array, "b n"]:
        """log g(params; I) of given transforms of each image."""
        return self.flow.log_prob(params, self.pose(images, train=False))
