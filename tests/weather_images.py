"""Real images for the tests of weather corruptions, and what two corruptions of them must have in common."""

import functools
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Float
from PIL import Image

from mollax.corrupt.severity import constants

Images = Float[np.ndarray, "n h w c"]
# The ends always, since every severity is a program to compile; the middle ones in the slow run.
SEVERITIES = [1, *(pytest.param(severity, marks=pytest.mark.slow) for severity in (2, 3, 4)), 5]


@functools.lru_cache(maxsize=4)
def load(folder: Path, side: int, n: int) -> Images:
    """`n` color images of side 32 (CIFAR-10) or 64 (TinyImageNet), spread over the classes, in [0, 1]."""
    archive, part = {
        32: ("cifar10_jpeg.zip", "cifar10/test/"),
        64: ("tiny-imagenet-200.zip", "tiny-imagenet-200/val/images/"),
    }[side]
    with zipfile.ZipFile(folder / archive) as files:
        names = [name for name in files.namelist() if name.startswith(part) and not name.endswith("/")]
        chosen = names[:: len(names) // n][:n]
        images = [Image.open(io.BytesIO(files.read(name))).convert("RGB") for name in chosen]
    stack = np.stack([np.asarray(image, np.float32) / 255 for image in images])
    stack.setflags(write=False)  # shared by all callers
    return stack


def store(images: Images) -> Images:
    """Clipped and truncated to 8 bits, in gray levels, as the benchmark keeps them."""
    return np.floor(np.clip(images, 0, 1).astype(np.float64) * 255)


def bands(images: Images) -> Float[np.ndarray, "4"]:
    """Spectral power in four rings of equal width, up to the Nyquist frequency; the mean is left out."""
    power = (np.abs(np.fft.fft2(images, axes=(1, 2))) ** 2).mean((0, 3))
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(power.shape[0]), np.fft.fftfreq(power.shape[1]), indexing="ij"))
    return np.asarray([power[(radius > i / 8) & (radius <= (i + 1) / 8)].sum() for i in range(4)])


def assert_alike(ours: Images, reference: Images, clean: Images) -> None:
    """Two corruptions of the same images agree in distribution: gray levels, size of the change, spectrum."""
    ours, reference, clean = store(ours), store(reference), store(clean)
    assert abs(ours.mean() - reference.mean()) < 3, (ours.mean(), reference.mean())
    assert abs(ours.std() - reference.std()) < 3, (ours.std(), reference.std())
    change, expected = np.abs(ours - clean).mean(), np.abs(reference - clean).mean()
    assert 0.88 < change / expected < 1.12, (change, expected)
    for name, ratio in {
        "image": bands(ours) / bands(reference),
        "change": bands(ours - clean) / bands(reference - clean),
    }.items():
        assert 0.6 < ratio.min() <= ratio.max() < 1.67, (name, ratio)


def compare(
    corruption: Callable[..., jax.Array],
    plain: Callable[..., np.ndarray],
    folder: Path,
    key: jax.Array,
    *,
    side: int,
    severity: int,
    n: int,
) -> None:
    """Fails unless a corruption of `n` real images looks like `plain(generator, image, *constants)` of the same."""
    clean = np.concatenate([load(folder, side, 40)] * (n // 40))
    row = constants(corruption.__name__, severity, side, side)
    rng = np.random.default_rng(severity)
    reference = np.stack([plain(rng, image, *row) for image in clean])
    draw = jax.jit(jax.vmap(lambda k, image: corruption(k, image, *row)))
    assert_alike(np.asarray(draw(jax.random.split(key, n), jnp.asarray(clean))), reference, clean)
