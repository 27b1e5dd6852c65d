"""Torch functions that read Flax variables, for tests against torch re-implementations."""

from collections.abc import Mapping

import torch
from torch_copy import copy_conv, copy_linear, copy_norm


def conv(x: torch.Tensor, params: Mapping, *, stride: int = 1, pad: int | None = None, groups: int = 1) -> torch.Tensor:
    """A convolution padded by half its size unless told otherwise, with a bias where there is one."""
    size, _, planes_in, planes = params["kernel"].shape
    pad, bias = size // 2 if pad is None else pad, "bias" in params
    layer = torch.nn.Conv2d(planes_in * groups, planes, size, stride=stride, padding=pad, groups=groups, bias=bias)
    copy_conv(layer, params)
    return layer(x)


def norm(x: torch.Tensor, params: Mapping, stats: Mapping, *, train: bool) -> torch.Tensor:
    """Batch norm, by the batch's statistics or by the running ones."""
    layer = torch.nn.BatchNorm2d(x.shape[1]).train(train)
    copy_norm(layer, params, stats)
    return layer(x)


def head(x: torch.Tensor, params: Mapping) -> torch.Tensor:
    """The mean over positions and a linear layer."""
    layer = torch.nn.Linear(*params["kernel"].shape)
    copy_linear(layer, params)
    return layer(x.mean((2, 3)))
