"""Augerino (Benton et al. 2020, "Learning invariances in neural networks"): one box for all images, widths learned."""

from __future__ import annotations

import math

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from mollax import checks
from mollax.invariance.draws import Draws, matrices_of
from mollax.invariance.transforms import DEFAULT_LIMITS, KINDS, Limit, dimension
from mollax.invariance.uniform import check_call, uniform_noise


class Augerino(nn.Module):
    """Parameters w * u, u uniform in (-1, 1)^d, with widths w = softplus(v) and v, learned, at 0 to begin with.

    Penalty -||w||_2, for the loss cross-entropy + 0.01 * penalty of the paper; it is 0 and has no gradient as soon as
    any width reaches `max_width`, as in the authors' code. Entropy sum_i log(2 w_i).

    The box is thus [-w, w], as the paper's text has it, and twice as wide as that of the authors' code, which draws in
    [-w / 2, w / 2]. With `half_width` so do we, with entropy sum_i log w_i; the penalty is of w either way.

    A crop whose parameters exceed 1 leaves the image, so the widths of crops are tanh(softplus(v)), below 1; the
    paper has no crops (table 3 of Singhal et al. 2023 does, without saying how).

    Attributes:
      kind: of the transform, see `affine_matrix`.
      entry_range: see `affine_matrix`.
      max_width: where the penalty stops.
      half_width: as in the authors' code, the width is the whole box and not half of it.
    """

    kind: str
    entry_range: float = math.pi
    max_width: float = 10.0
    half_width: bool = False

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, KINDS)
        checks.in_range("max_width", self.max_width, 0.0, open_low=True)
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
        """n transforms an image; see `Draws`. Entropy and penalty are the same for all images."""
        check_call(keys, images, n)
        d = dimension(self.kind)
        widths = nn.softplus(self.param("width", nn.initializers.zeros_init(), (d,), jnp.float32))
        if self.kind == "crop":
            widths = jnp.tanh(widths)
        reach = widths / 2 if self.half_width else widths
        params = reach[None, None] * uniform_noise(keys, n, d)
        entropy = jnp.sum(jnp.log(2 * reach))
        penalty = jnp.where(jnp.any(widths >= self.max_width), 0.0, -jnp.linalg.norm(widths))
        b = images.shape[0]
        return Draws(
            params,
            matrices_of(params, kind=self.kind, entry_range=self.entry_range, limits=limits),
            jnp.broadcast_to(-entropy, (b, n)),
            jnp.broadcast_to(entropy, (b,)),
            jnp.broadcast_to(penalty, (b,)),
        )
