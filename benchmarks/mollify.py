"""A whole mollified batch (roles, temperatures, noise, blur, labels) against PyTorch on CPU doing the same maths.

    python benchmarks/mollify.py --out docs/results/benchmark_mollify.json

The peer draws what we draw with torch's own generators, noises only the images whose role is noise and blurs (in the
dense cosine form) only those whose role is blur. A new draw for every call, on both sides. The batch is shared by the
devices, on CPU one a core, as in training.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import common
import jax
import numpy as np
import torch
from blur import DenseBlur

from mollax.mollify import ROLES, Mollified, mollify_batch
from mollax.mollify.schedule import MIN_BLUR_SCALE

SIZES = ((128, 32, 1.6), (128, 64, 1.8), (32, 224, 2.5))  # images, side, floor
CLASSES = 10
NOISE, BLUR = ROLES.index("noise"), ROLES.index("blur")


def mollify(seed: jax.Array, device: jax.Array, images: jax.Array, labels: jax.Array) -> Mollified:
    """`mollify_batch` of a device's slice with its defaults; the key is made inside, as a training step does."""
    return mollify_batch(jax.random.key(seed), images, labels, first_index=device * len(images))


class TorchMollifier:
    """METHODS section 1 in torch: images (n, channels, side, side), one-hot labels (n, k)."""

    def __init__(self, side: int) -> None:
        self._blur, self._side = DenseBlur(side), side

    def draw(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Roles, uniform over none, noise and blur, and t ~ Beta(1, 2) by its inverse distribution function."""
        role = torch.randint(0, 3, (n,))
        return role, torch.where(role == ROLES.index("none"), 0.0, 1 - torch.sqrt(1 - torch.rand(n)))

    def degrade(
        self, images: torch.Tensor, labels: torch.Tensor, role: torch.Tensor, t: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Images and labels under given roles and temperatures (eq 4, 5, 6, 8, 12, 13)."""
        noisy, blurred = (role == NOISE).nonzero()[:, 0], (role == BLUR).nonzero()[:, 0]
        result = images.clone()
        chosen, angle = images[noisy], t[noisy][:, None, None, None] * (math.pi / 2)
        result[noisy] = torch.cos(angle) * chosen + torch.sin(angle) * torch.randn_like(chosen)
        scale = torch.exp((1 - t[blurred]) * math.log(MIN_BLUR_SCALE) + t[blurred] * math.log(self._side))
        result[blurred] = self._blur(images[blurred], scale)
        gamma = torch.where(role == NOISE, torch.sin(t * (math.pi / 2)) ** 2, t)[:, None]
        return result, (1 - gamma) * labels + gamma / labels.shape[1]

    def __call__(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.degrade(images, labels, *self.draw(len(images)))


def check(mollified: Mollified, images: np.ndarray, theirs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The largest differences under equal roles and temperatures; noise can only agree in distribution."""
    role, t = np.asarray(mollified.role), np.asarray(mollified.t)
    found = np.asarray(mollified.images)
    same = role != NOISE
    differences = {"labels": common.agree("labels", mollified.labels, labels)}
    differences["images"] = common.agree("images that are not noised", found[same], theirs[same])
    angle = t[~same][:, None, None, None] * (math.pi / 2)
    noise = (found[~same] - np.cos(angle) * images[~same])[t[~same] > 0.05]
    noise /= np.sin(angle)[t[~same] > 0.05]
    spread = 6 / math.sqrt(noise.size)  # six standard errors of a mean
    if abs(noise.mean()) > spread or abs(noise.var() - 1) > 2 * spread:
        raise SystemExit(f"The noise has mean {noise.mean():.4f} and variance {noise.var():.4f}; not timed.")
    return differences


def compare(n: int, side: int, floor: float, options: argparse.Namespace) -> dict[str, Any]:
    """Checks that both agree on one size, then times them."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(n, side, side, 3)).astype(np.float32)
    labels = np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, n)]
    ours = common.split_over_devices(mollify, images, labels)
    peer = TorchMollifier(side)
    tensors = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))), torch.from_numpy(labels)
    with torch.inference_mode():
        mollified = ours()
        role, t = (torch.from_numpy(np.array(values)) for values in (mollified.role, mollified.t))
        theirs = [tensor.numpy() for tensor in peer.degrade(*tensors, role, t)]
        differences = check(mollified, images, theirs[0].transpose(0, 2, 3, 1), theirs[1])
        seconds = common.measure({"mollax": ours, "torch": lambda: peer(*tensors)}, options)
    what = f"mollify_batch {n}x{side}x{side}x3"
    return common.compare(what, seconds, ours="mollax", peer="torch", floor=floor, largest_differences=differences)


def main() -> None:
    """All sizes."""
    options = common.arguments(__doc__)
    record = common.start(options)
    for n, side, floor in ((24, 16, 1.6),) if options.tiny else SIZES:
        record["results"].append(compare(n, side, floor, options))
    common.finish(record, options)


if __name__ == "__main__":
    main()
