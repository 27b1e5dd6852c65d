"""Imports of other packages that their last releases need help for. Nothing of theirs that is timed is changed."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np


def torchvision_transforms() -> Any:
    """`torchvision.transforms.v2`.

    torchvision's wheel for CUDA cannot load its compiled operators beside PyTorch for CPU and then stops at the names
    of two of them. The transforms use none of them, so the names are declared.
    """
    try:
        import torchvision
    except RuntimeError:
        import torch

        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision

        torchvision.declared_operators = library  # lives as long as what it declares
    return importlib.import_module("torchvision.transforms.v2")


def imagecorruptions() -> Any:
    """The package `imagecorruptions` 1.1.2 (2020), under the names that its dependencies have dropped since."""
    import scipy.ndimage
    import skimage.filters

    gaussian = skimage.filters.gaussian

    def with_multichannel(image: Any, *arguments: Any, multichannel: bool = False, **named: Any) -> Any:
        return gaussian(image, *arguments, channel_axis=-1 if multichannel else None, **named)

    def resource_filename(package: str, name: str) -> str:
        return str(Path(sys.modules[package].__file__ or "").parent / name)

    _module("pkg_resources", resource_filename=resource_filename)
    _module("scipy.ndimage.interpolation", map_coordinates=scipy.ndimage.map_coordinates)
    vars(np).setdefault("float_", np.float64)
    skimage.filters.gaussian = with_multichannel
    try:
        return importlib.import_module("imagecorruptions")
    finally:
        skimage.filters.gaussian = gaussian


def _module(name: str, **members: Any) -> None:
    """Makes a module that can be imported, unless there is one."""
    module = types.ModuleType(name)
    vars(module).update(members)
    sys.modules.setdefault(name, module)
