"""What corruptions and the training's own noise and blur do to the cosine spectrum of a set of images (eq 16)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from mollax import checks, corrupt, keys, mollify
from mollax.corrupt.spectrum import dct_change
from mollax.data import Split
from mollax.evaluators.corrupter import Corrupter, compiled_ahead
from mollax.evaluators.corruption import expand
from mollax.evaluators.predictor import stack
from mollax.image import standardize, unstandardize

BATCH = 250
MOLLIFIERS = ("noise", "blur")


def corruption_spectra(
    images: UInt8[np.ndarray, "n h w c"],
    names: Sequence[str] = ("test", "extra"),
    *,
    severities: Sequence[int] = corrupt.SEVERITIES,
    cache: str | Path = "",
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Float[np.ndarray, "h w"]]:
    """{corruption: mean |DCT change| per frequency} (eq 16), pixels in [0, 1], averaged over images and severities.

    The corrupted images are those of the benchmark: 8-bit, the same draws for the same image numbers.

    Args:
      images: N images; the more, the smoother the spectra.
      names: corruptions, "test" for the 15 and "extra" for the 4 held-out ones.
      severities: averaged over; the paper does not say which it took.
      cache: folder that keeps corrupted images, as `Corrupter`; "" keeps none.
      progress: called with what was done, how many of the changes, and of how many.

    Raises:
      ValueError: for no image, an unknown name or severity.
    """
    names = expand(names)
    _require_images(images)
    if not severities:
        raise ValueError("Spectra need one severity or more, from 1 to 5; got none.")
    split = Split(images, np.zeros(len(images), np.int32))
    corrupter = Corrupter(batch_size=min(BATCH, len(images)), cache=cache)
    found: dict[str, list[Float[np.ndarray, "h w"]]] = {name: [] for name in names}
    cells = [(name, severity) for name in names for severity in severities]
    for done, (name, severity) in enumerate(compiled_ahead(corrupter, split, cells), start=1):
        changed = corrupter.split(split, name, severity)
        batches = (stack(changed, range(part.start, part.stop)) for part in _parts(len(images)))
        found[name].append(_mean_change(images, batches))
        if progress is not None:
            progress(f"{name} {severity}", done, len(cells))
    return {name: np.mean(spectra, axis=0) for name, spectra in found.items()}


def mollification_spectra(
    images: UInt8[np.ndarray, "n h w c"],
    *,
    mean: Float[np.ndarray, " c"],
    std: Float[np.ndarray, " c"],
    alpha: float = 1.0,
    beta: float = 2.0,
    seed: int = 0,
) -> dict[str, Float[np.ndarray, "h w"]]:
    """The same for what training does: {"noise", "blur"}, each image at its own temperature t ~ Beta(alpha, beta).

    Pixels in [0, 1] as for corruptions, but neither clipped nor rounded, as the network sees them.

    Args:
      images: N images.
      mean, std: per channel, in [0, 1], that training standardizes with.
      alpha, beta: of the temperature.
      seed: of temperatures and noise.

    Raises:
      ValueError: for no image, or as `mollify.sample_temperature`.
    """
    _require_images(images)
    center, spread = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)

    def batches(role: str) -> Iterator[np.ndarray]:
        key = keys.stream_key(seed, f"spectrum/{role}")
        for part in _parts(len(images)):
            batch = standardize(jnp.asarray(images[part], jnp.float32) / 255.0, center, spread)
            labels = jnp.ones((len(batch), 1), jnp.float32)
            shown = mollify.mollify_batch(
                key, batch, labels, roles=(role,), alpha=alpha, beta=beta, first_index=part.start
            ).images
            yield np.asarray(255.0 * unstandardize(shown, center, spread))

    return {role: _mean_change(images, batches(role)) for role in MOLLIFIERS}


def image_spectrum(images: UInt8[np.ndarray, "n h w c"]) -> Float[np.ndarray, "h w"]:
    """Mean |DCT[x_i]| of the images themselves, pixels in [0, 1]: what there is to be changed."""
    _require_images(images)
    return _mean_change(images, (np.zeros_like(images[part]) for part in _parts(len(images))))


def _parts(count: int) -> list[slice]:
    return [slice(start, min(start + BATCH, count)) for start in range(0, count, BATCH)]


def _mean_change(images: UInt8[np.ndarray, "n h w c"], changed: Iterator[np.ndarray]) -> Float[np.ndarray, "h w"]:
    """Eq 16 over all images, whose changed versions come in the batches of `_parts`, in units of 1/255."""
    total = np.zeros(images.shape[1:3])
    for part, batch in zip(_parts(len(images)), changed, strict=True):
        original = jnp.asarray(images[part], jnp.float32) / 255.0
        mean = _change(original, jnp.asarray(batch, jnp.float32) / 255.0)
        total += len(batch) * np.asarray(mean, np.float64)
    return total / len(images)


def _require_images(images: UInt8[np.ndarray, "n h w c"]) -> None:
    checks.rank("images", images, 4, "(n, height, width, channels)")
    if not len(images):
        raise ValueError("A spectrum needs at least one image; got none.")


_change = jax.jit(dct_change)
