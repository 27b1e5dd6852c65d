"""The .npz reader: every accepted form, and an error by name for every other one."""

import numpy as np
import pytest

from mollax.data.dataset import ReadOptions, Skip
from mollax.data.npz import read_npz

ARRAYS = {"images": np.zeros((3, 4, 4, 3), np.uint8), "labels": np.array([0, 1, 1])}


def read(tmp_path, options=None, **arrays):
    file = tmp_path / "set.npz"
    np.savez(file, **arrays)
    return read_npz(file, options or ReadOptions())


def test_splits_and_class_names(tmp_path, rng):
    images = {s: rng.integers(0, 256, (n, 4, 4, 3), np.uint8) for s, n in (("train", 4), ("test", 2))}
    raw = read(
        tmp_path,
        train_images=images["train"],
        train_labels=np.array([0, 1, 2, 0], np.uint8),
        test_images=images["test"],
        test_labels=np.array([1, 1]),
        class_names=np.array(["ant", "bee", "cat", "dog"]),
    )
    assert set(raw.splits) == {"train", "test"}
    np.testing.assert_array_equal(raw.splits["test"].images, images["test"])
    assert raw.splits["train"].labels.dtype == np.int32
    assert raw.class_names == ("ant", "bee", "cat", "dog")
    assert raw.notes == ()


def test_without_splits_all_is_train_and_gray_needs_no_axis(tmp_path):
    raw = read(tmp_path, images=np.zeros((3, 5, 5), np.uint8), labels=np.array([2, 0, 1]))
    assert set(raw.splits) == {"train"}
    assert raw.splits["train"].images.shape == (3, 5, 5, 1)
    assert raw.class_names == ("0", "1", "2")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_rounded_to_8_bit(tmp_path, rng, dtype):
    images = rng.random((3, 4, 4, 1)).astype(dtype)
    images[0, 0, 0] = 1.0
    raw = read(tmp_path, images=images, labels=np.arange(3))
    np.testing.assert_array_equal(raw.splits["train"].images, np.rint(images.astype(np.float64) * 255))
    assert raw.notes == (f"images: 3 {np.dtype(dtype)} images in [0, 1] rounded to 8 bit",)


def test_bad_images_are_skipped_on_request(tmp_path):
    images = np.full((4, 2, 2, 1), 0.5, np.float32)
    images[1, 0, 0] = np.nan
    images[3, 0, 0] = 1.5
    raw = read(tmp_path, ReadOptions(on_bad_image="skip"), images=images, labels=np.arange(4))
    assert raw.splits["train"].labels.tolist() == [0, 2]
    assert raw.skipped == (
        Skip("images[1]", "has NaN or infinite pixels"),
        Skip("images[3]", "has values from 0.5 to 1.5, outside [0, 1]"),
    )


def test_options_apply(tmp_path):
    raw = read(tmp_path, ReadOptions(image_size=8, channels=1), **ARRAYS)
    assert raw.splits["train"].images.shape == (3, 8, 8, 1)
    rgba = ARRAYS | {"images": np.zeros((3, 4, 4, 4), np.uint8)}
    assert read(tmp_path, ReadOptions(alpha="white"), **rgba).splits["train"].images.min() == 255


NAN = np.full((3, 4, 4, 3), np.nan, np.float32)
LARGE = np.full((3, 4, 4, 3), 255.0, np.float32)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"images": NAN}, r"Image 0 of images has NaN or infinite pixels \(3 such images of 3\)"),
        ({"images": LARGE}, r"Image 0 of images has values from 255 to 255, outside \[0, 1\]"),
        ({"images": -LARGE}, r"outside \[0, 1\]"),
        ({"images": np.zeros((3, 4, 4, 3), np.int64)}, "images must be uint8 .* or float .*; got int64"),
        ({"images": np.zeros((3, 4, 4, 3), bool)}, "got bool"),
        ({"images": np.zeros((3, 48), np.uint8)}, r"must have 4 axes .*got shape \(3, 48\)"),
        ({"images": np.zeros((3, 3, 8, 8), np.uint8)}, "8 channels .*Channels seem to come first: transpose"),
        ({"images": np.zeros((3, 0, 4, 3), np.uint8)}, "images without pixels"),
        ({"images": np.zeros((3, 4, 4, 4), np.uint8)}, "alpha channel .RGBA."),
        ({"labels": np.array([0, 1])}, "images has 3 images, labels has 2 labels"),
        ({"labels": np.array([0.0, 1.0, 1.0])}, r"labels must be integers of shape \(n,\); got float64"),
        ({"labels": np.eye(3)}, r"shape \(3, 3\): one-hot labels\? .*argmax"),
        ({"labels": np.array([0, -1, 1])}, "negative label, -1 at position 1"),
        ({"labels": np.array([0, 2**40, 1])}, "which is no class index"),
        ({"labels": np.array(["a", "b", "c"])}, "labels must be integers"),
        ({"class_names": np.array(["one"])}, "class_names has 1 names, but there is a label 1"),
        ({"class_names": np.array(["one", "one"])}, "class_names holds 'one' twice"),
        ({"class_names": np.arange(2)}, "one-dimensional array of strings"),
        ({"images": np.array([{}, {}, {}])}, "images in .*set.npz cannot be read: an object array"),
        ({"test_image": np.zeros(3)}, "has unexpected test_image"),
        ({"train_images": np.zeros(3)}, "has unexpected train_images"),
    ],
)
def test_bad_arrays(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, **(ARRAYS | change))


def test_missing_keys(tmp_path):
    with pytest.raises(ValueError, match=r"lacks test_labels \(found: test_images, train_images, train_labels\)"):
        read(tmp_path, train_images=NAN, train_labels=NAN, test_images=NAN)
    with pytest.raises(ValueError, match=r"has unexpected keys \(found: class_names\)"):
        read(tmp_path, class_names=np.array(["a"]))


def test_unreadable_files(tmp_path):
    file = tmp_path / "set.npz"
    file.write_bytes(b"not a zip file")
    with pytest.raises(ValueError, match=r"set.npz is not a readable .npz file"):
        read_npz(file, ReadOptions())
    np.savez(file, **ARRAYS)
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"is not a readable .npz file"):
        read_npz(file, ReadOptions())
    np.savez(file, **ARRAYS)
    broken = bytearray(file.read_bytes())
    broken[200] ^= 255  # inside the first array
    file.write_bytes(broken)
    with pytest.raises(ValueError, match=r"images in .* cannot be read"):
        read_npz(file, ReadOptions())
    single = tmp_path / "one.npy"
    np.save(single, np.zeros(3))
    with pytest.raises(ValueError, match="holds a single array"):
        read_npz(single, ReadOptions())
