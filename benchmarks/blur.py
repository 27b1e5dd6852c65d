"""Heat blur of a batch, each image with its own scale, against PyTorch on CPU doing the same maths.

    python benchmarks/blur.py --out docs/results/benchmark_blur.json

The peer is the usual dense form: cosine coefficients D x D^T, times exp(-tau (l_i + l_j)), and back. Informative:
`torch.bmm` with operators D^T diag(exp(-tau l)) D made for each image by hand, and scipy.fft.
Scales are those of training: eq 6 with t ~ Beta(1, 2). The batch is shared by the devices, on CPU one a core, as in
training.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

import common
import jax.numpy as jnp
import numpy as np
import scipy.fft
import torch
from jaxtyping import Float

from mollax.image.dct import dct_matrix
from mollax.mollify import blur_batch, blur_scale

SIZES = ((128, 32), (128, 64), (32, 224))
FLOOR = 2.2


def eigenvalues(side: int) -> Float[np.ndarray, " n"]:
    """(pi m / n)^2 of the cosine transform's rows."""
    return (np.pi * np.arange(side) / side) ** 2


class DenseBlur:
    """D^T ((D x D^T) exp(-tau (l_i + l_j))) D on (n, channels, side, side)."""

    def __init__(self, side: int) -> None:
        self._matrix = torch.from_numpy(dct_matrix(side)).float()
        values = torch.from_numpy(eigenvalues(side)).float()
        self._sums = values[:, None] + values[None, :]

    def __call__(self, images: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        gain = torch.exp(-0.5 * scales[:, None, None] ** 2 * self._sums)[:, None]
        coefficients = self._matrix @ images @ self._matrix.T
        return self._matrix.T @ (coefficients * gain) @ self._matrix


class OperatorBlur:
    """A x A with A = D^T diag(exp(-tau l)) D for each image, by batched products."""

    def __init__(self, side: int) -> None:
        self._matrix = torch.from_numpy(dct_matrix(side)).float()
        self._values = torch.from_numpy(eigenvalues(side)).float()

    def __call__(self, images: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        n, channels, side, _ = images.shape
        gain = torch.exp(-0.5 * scales[:, None] ** 2 * self._values)
        operator = (self._matrix.T * gain[:, None, :]) @ self._matrix
        rows = torch.bmm(images.reshape(n, channels * side, side), operator).reshape(images.shape)
        return torch.matmul(operator[:, None], rows)


def scipy_blur(images: Float[np.ndarray, "n c h w"], scales: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n c h w"]:
    """The same by fast transforms, on all cores."""
    values = eigenvalues(images.shape[-1])
    gain = np.exp(-0.5 * scales[:, None, None] ** 2 * (values[:, None] + values)).astype(images.dtype)
    coefficients = scipy.fft.dctn(images, norm="ortho", axes=(2, 3), workers=os.cpu_count())
    return scipy.fft.idctn(coefficients * gain[:, None], norm="ortho", axes=(2, 3), workers=os.cpu_count())


def compare(n: int, side: int, options: argparse.Namespace) -> dict[str, Any]:
    """Checks that all agree on one size, then times them."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(n, side, side, 3)).astype(np.float32)
    scales = np.array(blur_scale(jnp.asarray(rng.beta(1, 2, n), jnp.float32), side))
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    ours = common.split_over_devices(lambda seed, device, images, scales: blur_batch(images, scales), images, scales)
    dense, by_operator = DenseBlur(side), OperatorBlur(side)
    tensors = torch.from_numpy(planes), torch.from_numpy(scales)
    expected = ours().transpose(0, 3, 1, 2)
    peers = {
        "torch": lambda: dense(*tensors),
        "torch_bmm": lambda: by_operator(*tensors),
        "scipy": lambda: scipy_blur(planes, scales),
    }
    with torch.inference_mode():
        differences = {name: common.agree(name, expected, peer()) for name, peer in peers.items()}
        seconds = common.measure({"mollax": ours, **peers}, options)
    what = f"blur {n}x{side}x{side}x3"
    return common.compare(what, seconds, ours="mollax", peer="torch", floor=FLOOR, largest_differences=differences)


def main() -> None:
    """All sizes."""
    options = common.arguments(__doc__)
    record = common.start(options)
    for n, side in ((4, 16),) if options.tiny else SIZES:
        record["results"].append(compare(n, side, options))
    common.finish(record, options)


if __name__ == "__main__":
    main()
