"""Cutout against PIL's rectangles at all edges, and its errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageDraw

from mollax.augment import cutout

HEIGHT, WIDTH = 11, 17
PLACES = [(x, y) for x in (0.01, 0.31, 0.72, 0.97) for y in (0.02, 0.43, 0.96)]


def pil_cutout(pixels: np.ndarray, side: float, center: tuple[float, float]) -> np.ndarray:
    """The square as the authors of Fast AutoAugment place and draw it."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    left, top = (int(max(0, part * length - side / 2)) for part, length in zip(center, image.size, strict=True))
    right, bottom = min(WIDTH, left + side), min(HEIGHT, top + side)
    if side > 0:
        ImageDraw.Draw(image).rectangle((left, top, right, bottom), (125, 123, 114) if image.mode == "RGB" else 123)
    return np.asarray(image).reshape(pixels.shape)


@pytest.mark.parametrize("channels", [1, 3])
def test_squares_are_pils(channels: int, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (HEIGHT, WIDTH, channels), np.uint8)
    image = jnp.asarray(pixels / 255, jnp.float32)
    apply = jax.jit(jax.vmap(lambda side, center: cutout(image, side, center=center)))
    cases = [(side, place) for side in (0.0, 0.3, 1.0, 3.4, 30.0) for place in PLACES]
    sides, centers = (jnp.asarray(values, jnp.float32) for values in zip(*cases, strict=True))
    expected = np.stack([pil_cutout(pixels, *case) for case in cases])
    np.testing.assert_allclose(255 * apply(sides, centers), expected, atol=1e-3)
    assert (expected != pixels).any(axis=(1, 2, 3)).sum() == len(cases) - len(PLACES)


def test_a_square_may_be_given_as_a_number() -> None:
    result = cutout(jnp.zeros((8, 8, 1)), 2, center=jnp.array([0.5, 0.25]))
    assert (np.asarray(result[..., 0]) > 0).sum(0).tolist() == [0, 0, 0, 3, 3, 3, 0, 0]
    assert (np.asarray(result[..., 0]) > 0).sum(1).tolist() == [0, 3, 3, 3, 0, 0, 0, 0]


def test_bad_arguments_are_named(unhooked: None) -> None:
    center = jnp.zeros(2)
    with pytest.raises(ValueError, match=r"side must be in \[0, inf\); got -1"):
        cutout(jnp.zeros((8, 8, 3)), -1, center=center)
    with pytest.raises(ValueError, match=r"image must have 1 or 3 channels; got shape \(8, 8, 4\)"):
        cutout(jnp.zeros((8, 8, 4)), 1, center=center)
