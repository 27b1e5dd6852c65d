"""DeConf: a head whose logits are a similarity to the class over a confidence in the domain (Hsu et al. 2020).

    f_i(x) = h_i(x) / g(x),    g(x) = sigmoid(batch_norm(w_g . x + b_g))

with x the features, and h_i their cosine, minus squared Euclidean distance or inner product with a vector of class i.
Trained with cross-entropy on f; scored by max_i h_i (`mollax.ood.scores.generalized_odin`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from mollax import checks

KINDS = ("cosine", "euclidean", "inner")
SIMILARITY = "similarity"


class Decomposed(NamedTuple):
    """What the head makes of features.

    Attributes:
      logits: f = h / g.
      similarities: h, in [-1, 1] (cosine), at most 0 (Euclidean) or unbounded (inner).
      domain: g in (0, 1).
    """

    logits: Float[Array, "n k"]
    similarities: Float[Array, "n k"]
    domain: Float[Array, " n"]


class Similarity(nn.Module):
    """h of `classes` vectors of parameters "kernel" (d, classes), with a "bias" (classes,) for the inner product.

    Drawn from N(0, 2/d), as in public reimplementations.
    """

    classes: int
    kind: str

    @nn.compact
    def __call__(self, features: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """Similarities of features to classes."""
        init = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
        kernel = self.param("kernel", init, (features.shape[1], self.classes)).astype(features.dtype)
        if self.kind == "cosine":
            features, kernel = _unit(features, axis=1), _unit(kernel, axis=0)
        inner = jnp.matmul(features, kernel, precision=jax.lax.Precision.HIGHEST)
        if self.kind == "cosine":
            return inner
        if self.kind == "inner":
            bias = self.param("bias", nn.initializers.zeros, (self.classes,)).astype(features.dtype)
            return inner + bias[None]
        # -|x - w|^2 without an (n, k, d) array.
        return 2 * inner - jnp.square(features).sum(axis=1)[:, None] - jnp.square(kernel).sum(axis=0)[None]


class DecomposedConfidence(nn.Module):
    """The head: "similarity" makes h; "domain" (dense, 1 unit) and "domain_norm" (batch norm) make g.

    The authors train the parameters of h without weight decay, which would pull every class vector to the origin: give
    `decay_mask(params)` to optax.add_decayed_weights(mask=...).

    Attributes:
      classes: number of logits.
      kind: "cosine", the paper's best; "euclidean", the squared distance (the sum over features, as in the paper;
        reimplementations take the mean); or "inner".
      axis_name: axis of pmap or vmap over which batch norm averages its statistics; None outside of one.

    Raises:
      ValueError: for an unknown kind or no classes.
    """

    classes: int
    kind: str = "cosine"
    axis_name: str | None = None

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, KINDS)
        checks.positive_int("classes", self.classes)
        super().__post_init__()

    @nn.compact
    def __call__(self, features: Float[Array, "n d"], *, train: bool) -> Decomposed:
        """Logits, similarities and domain of features; `train=True` uses and updates the batch's statistics."""
        dtype = features.dtype
        similarities = Similarity(self.classes, self.kind, name=SIMILARITY)(features)
        domain = nn.Dense(1, dtype=dtype, precision=jax.lax.Precision.HIGHEST, name="domain")(features)
        norm = nn.BatchNorm(not train, momentum=0.9, dtype=dtype, axis_name=self.axis_name, name="domain_norm")
        domain = nn.sigmoid(norm(domain))
        return Decomposed(similarities / domain, similarities, domain[:, 0])


def decay_mask(params: Any) -> Any:
    """A tree like `params`, also of a network that holds the head, with False for the parameters of h, else True."""

    def decays(path: tuple[Any, ...], _: Any) -> bool:
        return all(getattr(part, "key", None) != SIMILARITY for part in path)

    return jax.tree_util.tree_map_with_path(decays, params)


def _unit(vectors: Float[Array, "a b"], axis: int) -> Float[Array, "a b"]:
    # Inside the root, so that a vector of zeros has a gradient; far below the square of any real length.
    return vectors * jax.lax.rsqrt(jnp.square(vectors).sum(axis=axis, keepdims=True) + 1e-12)
