"""What an augmenter draws for a batch, the one interface of the flow and its rivals; how choices are learned."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mollax.invariance.transforms import Limit, affine_matrix


class Draws(NamedTuple):
    """Transforms of b images, n each.

    An augmenter is a Linen module whose `__call__(keys, images, *, n, limits)` gives these: keys of shape (b,), one an
    image; standardised images (b, h, w, c); `limits`, for crops, as in `crop_matrix`. Everything is differentiable in
    its parameters.

    Attributes:
      params: as `affine_matrix` takes them.
      matrices: pull matrices for `image.affine_warp`; rotations are rigid for square images only.
      log_density: of params given the image, in nats.
      entropy: in nats; exact where there is a closed form, else the mean of -log_density.
      penalty: what the method adds to the cross-entropy, before its weight.
      score: where draws depend on a choice through which no gradient passes (a crop of a grid, a mode of a mixture),
        its log-probability: `surrogate_losses` takes it. None if there is no such choice.
    """

    params: Float[Array, "b n d"]
    matrices: Float[Array, "b n 2 3"]
    log_density: Float[Array, "b n"]
    entropy: Float[Array, " b"]
    penalty: Float[Array, " b"]
    score: Float[Array, "b n"] | None = None


def matrices_of(
    params: Float[Array, "b n d"], *, kind: str, entry_range: float, limits: tuple[Limit, Limit]
) -> Float[Array, "b n 2 3"]:
    """`affine_matrix` of every draw; raises as it does."""

    def one(drawn: Float[Array, " d"]) -> Float[Array, "2 3"]:
        return affine_matrix(drawn, kind=kind, entry_range=entry_range, limits=limits)

    return jax.vmap(jax.vmap(one))(params.astype(jnp.float32))


def surrogate_losses(losses: Float[Array, "b n"], score: Float[Array, "b n"] | None) -> Float[Array, "b n"]:
    """Losses of draws to differentiate, with the values of `losses`: they teach choices too.

        L + [L - c] (log p - [log p]),   brackets without gradient, c the mean loss of the image's other draws

    The gradient of their mean is an unbiased estimate of that of E[L], E[grad L + L grad log p]; c, which is 0 for a
    single draw, takes noise from it and no more (Kool et al. 2019).

    Args:
      losses: of the draws, one each.
      score: log p, `Draws.score`; None leaves the losses as they are.
    """
    if score is None:
        return losses
    reward, count = jax.lax.stop_gradient(losses), losses.shape[1]
    if count > 1:
        reward = (reward - jnp.mean(reward, axis=1, keepdims=True)) * (count / (count - 1))
    return losses + reward * (score - jax.lax.stop_gradient(score))
