"""What four libraries call the arrays of a Vision Transformer, and how they lay them out.

The names of Google's vision_transformer (its .npz files, AugReg's too), timm, torchvision and Hugging Face (with or
without "vit." before them) are told apart by one array each. PyTorch's linear maps (out, in) and patch embeddings
(out, in, h, w) are transposed; fused queries, keys and values are cut in three.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

TORCH_LEAVES = {"kernel": ".weight", "scale": ".weight", "bias": ".bias"}


class Naming(NamedTuple):
    """How a library calls what a ViT has.

    Attributes:
      title: the library.
      mark: an array that all its files have, and no other's.
      modules: our names outside of blocks -> its.
      block: what its names in block i, from 0, begin with.
      parts: our names in a block -> its; "#1" is the second third of a fused array.
      leaves: what is put behind for "kernel", "scale" and "bias".
      torch: whether linear maps are (out, in).
      statistics: a key of `STATISTICS`, of most of its weights.
    """

    title: str
    mark: str
    modules: dict[str, str]
    block: str
    parts: dict[str, str]
    leaves: dict[str, str]
    torch: bool
    statistics: str


def _attention(*names: str) -> dict[str, str]:
    return {f"attention/{ours}": name for ours, name in zip(("query", "key", "value", "out"), names, strict=True)}


_GOOGLE_ATTENTION = [f"MultiHeadDotProductAttention_1/{name}" for name in ("query", "key", "value", "out")]
NAMINGS = (
    Naming(
        "Google",
        "Transformer/encoder_norm/scale",
        {
            "token": "cls",
            "positions": "Transformer/posembed_input/pos_embedding",
            "patch": "embedding",
            "norm": "Transformer/encoder_norm",
            "linear": "head",
        },
        "Transformer/encoderblock_{i}/",
        {"norm1": "LayerNorm_0", "norm2": "LayerNorm_2", "dense1": "MlpBlock_3/Dense_0", "dense2": "MlpBlock_3/Dense_1"}
        | _attention(*_GOOGLE_ATTENTION),
        {"kernel": "/kernel", "scale": "/scale", "bias": "/bias"},
        torch=False,
        statistics="half",
    ),
    Naming(
        "timm",
        "patch_embed.proj.weight",
        {
            "token": "cls_token",
            "positions": "pos_embed",
            "patch": "patch_embed.proj",
            "norm": "norm",
            "linear": "head",
        },
        "blocks.{i}.",
        {"norm1": "norm1", "norm2": "norm2", "dense1": "mlp.fc1", "dense2": "mlp.fc2"}
        | _attention("attn.qkv#0", "attn.qkv#1", "attn.qkv#2", "attn.proj"),
        TORCH_LEAVES,
        torch=True,
        statistics="half",
    ),
    Naming(
        "torchvision",
        "conv_proj.weight",
        {
            "token": "class_token",
            "positions": "encoder.pos_embedding",
            "patch": "conv_proj",
            "norm": "encoder.ln",
            "linear": "heads.head",
        },
        "encoder.layers.encoder_layer_{i}.",
        {"norm1": "ln_1", "norm2": "ln_2", "dense1": "mlp.0", "dense2": "mlp.3"}
        | _attention(*(f"self_attention.in_proj_#{k}" for k in range(3)), "self_attention.out_proj"),
        TORCH_LEAVES,
        torch=True,
        statistics="imagenet",
    ),
    Naming(
        "Hugging Face",
        "embeddings.patch_embeddings.projection.weight",
        {
            "token": "embeddings.cls_token",
            "positions": "embeddings.position_embeddings",
            "patch": "embeddings.patch_embeddings.projection",
            "norm": "layernorm",
            "linear": "classifier",
        },
        "encoder.layer.{i}.",
        {
            "norm1": "layernorm_before",
            "norm2": "layernorm_after",
            "dense1": "intermediate.dense",
            "dense2": "output.dense",
        }
        | _attention(*(f"attention.attention.{name}" for name in ("query", "key", "value")), "attention.output.dense"),
        TORCH_LEAVES,
        torch=True,
        statistics="half",
    ),
)


def find_naming(weights: Mapping[str, Any]) -> Naming:
    """The naming that the arrays follow. Raises ValueError if it is none of ours."""
    for naming in NAMINGS:
        if naming.mark in weights or f"vit.{naming.mark}" in weights:
            return naming
    marks = ", ".join(f"{naming.mark!r} ({naming.title})" for naming in NAMINGS)
    shown = ", ".join(map(repr, list(weights)[:3])) or "no arrays"
    raise ValueError(f"The weights are of no ViT whose names are known, which have one of {marks}; found {shown}, ...")


def source(naming: Naming, ours: str) -> tuple[str, int | None]:
    """The name of the array that holds a parameter of ours, and which third of it."""
    parts = ours.removeprefix("trunk/").split("/")
    if parts[0].startswith("block"):
        module = naming.block.format(i=int(parts[0].removeprefix("block")) - 1) + naming.parts["/".join(parts[1:-1])]
    else:
        module = naming.modules[parts[0]]
    leaf = naming.leaves.get(parts[-1], "")  # class token and positions are arrays by themselves
    module, _, third = module.partition("#")
    name = module + (leaf.removeprefix(".") if module.endswith("_") else leaf)
    return name, int(third) if third else None


def convert(
    naming: Naming, ours: str, array: Shaped[np.ndarray, "*shape"], third: int | None
) -> Float[np.ndarray, "*ours"]:
    """An array in our layout, of whatever shape that is."""
    array = np.asarray(array, np.float32)
    if third is not None:
        array = array[third * len(array) // 3 : (third + 1) * len(array) // 3]
    if naming.torch:
        return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T if array.ndim == 2 else array
    if "/attention/" in ours and array.ndim > 1:  # heads by themselves: (d, heads, d / heads) or the reverse
        if array.ndim == 2:
            return array.reshape(-1) if ours.endswith("/bias") else array
        return array.reshape(-1, array.shape[2]) if ours.endswith("/out/kernel") else array.reshape(len(array), -1)
    return array
