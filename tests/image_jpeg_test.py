"""The JPEG model against PIL's encoder and decoder."""

import io
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from mollax.corrupt import severity
from mollax.image.jpeg import jpeg, quantization_tables

QUALITIES = sorted({quality for table in severity.TABLES.values() for quality in table["jpeg_compression"]})


def some_images(archive: Path, part: str, count: int) -> np.ndarray:
    """`count` RGB images spread over those of an archive whose names contain `part`."""
    with zipfile.ZipFile(archive) as folder:
        names = [name for name in folder.namelist() if part in name and name.lower().endswith((".jpg", ".jpeg"))]
        chosen = [names[i * len(names) // count] for i in range(count)]
        return np.stack([np.asarray(Image.open(io.BytesIO(folder.read(name))).convert("RGB")) for name in chosen])


@pytest.fixture(scope="module")
def cifar_images(real_data: Path) -> np.ndarray:
    """Forty 32x32 images of CIFAR-10."""
    return some_images(real_data / "cifar10_jpeg.zip", "test", 40)


@pytest.fixture(scope="module")
def tiny_images(real_data: Path) -> np.ndarray:
    """Twelve 64x64 images of TinyImageNet."""
    return some_images(real_data / "tiny-imagenet-200.zip", "val", 12)


def pil_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)).reshape(image.shape)


def ours(images: np.ndarray, quality: int) -> np.ndarray:
    """Levels that the model gives, after checking that they are whole."""
    coded = jax.jit(jax.vmap(lambda x: jpeg(x, quality)))(jnp.asarray(images / 255, jnp.float32))
    levels = np.asarray(coded) * 255
    assert np.abs(levels - np.round(levels)).max() < 1e-3
    return np.round(levels).astype(int)


def require_agreement(images: np.ndarray, quality: int) -> None:
    """At most 1 pixel in 2000 (here: about 1 in 100,000) differs from PIL's, and by one level."""
    expected = np.stack([pil_jpeg(image, quality) for image in images]).astype(int)
    off = np.abs(ours(images, quality) - expected)
    # Nearly all agree when libjpeg's arithmetic is followed; one level is what another libjpeg may change.
    assert off.max() <= 1
    assert (off > 0).mean() < 5e-4
    assert (expected != images).mean() > 0.3


@pytest.mark.parametrize("quality", [*QUALITIES, 1, 100])
def test_cifar_reads_back_as_with_pil(quality: int, cifar_images: np.ndarray) -> None:
    require_agreement(cifar_images, quality)


@pytest.mark.parametrize(
    "shape", [(64, 64, 3), (33, 47, 3), (41, 17, 3), (8, 9, 3), (56, 62, 3), (64, 64, 1), (15, 41, 1)]
)
def test_any_shape_reads_back_as_with_pil(shape: tuple[int, int, int], tiny_images: np.ndarray) -> None:
    height, width, channels = shape
    require_agreement(tiny_images[:, :height, :width, :channels], 40)


def test_imagenet_size_reads_back_as_with_pil(tiny_images: np.ndarray) -> None:
    enlarged = [Image.fromarray(image).resize((224, 224), Image.BICUBIC) for image in tiny_images[:2]]
    images = np.stack([np.asarray(image) for image in enlarged])
    require_agreement(images, 15)


def test_noise_reads_back_as_with_pil(rng: np.random.Generator) -> None:
    # The largest coefficients, where float32 has the fewest digits to spare, and colors that must be clipped.
    images = np.where(rng.random((8, 32, 32, 3)) < 0.5, 0, 255).astype(np.uint8)
    for quality in (90, 30):
        require_agreement(images, quality)


@pytest.mark.parametrize("quality", [1, 25, 49, 50, 75, 100])
def test_tables_are_those_in_pils_files(quality: int) -> None:
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG", quality=quality)
    stored = Image.open(file).quantization
    for table, steps in zip(quantization_tables(quality), (stored[0], stored[1]), strict=True):
        np.testing.assert_array_equal(table.reshape(-1), steps)


def test_values_are_rounded_to_levels_first(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (16, 16, 3)) / 255
    near = image + rng.uniform(-0.4, 0.4, image.shape) / 255
    np.testing.assert_array_equal(ours(near[None] * 255, 60), ours(image[None] * 255, 60))


def test_vmap_changes_nothing(rng: np.random.Generator) -> None:
    images = rng.integers(0, 256, (3, 20, 24, 3))
    one = jax.jit(lambda x: jpeg(x, 40))
    single = np.stack([np.asarray(one(jnp.asarray(image / 255, jnp.float32))) for image in images])
    np.testing.assert_array_equal(ours(images, 40), np.round(255 * single))


def test_bad_arguments_are_named(unhooked: None) -> None:
    image = jnp.zeros((16, 16, 3))
    with pytest.raises(ValueError, match=r"quality must be in \[1, 100\]; got 101"):
        jpeg(image, 101)
    with pytest.raises(ValueError, match="quality must be at least 1; got 0"):
        jpeg(image, 0)
    with pytest.raises(TypeError, match=r"quality must be an integer, got 50\.0"):
        jpeg(image, 50.0)
    with pytest.raises(ValueError, match=r"1 or 3 channels to become a JPEG; got shape \(16, 16, 2\)"):
        jpeg(image[..., :2], 50)
    with pytest.raises(ValueError, match=r"at least 8 rows and columns; got shape \(7, 16, 3\)"):
        jpeg(image[:7], 50)
    with pytest.raises(TypeError, match="image must be floats, not uint8"):
        jpeg(jnp.zeros((16, 16, 3), jnp.uint8), 50)
