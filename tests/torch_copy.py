"""Copies Flax variables into torch layers, for tests against torch re-implementations."""

from collections.abc import Mapping

import numpy as np
import torch

# More threads than one only spin for each other here.
torch.set_num_threads(1)


def copy_conv(layer: torch.nn.Conv2d, params: Mapping) -> None:
    """Kernel (h, w, in, out) to (out, in, h, w), and the bias if there is one."""
    layer.weight.data = torch.from_numpy(np.array(params["kernel"]).transpose(3, 2, 0, 1).copy())
    if layer.bias is not None:
        layer.bias.data = torch.from_numpy(np.array(params["bias"]))


def copy_linear(layer: torch.nn.Linear, params: Mapping) -> None:
    """Kernel (in, out) to (out, in), and the bias."""
    layer.weight.data = torch.from_numpy(np.array(params["kernel"]).T.copy())
    layer.bias.data = torch.from_numpy(np.array(params["bias"]))


def copy_norm(layer: torch.nn.BatchNorm2d, params: Mapping, stats: Mapping) -> None:
    """Scale, bias and running statistics."""
    layer.weight.data = torch.from_numpy(np.array(params["scale"]))
    layer.bias.data = torch.from_numpy(np.array(params["bias"]))
    layer.running_mean = torch.from_numpy(np.array(stats["mean"]))
    layer.running_var = torch.from_numpy(np.array(stats["var"]))


def nchw(images: np.ndarray) -> torch.Tensor:
    """Images (n, h, w, c) as a torch tensor (n, c, h, w)."""
    return torch.from_numpy(np.array(images).transpose(0, 3, 1, 2).copy())
