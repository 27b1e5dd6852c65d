"""Networks by name, and how many parameters they have."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from mollax.checks import one_of
from mollax.models.allconv import AllConv
from mollax.models.classifier import Classifier
from mollax.models.cnn import CNN
from mollax.models.conv13 import Conv13
from mollax.models.densenet import DenseNet
from mollax.models.googlenet import STAGES, GoogLeNet
from mollax.models.mlp import MLP
from mollax.models.preact_resnet import DEPTHS, PreActResNet
from mollax.models.resnet import ResNet
from mollax.models.resnet_cifar import ResNetCifar
from mollax.models.resnext import ResNeXt
from mollax.models.vit import ViT
from mollax.models.wide_resnet import WideResNet


def _preact(depth: int) -> Callable[..., nn.Module]:
    block, stages = DEPTHS[depth]
    return partial(PreActResNet, block=block, stages=stages)


def _resnet(depth: int, stem: str) -> Callable[..., nn.Module]:
    block, stages = DEPTHS[depth]
    return partial(ResNet, block=block, stages=stages, stem=stem)


def _vit(width: int) -> Callable[..., nn.Module]:
    """Patches of 16, 12 blocks, heads of 64 numbers, an MLP of four times the width."""
    return partial(ViT, patch=16, width=width, depth=12, heads=width // 64, mlp=4 * width)


MODELS: dict[str, Callable[..., nn.Module]] = {
    "preact_resnet18": _preact(18),
    "preact_resnet34": _preact(34),
    "preact_resnet50": _preact(50),
    "preact_resnet101": _preact(101),
    "resnet8": partial(ResNetCifar, depth=8),
    "resnet18": _resnet(18, "cifar"),
    "resnet34": _resnet(34, "cifar"),
    "resnet50": _resnet(50, "cifar"),
    "resnet18_imagenet": _resnet(18, "imagenet"),
    "resnet34_imagenet": _resnet(34, "imagenet"),
    "resnet50_imagenet": _resnet(50, "imagenet"),
    "resnext29": partial(ResNeXt, depth=29),
    "wrn28_10": partial(WideResNet, depth=28, width=10),
    "wrn40_2": partial(WideResNet, depth=40, width=2),
    "wrn40_10": partial(WideResNet, depth=40, width=10),
    "densenet40": partial(DenseNet, layers=(12, 12, 12), bottleneck=False, compression=1.0),
    "densenet121": partial(DenseNet, layers=(6, 12, 24, 16), growth=32, bottleneck=True, compression=0.5),
    "googlenet": partial(GoogLeNet, stages=STAGES),
    "allconv10": AllConv,
    "cnn": CNN,
    "mlp": MLP,
    "conv13": Conv13,
    "vit_b16": _vit(768),
    "vit_s16": _vit(384),
    "vit_ti16": _vit(192),
    "vit": ViT,
}
DTYPES = ("float32", "bfloat16")


def model_options(name: str) -> tuple[str, ...]:
    """Names of the options that `create_model` takes for a network, beside those that all networks take."""
    build = MODELS[one_of("model", name, MODELS)]
    fixed = set(build.keywords) if isinstance(build, partial) else set()
    # A Linen module is a dataclass; its options are the fields that it adds to the contract's.
    module: Any = build.func if isinstance(build, partial) else build
    common = {field.name for field in dataclasses.fields(Classifier)}
    names = [field.name for field in dataclasses.fields(module)]
    return tuple(option for option in names if option not in common | fixed)


def create_model(
    name: str,
    *,
    classes: int,
    dtype: DTypeLike = "float32",
    axis_name: str | None = None,
    confidence: nn.Module | None = None,
    **options: Any,
) -> nn.Module:
    """The network called `name`, a key of `MODELS`, not yet initialised.

    `dtype`, "float32" or "bfloat16", is what the trunk computes in; `axis_name` the axis over which batch
    norm averages; `confidence` a head instead of the linear one, see `Classifier`; `options` are those of the
    network's class that its name leaves open, as `model_options` lists them. A list, as read from JSON, stands
    for a tuple. Raises ValueError for an unknown name, option or dtype, each with the allowed ones and the
    nearest of them.
    """
    allowed = model_options(name)
    for option in options:
        one_of(f"option of model {name!r}", option, allowed)
    dtype_name = one_of("dtype", dtype if isinstance(dtype, str) else jnp.dtype(dtype).name, DTYPES)
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    common = {"classes": classes, "dtype": jnp.dtype(dtype_name), "axis_name": axis_name, "confidence": confidence}
    return MODELS[name](**common, **values)


def count_parameters(params: Mapping[str, Any]) -> int:
    """Number of scalars in a tree of arrays, or of the shapes that `jax.eval_shape` gives."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
