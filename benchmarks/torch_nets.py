"""ResNet-8 and PreActResNet-18 in PyTorch, layer for layer those of `mollax.models`; import `common` before this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional


def _conv(planes_in: int, planes: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(planes_in, planes, size, stride=stride, padding=size // 2, bias=False)


class _PreActBlock(nn.Module):
    """BN-ReLU-conv twice; the shortcut is a 1x1 convolution of the pre-activated input where shapes change."""

    def __init__(self, planes_in: int, planes: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(planes_in), _conv(planes_in, planes, stride=stride)
        self.norm2, self.conv2 = nn.BatchNorm2d(planes), _conv(planes, planes)
        self.shortcut = _conv(planes_in, planes, 1, stride) if stride != 1 or planes_in != planes else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(y)
        return shortcut + self.conv2(functional.relu(self.norm2(self.conv1(y))))


class _Block(nn.Module):
    """conv-BN-ReLU, conv-BN, plus every second position with zero channels appended where shapes change."""

    def __init__(self, planes_in: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = _conv(planes_in, planes, stride=stride), nn.BatchNorm2d(planes)
        self.conv2, self.norm2 = _conv(planes, planes), nn.BatchNorm2d(planes)
        self.stride, self.added = stride, planes - planes_in

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(x)))))
        if self.added:
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))
        return functional.relu(x + y)


class TorchNet(nn.Module):
    """A stem, stages of blocks whose planes double, the mean over positions, and a linear layer.

    Children carry the names of `mollax.models`' variables, by which `copy` finds them.
    """

    def __init__(self, name: str, classes: int) -> None:
        super().__init__()
        preact = name == "preact_resnet18"
        block, planes, stages = (_PreActBlock, 64, (2, 2, 2, 2)) if preact else (_Block, 16, (1, 1, 1))
        self.stem = _conv(3, planes)
        self.stem_norm = None if preact else nn.BatchNorm2d(planes)
        self.blocks, last = nn.ModuleDict(), planes
        for stage, blocks in enumerate(stages):
            for number in range(blocks):
                width, stride = planes * 2**stage, 2 if stage and not number else 1
                self.blocks[f"stage{stage + 1}_block{number + 1}"] = block(last, width, stride)
                last = width
        self.linear = nn.Linear(last, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        if self.stem_norm is not None:
            x = functional.relu(self.stem_norm(x))
        for block in self.blocks.values():
            x = block(x)
        return self.linear(x.mean((2, 3)))

    def copy(self, params: Mapping[str, Any]) -> None:
        """Takes the parameters of the network in `mollax.models`; batch statistics start as a new network's."""
        for path, module in self.named_modules():
            if not isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
                continue
            found: Any = params if path == "linear" else params["trunk"]
            for part in path.removeprefix("blocks.").split("."):
                found = found[part]
            weight = np.array(found["scale" if isinstance(module, nn.BatchNorm2d) else "kernel"])
            # Kernels (height, width, in, out) -> (out, in, height, width); linear ones (in, out) -> (out, in).
            weight = weight.transpose(3, 2, 0, 1) if weight.ndim == 4 else weight.T
            with torch.no_grad():
                module.weight.copy_(torch.from_numpy(weight.copy()))
                if module.bias is not None:
                    module.bias.copy_(torch.from_numpy(np.array(found["bias"])))
