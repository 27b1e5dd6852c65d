"""The last layer of a classifier as plain arrays: what many scores need to know of it."""

from __future__ import annotations

from typing import NamedTuple

import jax
from jaxtyping import Array, Float


class Head(NamedTuple):
    """A linear layer from d features to k logits.

    Attributes:
      kernel: (d, k).
      bias: (k,); zeros for a layer without one.
    """

    kernel: Float[Array, "d k"]
    bias: Float[Array, " k"]


def apply_head(head: Head, features: Float[Array, "*n d"]) -> Float[Array, "*n k"]:
    """Logits features @ kernel + bias, in the features' precision."""
    kernel, bias = (leaf.astype(features.dtype) for leaf in head)
    product = jax.numpy.matmul(features, kernel, precision=jax.lax.Precision.HIGHEST)
    return product + jax.numpy.broadcast_to(bias, product.shape)
