"""Vision Transformer (Dosovitskiy et al. 2021, "An image is worth 16x16 words").

Square patches become tokens by a linear map; a class token goes before them, learned positions are added; `depth`
blocks of attention and MLP, each after a layer norm and with a residual (pre-norm), and a last layer norm follow.
Layer norms have epsilon 1e-6 and the MLP the exact GELU, as torchvision and timm have; the authors' JAX code has its
tanh approximation, which moves logits in the third digit.

| parameters, 3 channels, 224 pixels, 1000 classes | patch | width | depth | heads | MLP | |
|---|---|---|---|---|---|---|
| ViT-B/16 | 16 | 768 | 12 | 12 | 3072 | 86,567,656 |
| ViT-S/16 | 16 | 384 | 12 | 6 | 1536 | 22,050,664 |
| ViT-Ti/16 | 16 | 192 | 12 | 3 | 768 | 5,717,416 |

The first count is torchvision's "num_params", the others timm's.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from mollax.checks import in_range, one_of, positive_int
from mollax.models.classifier import Classifier
from mollax.models.layers import conv

POOLINGS = ("token", "mean")


def xavier_uniform(key: Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Float[Array, "inputs outputs"]:
    """Glorot and Bengio 2010: uniform in +-sqrt(6 / (inputs + outputs)); drawn flat, which compiles faster on CPU."""
    flat = jax.random.uniform(key, (math.prod(shape),), dtype, -1.0, 1.0)
    return flat.reshape(shape) * math.sqrt(6 / sum(shape))


def layer_norm(x: Float[Array, "n t d"], *, dtype: DTypeLike, name: str) -> Float[Array, "n t d"]:
    """Layer norm over the last axis in float32, result in `dtype`; call it inside a compact method."""
    return nn.LayerNorm(epsilon=1e-6, dtype=jnp.float32, name=name)(x.astype(jnp.float32)).astype(dtype)


class Attention(nn.Module):
    """softmax(q k^T / sqrt(width / heads)) v for every head, heads side by side, through a last linear map.

    The softmax is in float32.
    """

    heads: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "n t d"]) -> Float[Array, "n t d"]:
        def linear(x: Array, name: str) -> Array:
            return nn.Dense(x.shape[-1], dtype=self.dtype, kernel_init=xavier_uniform, name=name)(x)

        split = (*x.shape[:2], self.heads, x.shape[2] // self.heads)
        query, key, value = (linear(x, name).reshape(split) for name in ("query", "key", "value"))
        scores = jnp.einsum("nthd,nshd->nhts", query, key, preferred_element_type=jnp.float32)
        weights = nn.softmax(scores / math.sqrt(split[3])).astype(self.dtype)
        return linear(jnp.einsum("nhts,nshd->nthd", weights, value).reshape(x.shape), "out")


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)); dropout after attention and after both layers of the MLP."""

    heads: int
    mlp: int
    dropout: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "n t d"], *, train: bool) -> Float[Array, "n t d"]:
        def drop(x: Array) -> Array:
            return nn.Dropout(self.dropout, deterministic=not train)(x)

        def dense(x: Array, features: int, name: str) -> Array:
            small = nn.initializers.normal(1e-6)
            return nn.Dense(features, dtype=self.dtype, kernel_init=xavier_uniform, bias_init=small, name=name)(x)

        y = layer_norm(x, dtype=self.dtype, name="norm1")
        x = x + drop(Attention(self.heads, self.dtype, name="attention")(y))
        y = layer_norm(x, dtype=self.dtype, name="norm2")
        y = drop(nn.gelu(dense(y, self.mlp, "dense1"), approximate=False))
        return x + drop(dense(y, x.shape[-1], "dense2"))


