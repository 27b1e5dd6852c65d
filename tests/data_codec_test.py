"""One round of JPEG, against PIL, and that it is what tells two sets apart."""

import io

import numpy as np
import pytest
from PIL import Image

from mollax.data import LazyImages
from mollax.data.codec import recode_jpeg


@pytest.mark.parametrize("channels", [1, 3])
def test_equals_pil(rng, channels):
    images = rng.integers(0, 256, (3, 16, 16, channels), np.uint8)
    made = recode_jpeg(images, 60)
    assert made.shape == images.shape
    for image, out in zip(images, made, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(image.squeeze()).save(buffer, "JPEG", quality=60)
        np.testing.assert_array_equal(out.squeeze(), np.asarray(Image.open(io.BytesIO(buffer.getvalue()))))
    assert (made != images).any()


def test_images_decoded_on_demand_stay_so(rng):
    images = rng.integers(0, 256, (3, 8, 8, 3), np.uint8)
    lazy = recode_jpeg(LazyImages(images.__getitem__, images.shape), 75)
    assert isinstance(lazy, LazyImages)
    np.testing.assert_array_equal(lazy[1], recode_jpeg(images, 75)[1])


def test_blocks_of_a_recoded_image_are_on_the_quantization_grid(rng):
    """What a detector would see: every DCT coefficient of a gray JPEG block is a multiple of its table's entry."""
    from scipy.fft import dctn

    image = rng.normal(128, 12, (8, 8)).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=30)
    table = np.array(Image.open(io.BytesIO(buffer.getvalue())).quantization[0]).reshape(8, 8)
    made = recode_jpeg(image[None, ..., None], 30)[0, ..., 0]
    rest = dctn(made.astype(np.float64) - 128, norm="ortho") / table
    assert np.abs(rest - np.rint(rest)).max() < 0.2


@pytest.mark.parametrize(
    "shape, quality, message",
    [
        ((1, 8, 8, 3), 101, "at most 100; got 101"),
        ((1, 8, 8, 3), 0, "jpeg_quality must be at least 1"),
        ((1, 8, 8, 2), 75, "these have 2 channels"),
    ],
)
def test_bad_input(shape, quality, message):
    with pytest.raises(ValueError, match=message):
        recode_jpeg(np.zeros(shape, np.uint8), quality)
