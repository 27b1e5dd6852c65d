"""Transforms from a fixed box: rotation-augmented training, random crops."""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from mollax import checks
from mollax.invariance.draws import Draws, matrices_of
from mollax.invariance.transforms import DEFAULT_LIMITS, KINDS, Limit, dimension


class Uniform(nn.Module):
    """Parameters uniform in [-width, width]^d, the same for every image; nothing is learned.

    Kind "rotation" at width 1 is rotation-augmented training, kind "crop" at width 1 the random crop whose sizes are
    uniform in `limits`. Entropy d log(2 width), penalty 0.

    Attributes:
      kind: of the transform, see `affine_matrix`.
      width: half the side of the box; for crops at most 1, beyond which they would leave the image.
      entry_range: see `affine_matrix`.
    """

    kind: str
    width: float = 1.0
    entry_range: float = math.pi

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, KINDS)
        checks.in_range("width", self.width, 0.0, 1.0 if self.kind == "crop" else None, open_low=True)
        super().__post_init__()

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
        params = self.width * uniform_noise(keys, n, d)
        entropy = jnp.full(images.shape[0], d * math.log(2 * self.width), jnp.float32)
        return Draws(
            params,
            matrices_of(params, kind=self.kind, entry_range=self.entry_range, limits=limits),
            jnp.broadcast_to(-entropy[:, None], params.shape[:2]),
            entropy,
            jnp.zeros_like(entropy),
        )


def check_call(keys: Array, images: Array, n: int) -> None:
    """Raises what every augmenter raises for bad arguments: images not (b, h, w, c), keys not (b,), n below 1."""
    checks.positive_int("n", n)
    checks.rank("images", images, 4, "(batch, height, width, channels)")
    if keys.shape != images.shape[:1]:
        raise ValueError(
            f"An augmenter takes one typed key an image: {images.shape[0]} images, keys of shape {keys.shape}. "
            "jax.random.split gives them."
        )


def uniform_noise(keys: Key[Array, " b"], n: int, d: int) -> Float[Array, "b n d"]:
    """Uniform in [-1, 1), each image's from its own key."""
    # Flat, then shaped: the same numbers, compiled twice as fast on CPU. So in the other augmenters.
    return jax.vmap(lambda key: jax.random.uniform(key, (n * d,), jnp.float32, -1.0, 1.0))(keys).reshape(-1, n, d)
