"""The bilinear affine warp of a batch, forward and backward, against PyTorch's affine_grid + grid_sample on CPU.

    python benchmarks/warp.py --out docs/results/bench_warp.json

Both pull with 2x3 matrices, an own one for each image, align_corners, black around the image. A gradient's time
includes the forward pass, whose result is kept as well. The cotangent is given. The batch is shared by the devices, on
CPU one a core, as in training.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import common
import jax
import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from torch.nn import functional

from mollax.image import affine_warp

SIZES = ((128, 32), (128, 64), (32, 224))
# What is differentiated: the images, the matrices.
PASSES = {
    "forward": (False, False),
    "gradient to images": (True, False),
    "gradient to matrices": (False, True),
    "gradient to both": (True, True),
}
FLOORS = {"forward": 1.0, "gradient to images": 0.9, "gradient to matrices": 0.5, "gradient to both": 0.45}
FLOOR_FORWARD_224 = 0.75
# Positions in single precision differ by some 1e-5 pixels, which changes the side of a kink now and then: a gradient
# to a matrix shows that. All are relative to the largest entry.
TOLERANCES = {"value": 1e-4, "images": 1e-4, "matrices": 5e-3}

Arrays = tuple[Float[np.ndarray, "n h w c"], Float[np.ndarray, "n 2 3"], Float[np.ndarray, "n h w c"]]


def smooth(noise: Float[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n h w c"]:
    """Noise made as smooth as photographs are."""
    return ndimage.gaussian_filter(noise, (0, 2, 2, 0))


def inputs(n: int, side: int) -> Arrays:
    """Images in [0, 1], matrices around the identity, cotangents of variance 1."""
    rng = np.random.default_rng(0)
    images, cotangents = (smooth(rng.normal(size=(n, side, side, 3))).astype(np.float32) for _ in range(2))
    matrices = (np.eye(2, 3) + 0.2 * rng.normal(size=(n, 2, 3))).astype(np.float32)
    return (images - images.min()) / np.ptp(images), matrices, cotangents / cotangents.std()


def ours(wanted: tuple[bool, bool], images: Any, matrices: Any, cotangents: Any) -> tuple[Any, ...]:
    """The warped images and the gradients wanted."""
    warp = jax.vmap(affine_warp)
    to_images, to_matrices = wanted
    if not to_images and not to_matrices:
        return (warp(images, matrices),)
    free = (*((images,) if to_images else ()), *((matrices,) if to_matrices else ()))

    def of_free(*free: Any) -> Any:
        return warp(free[0] if to_images else images, free[-1] if to_matrices else matrices)

    value, pull = jax.vjp(of_free, *free)
    return value, *pull(cotangents)


class TorchWarp:
    """The same by PyTorch, channels first, as its warp wants them."""

    def __init__(self, wanted: tuple[bool, bool], images: Any, matrices: Any, cotangents: Any) -> None:
        images, cotangents = (np.ascontiguousarray(planes.transpose(0, 3, 1, 2)) for planes in (images, cotangents))
        self._images = torch.from_numpy(images).requires_grad_(wanted[0])
        self._matrices = torch.from_numpy(matrices).requires_grad_(wanted[1])
        self._cotangents = torch.from_numpy(cotangents)
        self._free = [tensor for tensor in (self._images, self._matrices) if tensor.requires_grad]

    def _value(self) -> torch.Tensor:
        grid = functional.affine_grid(self._matrices, list(self._images.shape), align_corners=True)
        return functional.grid_sample(self._images, grid, align_corners=True)

    def __call__(self) -> tuple[torch.Tensor, ...]:
        if not self._free:
            with torch.inference_mode():
                return (self._value(),)
        value = self._value()
        return value.detach(), *torch.autograd.grad(value, self._free, self._cotangents)


def agree(what: str, wanted: tuple[bool, bool], mine: tuple[Any, ...], theirs: tuple[Any, ...]) -> dict[str, float]:
    """The largest differences of value and gradients, relative to the largest entry (or 1)."""
    names = ["value", *(name for name, want in zip(("images", "matrices"), wanted, strict=True) if want)]
    differences = {}
    for name, one, other in zip(names, mine, theirs, strict=True):
        one, other = np.asarray(one), other.numpy()
        if other.ndim == 4:
            other = other.transpose(0, 2, 3, 1)
        scale = max(1.0, float(np.abs(other).max()))
        differences[name] = common.agree(f"{what}, {name}", one / scale, other / scale, TOLERANCES[name])
    return differences


def compare(n: int, side: int, name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Checks that both agree on one size and pass, then times them."""
    wanted, arrays = PASSES[name], inputs(n, side)
    what = f"warp {n}x{side}x{side}x3 {name}"
    contenders: dict[str, Callable[[], Any]] = {
        "mollax": common.split_over_devices(lambda seed, device, *arrays: ours(wanted, *arrays), *arrays),
        "torch": TorchWarp(wanted, *arrays),
    }
    differences = agree(what, wanted, *(contender() for contender in contenders.values()))
    seconds = common.measure(contenders, options)
    floor = FLOOR_FORWARD_224 if (name, side) == ("forward", 224) else FLOORS[name]
    return common.compare(what, seconds, ours="mollax", peer="torch", floor=floor, largest_differences=differences)


def main() -> None:
    """All sizes and passes."""
    options = common.arguments(__doc__)
    record = common.start(options)
    for n, side in ((4, 16),) if options.tiny else SIZES:
        for name in PASSES:
            record["results"].append(compare(n, side, name, options))
    common.finish(record, options)


if __name__ == "__main__":
    main()
