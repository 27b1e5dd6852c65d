"""PNG sizes against files that Pillow wrote, and the loss curve on photographs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from mollax.data import ReadOptions
from mollax.data.decode import decode_splits
from mollax.data.tiny_imagenet import list_tiny_imagenet
from mollax.mollify import png_bytes, png_loss_curve
from mollax.mollify.compression import TINY_IMAGENET_PNG_LOSS


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    """Four 64-pixel crops of scikit-learn's two photographs, halved in size first as TinyImageNet's were."""
    crops = []
    for photograph in load_sample_images().images:
        half = np.asarray(Image.fromarray(photograph).resize((320, 213), Image.Resampling.BOX))
        crops += [half[60:124, 100:164], half[120:184, 180:244]]
    return np.stack(crops)


@pytest.mark.parametrize("channels", [1, 3])
def test_bytes_are_those_of_a_file(channels: int, photographs: np.ndarray, tmp_path: Path) -> None:
    image = photographs[0][..., :channels]
    path = tmp_path / "image.png"
    Image.fromarray(image[..., 0] if channels == 1 else image).save(path)
    assert png_bytes(image) == path.stat().st_size
    np.testing.assert_array_equal(np.asarray(Image.open(path)).reshape(image.shape), image)


def test_curve_starts_at_zero_rises_and_ends_near_one(photographs: np.ndarray) -> None:
    curve = png_loss_curve(photographs, np.linspace(0.0, 1.0, 11))
    assert curve.shape == (4, 11)
    np.testing.assert_array_equal(curve[:, 0], np.zeros(4))
    assert np.all(curve[:, -1] > 0.93)
    assert np.all(curve < 1)
    assert np.all(np.diff(curve, axis=1) > -0.02)
    assert np.all(np.diff(curve.mean(axis=0)) > 0)
    # Fig 3: roughly linear.
    assert np.abs(curve.mean(axis=0) - np.linspace(0.0, 1.0, 11)).max() < 0.2


def test_each_image_and_temperature_stands_for_itself(photographs: np.ndarray) -> None:
    times = np.array([0.2, 0.6])
    whole = png_loss_curve(photographs, times)
    # A product of another shape may round one pixel in a thousand the other way: a few bytes.
    alone = png_loss_curve(photographs[1:2], times[::-1])[0]
    np.testing.assert_allclose(alone, whole[1, ::-1], atol=2e-3)


def test_a_gray_set_and_a_flat_image(photographs: np.ndarray) -> None:
    assert png_loss_curve(photographs[..., :1], np.array([0.5])).shape == (4, 1)
    flat = np.full((1, 32, 32, 3), 128, np.uint8)
    np.testing.assert_array_equal(png_loss_curve(flat, np.array([0.0, 0.5, 1.0])), np.zeros((1, 3)))


@pytest.mark.slow
def test_the_table_is_what_tiny_imagenet_gives(real_data: Path) -> None:
    tiny = list_tiny_imagenet(real_data / "tiny-imagenet-200.zip")
    records = sorted(tiny.records["test"])[:200]
    splits, _, _ = decode_splits(tiny.files, {"test": records}, ReadOptions(channels=3), tiny.class_names)
    curve = png_loss_curve(np.stack([splits["test"].images[i] for i in range(200)]), np.linspace(0, 1, 21))
    error = curve.std(axis=0) / np.sqrt(200)
    # The table is the mean over 1,000 images, these 200 among them.
    assert np.all(np.abs(curve.mean(axis=0) - TINY_IMAGENET_PNG_LOSS) <= 4 * error + 1e-4)


@pytest.mark.usefixtures("unhooked")
def test_bad_input_is_refused(photographs: np.ndarray) -> None:
    times = np.array([0.5])
    with pytest.raises(ValueError, match="at least one image and one temperature; got 0 images and 1 temp"):
        png_loss_curve(photographs[:0], times)
    with pytest.raises(ValueError, match="at least one image and one temperature; got 4 images and 0 temp"):
        png_loss_curve(photographs, times[:0])
    with pytest.raises(ValueError, match=r"Temperatures must lie in \[0, 1\]; got -0.1 to 0.5"):
        png_loss_curve(photographs, np.array([-0.1, 0.5]))
    with pytest.raises(ValueError, match=r"images must have 4 axes .*got shape \(64, 64, 3\)"):
        png_loss_curve(photographs[0], times)
    with pytest.raises(ValueError, match=r"image must have 3 axes .*got shape \(64, 64\)"):
        png_bytes(photographs[0, ..., 0])