class VisionTrunk(nn.Module):
    """Patches, class token, positions, blocks, last norm."""

    patch: int
    width: int
    depth: int
    heads: int
    mlp: int
    dropout: float
    pooling: str
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h2 w2 d"]:
        embed = conv(
            self.width,
            self.patch,
            stride=self.patch,
            pad=0,
            bias=True,
            dtype=self.dtype,
            init=nn.initializers.lecun_normal(),
            name="patch",
        )
        grid = embed(x)
        n, h, w, d = grid.shape
        token = self.param("token", nn.initializers.zeros, (1, 1, d))
        tokens = jnp.concatenate([jnp.broadcast_to(token, (n, 1, d)).astype(self.dtype), grid.reshape(n, h * w, d)], 1)
        tokens = tokens + self._positions(h, w).astype(self.dtype)
        tokens = nn.Dropout(self.dropout, deterministic=not train)(tokens)
        for i in range(1, self.depth + 1):
            tokens = Block(self.heads, self.mlp, self.dropout, self.dtype, name=f"block{i}")(tokens, train=train)
        tokens = layer_norm(tokens, dtype=self.dtype, name="norm")
        if self.pooling == "token":
            return tokens[:, None]
        return tokens[:, 1:].reshape(n, h, w, d)

    def _positions(self, h: int, w: int) -> Float[Array, "1 t d"]:
        count = 1 + h * w
        if self.has_variable("params", "positions"):
            known: int = self.get_variable("params", "positions").shape[1]
            if known != count:
                raise ValueError(
                    f"The network has learned positions for {known - 1} patches, images of {h} x {w} patches have "
                    f"{h * w}: give images of one size, or load the weights for this one (`to_vit_params`)."
                )
        return jnp.asarray(self.param("positions", nn.initializers.normal(0.02), (1, count, self.width)))


class ViT(Classifier):
    """A Vision Transformer; d = width, features of both signs.

    Linear maps start Xavier uniform, the patch embedding with variance 1 / fan_in, positions normal with deviation
    0.02 and the class token at zero, as in the authors' code; the head uniform in +-1/sqrt(d), as in all networks here.

    Its feature maps are what `pool` pools, after the last norm. With pooling "token", where the head sees the class
    token alone, they are all tokens in one row, (n, 1, 1 + patches, d): first the class token, then the patches row by
    row. With "mean" they are the patches' tokens in their grid, (n, h / patch, w / patch, d). Scores that average maps
    by themselves (RankFeat) therefore fit a head trained with "mean".

    Gray or color images of any side from `patch`; rows and columns that fill no patch are left out on the right and at
    the bottom. The size is fixed by the positions once the parameters exist.

    Attributes:
      patch: side of a patch in pixels.
      width: d, numbers of a token, a multiple of `heads`.
      depth: blocks.
      heads: of each attention.
      mlp: width of the hidden layer of each block's MLP.
      dropout: probability in [0, 1) that a number is dropped in training (rng stream "dropout"): after the positions
        are added, after each attention, in and after each MLP. Attention weights are not dropped.
      pooling: "token" or "mean".
    """

    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp: int = 3072
    dropout: float = 0.0
    pooling: str = "token"

    def __post_init__(self) -> None:
        for name in ("patch", "width", "depth", "heads", "mlp"):
            positive_int(name, getattr(self, name))
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads; got width {self.width} and {self.heads} heads.")
        in_range("dropout", self.dropout, 0.0, 1.0, open_high=True)
        one_of("pooling", self.pooling, POOLINGS)
        super().__post_init__()

    def make_trunk(self) -> nn.Module:
        """See `VisionTrunk`."""
        return VisionTrunk(
            self.patch, self.width, self.depth, self.heads, self.mlp, self.dropout, self.pooling, self.dtype
        )

    def minimum_side(self) -> int:
        """One patch."""
        return self.patch

    def pool(self, maps: Float[Array, "n h w d"]) -> Float[Array, "n d"]:
        """The class token, first of the maps, or the mean over patches."""
        return maps[:, 0, 0] if self.pooling == "token" else maps.mean(axis=(1, 2))
