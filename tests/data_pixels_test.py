"""Size, channels, alpha, against Pillow and by hand; alike for arrays and for images decoded on demand."""

import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from mollax.data.dataset import LazyImages, RawData, ReadOptions, Split
from mollax.data.pixels import ToGray, conform, remove_alpha, resize_images, set_channels


@dataclass(frozen=True)
class Stored:
    """Decodes from an array."""

    images: np.ndarray

    def __call__(self, index: int) -> np.ndarray:
        return self.images[index]


def lazy(images: np.ndarray) -> LazyImages:
    return LazyImages(Stored(images), images.shape)


def noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [5, 16])
def test_stretch_is_pillow_bilinear(rng, channels, size):
    images = noise(rng, 3, 9, 12, channels)
    ours = resize_images(images, size)
    for image, result in zip(images, ours, strict=True):
        planes = [
            np.asarray(Image.fromarray(image[..., c]).resize((size, size), Image.Resampling.BILINEAR))
            for c in range(channels)
        ]
        np.testing.assert_array_equal(result, np.stack(planes, -1))


def test_halving_averages_rather_than_samples(rng):
    stripes = np.zeros((1, 8, 8, 1), np.uint8)
    stripes[:, :, ::2] = 255
    # A tent over four columns, weights 1/8, 3/8, 3/8, 1/8, half of them lit; sampling would give 0 or 255.
    assert abs(int(resize_images(stripes, 4)[0, 2, 2, 0]) - 128) <= 1


def test_crop_takes_the_centered_square(rng):
    images = noise(rng, 2, 10, 16, 3)
    np.testing.assert_array_equal(
        resize_images(images, 10, how="crop"), images[:, :, 3:13]
    )  # short side fits: no interpolation
    np.testing.assert_array_equal(
        resize_images(images, 5, how="crop"), resize_images(np.ascontiguousarray(images[:, :, 3:13]), 5)
    )


def test_same_size_is_untouched(rng):
    images = noise(rng, 2, 8, 8, 3)
    assert resize_images(images, 8) is images
    assert set_channels(images, 3) is images
    assert remove_alpha(images, alpha="raise") is images


def test_gray_is_pillow_luminance(rng):
    images = noise(rng, 4, 16, 16, 3)
    expected = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in images])[..., None]
    np.testing.assert_array_equal(set_channels(images, 1), expected)
    white = np.full((1, 1, 3), 255, np.uint8)
    assert ToGray()(white).item() == 255


def test_gray_repeats_to_rgb(rng):
    images = noise(rng, 2, 4, 4, 1)
    rgb = set_channels(images, 3)
    assert rgb.shape == (2, 4, 4, 3)
    assert all((rgb[..., c] == images[..., 0]).all() for c in range(3))
    np.testing.assert_array_equal(set_channels(rgb, 1), images)


def test_alpha_drop_and_white(rng):
    images = noise(rng, 3, 5, 5, 4)
    np.testing.assert_array_equal(remove_alpha(images, alpha="drop"), images[..., :3])
    opacity = images[..., 3:] / 255
    exact = images[..., :3] * opacity + 255 * (1 - opacity)
    np.testing.assert_array_equal(remove_alpha(images, alpha="white"), np.rint(exact))
    assert remove_alpha(noise(rng, 2, 3, 3, 2), alpha="drop").shape == (2, 3, 3, 1)


@pytest.mark.parametrize("how", ["stretch", "crop"])
def test_lazy_images_give_the_same_and_stay_lazy(rng, how):
    images = noise(rng, 3, 6, 8, 4)
    options = ReadOptions(image_size=4, resize=how, channels=1, alpha="white")
    labels = np.zeros(3, np.int32)
    eager = conform(RawData({"train": Split(images, labels)}, ("a",)), options).splits["train"]
    late = conform(RawData({"train": Split(lazy(images), labels)}, ("a",)), options).splits["train"]
    assert isinstance(late.images, LazyImages)
    assert late.images.shape == eager.images.shape == (3, 4, 4, 1)
    decode = pickle.loads(pickle.dumps(late.images.decode))
    for i in range(3):
        np.testing.assert_array_equal(late.images[i], eager.images[i])
        np.testing.assert_array_equal(decode(i), eager.images[i])


def test_conform_notes_what_it_did(rng):
    raw = RawData({"train": Split(noise(rng, 2, 8, 8, 1), np.zeros(2, np.int32))}, ("a",), notes=("first",))
    done = conform(raw, ReadOptions(image_size=4, channels=3))
    assert done.notes == (
        "first",
        "train: 2 images gray repeated to RGB",
        "train: 2 images resized from 8x8 to 4x4",
    )
    assert conform(raw, ReadOptions()).notes == ("first",)


def test_bad_input(rng):
    with pytest.raises(ValueError, match=r"have an alpha channel .RGBA.. Pass alpha='drop'"):
        remove_alpha(noise(rng, 1, 4, 4, 4), alpha="raise")
    with pytest.raises(ValueError, match=r"alpha must be one of .*Did you mean 'white'"):
        remove_alpha(noise(rng, 1, 4, 4, 4), alpha="whit")
    with pytest.raises(ValueError, match="resize must be one of 'stretch', 'crop'; got 'fit'"):
        resize_images(noise(rng, 1, 4, 4, 1), 2, how="fit")
    with pytest.raises(ValueError, match="image_size must be at least 1; got 0"):
        resize_images(noise(rng, 1, 4, 4, 1), 0)
    with pytest.raises(ValueError, match=r"channels must be 1 .* or 3 .*got 2"):
        set_channels(noise(rng, 1, 4, 4, 1), 2)
    flat = RawData({"train": Split(noise(rng, 1, 4, 6, 1), np.zeros(1, np.int32))}, ("a",))
    with pytest.raises(ValueError, match=r"Images are not square but 4x6. Set image_size="):
        conform(flat, ReadOptions())
    with pytest.raises(ValueError, match="Images have 5 channels"):
        set_channels(noise(rng, 1, 4, 4, 5), 3)
