"""The contract of every network: logits, features, feature maps and head of one module, all consistent."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Shaped

from mollax.checks import positive_int, rank
from mollax.models.layers import torch_linear


class Classifier(nn.Module):
    """A trunk that makes feature maps, a pool that makes features of them, and a head, linear or a decomposed one.

    A network subclasses this and gives `make_trunk`; `pool` (default: the mean over positions) and
    `minimum_side` where they differ. Parameters are float32 under "trunk" and "linear" (the head: kernel (d,
    classes), bias (classes,)); the trunk computes in `dtype`, pooling and head in float32, since scores rank
    by small differences of logits. Networks without batch norm have no "batch_stats" collection; asking for
    it as mutable gives an empty one.

    Attributes:
      classes: number of logits, at least 1.
      dtype: dtype the trunk computes in, float32 or bfloat16.
      axis_name: axis of pmap or vmap over which batch norm averages its statistics; None outside of one.
      confidence: a head in place of the linear one, with parameters under "confidence": called with features and
        `train`, it gives `logits` and `similarities`, as `mollax.ood.DecomposedConfidence`. None for the linear one.
    """

    classes: int
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    confidence: nn.Module | None = None

    def __post_init__(self) -> None:
        positive_int("classes", self.classes)
        super().__post_init__()

    def setup(self) -> None:
        self.trunk = self.make_trunk()
        if self.confidence is None:
            # Full precision also where the accelerator's default for float32 products is bfloat16 passes.
            self.linear = nn.Dense(self.classes, dtype=jnp.float32, precision="highest", kernel_init=torch_linear)

    def make_trunk(self) -> nn.Module:
        """The module from images, with keyword `train`, to feature maps (n, h, w, d)."""
        raise NotImplementedError(f"{type(self).__name__} must say what its trunk is.")

    def minimum_side(self) -> int:
        """The smallest height and width in pixels that the network takes."""
        return 1

    def pool(self, maps: Float[Array, "n h w d"]) -> Float[Array, "n d"]:
        """From feature maps to features."""
        return maps.mean(axis=(1, 2))

    def feature_maps(self, images: Shaped[Array, "*image"], *, train: bool) -> Float[Array, "n h w d"]:
        """Maps before pooling, float32 (n, h', w', d), of standardised images (n, h, w, c).

        `train=True` normalises by the batch's statistics (make "batch_stats" mutable) and drops units (give a
        "dropout" rng). Raises ValueError for images without four axes or with a side below `minimum_side()`,
        TypeError for images that are not floating point.
        """
        self._check(images)
        return self.trunk(images, train=train).astype(jnp.float32)

    def features(self, images: Shaped[Array, "*image"], *, train: bool) -> Float[Array, "n d"]:
        """Penultimate features `pool(feature_maps(images))`, float32 (n, d); arguments as `feature_maps`."""
        return self.pool(self.feature_maps(images, train=train))

    def head(self, features: Float[Array, "n d"], *, train: bool = False) -> Float[Array, "n classes"]:
        """Logits of features, float32 (n, classes): features W + b, or those of `confidence`, whom `train` concerns."""
        features = features.astype(jnp.float32)
        return self.linear(features) if self.confidence is None else self.confidence(features, train=train).logits

    def similarities(self, images: Shaped[Array, "*image"], *, train: bool) -> Float[Array, "n classes"]:
        """The similarities of `confidence`, float32 (n, classes), or logits without one; as `feature_maps`."""
        if self.confidence is None:
            return self(images, train=train)
        return self.confidence(self.features(images, train=train), train=train).similarities

    def __call__(self, images: Shaped[Array, "*image"], *, train: bool) -> Float[Array, "n classes"]:
        """Logits `head(features(images))`, float32 (n, classes); arguments as `feature_maps`."""
        return self.head(self.features(images, train=train), train=train)

    def _check(self, images: Array) -> None:
        rank("images", images, 4, "(n, height, width, channels)")
        if not jnp.issubdtype(images.dtype, jnp.floating):
            raise TypeError(
                f"images must be floating point, got {images.dtype}: divide 8-bit ones by 255, standardise."
            )
        side = self.minimum_side()
        if min(images.shape[1:3]) < side:
            raise ValueError(
                f"{type(self).__name__} halves its maps until a side of {side} is one position: images must "
                f"be at least {side} x {side}, got {images.shape[1]} x {images.shape[2]}. Resize or pad them."
            )
