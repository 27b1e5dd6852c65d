"""Collections of every kind of source: what is listed, what is read, and mistakes by message."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from mollax.data.collection import ANY, _split_of, guess_reader, open_collection
from mollax.data.dataset import ReadOptions, Skip


def save(path, value=0, *, size=(6, 4), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value,) * 3).save(path)


def read(found, *, size=4, channels=1):
    return found.read(np.arange(len(found)), ReadOptions(size, "stretch", channels, "white", "skip"))


def test_class_folders_have_labels(tmp_path):
    for i, name in enumerate(("b", "a", "a/deep")):
        save(tmp_path / name / "x.png", 10 * i)
    found = open_collection(tmp_path)
    assert found.files == ("a/deep/x.png", "a/x.png", "b/x.png")
    assert found.class_names == ("a", "b")
    np.testing.assert_array_equal(found.labels, [0, 0, 1])
    loaded = read(found)
    assert loaded.folders == ("a/deep", "a", "b")
    np.testing.assert_array_equal(loaded.images[:, 0, 0, 0], [20, 10, 0])
    some = loaded.take(np.array([2, 0]))
    assert some.files == ("b/x.png", "a/deep/x.png")
    np.testing.assert_array_equal(some.labels, [1, 0])


def test_loose_images_have_none(tmp_path):
    save(tmp_path / "x.png")
    save(tmp_path / "day" / "y.jpg")
    (tmp_path / "readme.txt").touch()
    found = open_collection(tmp_path)
    assert found.labels is None
    assert found.class_names == ()
    assert found.notes == ("1 files that are not images ignored",)
    assert read(found).folders == ("day", "")


def test_splits(tmp_path):
    for split in ("train", "val", "test"):
        save(tmp_path / split / "a" / f"{split}.png")
    by_default = {preferred: open_collection(tmp_path, preferred=preferred).files for preferred in ("train", "test")}
    assert by_default == {"train": ("train/a/train.png",), "test": ("test/a/test.png",)}
    assert open_collection(tmp_path, split="validation").split == "validation"
    assert len(open_collection(tmp_path, split="all")) == 3
    assert open_collection(tmp_path, split="all").class_names == ("a",)
    save(tmp_path / "other" / "x" / "train.png")
    with pytest.raises(ValueError, match="has no validation split; it has all"):
        open_collection(tmp_path, split="validation")


def test_bad_files_are_skipped(tmp_path):
    save(tmp_path / "a" / "x.png", 7)
    (tmp_path / "a" / "bad.png").write_bytes(b"nothing")
    loaded = read(open_collection(tmp_path))
    assert loaded.files == ("a/x.png",)
    assert len(loaded.labels) == 1
    assert loaded.skipped[0].where.endswith("a/bad.png")


def test_zip(tmp_path):
    save(tmp_path / "in" / "a" / "x.png", 7)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.write(tmp_path / "in" / "a" / "x.png", "a/x.png")
    found = open_collection(tmp_path / "set.zip")
    assert found.name == "set"
    assert read(found).images.max() == 7


def test_npz_with_and_without_labels(tmp_path, rng):
    images = rng.random((5, 6, 4, 3))
    np.savez(tmp_path / "plain.npz", images=images)
    images[2, 0, 0, 0] = np.nan
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(5) % 2, class_names=np.array(["a", "b"]))
    plain, labelled = (open_collection(tmp_path / f"{name}.npz") for name in ("plain", "set"))
    assert plain.labels is None
    assert plain.storage.size == {"6 x 4": 5}
    assert labelled.class_names == ("a", "b")
    loaded = read(labelled, channels=3)
    assert len(loaded) == 4
    assert loaded.images.shape == (4, 4, 4, 3)
    assert loaded.skipped[0].reason == "has NaN or infinite pixels"
    np.savez(tmp_path / "none.npz", images=np.full((2, 4, 4), np.inf))
    with pytest.raises(ValueError, match=r"no image that can be used: images.0. has NaN or infinite pixels"):
        open_collection(tmp_path / "none.npz")


def test_splits_of_two_shapes_are_no_one_list(tmp_path):
    labels = np.zeros(2, np.int32)
    arrays = {f"{split}_images": np.zeros((2, size, 8), np.uint8) for split, size in (("train", 8), ("test", 9))}
    np.savez(tmp_path / "set.npz", **arrays, train_labels=labels, test_labels=labels)
    assert open_collection(tmp_path / "set.npz").split == "train"
    with pytest.raises(ValueError, match="differ in image shape: train 8x8x1, test 9x8x1"):
        open_collection(tmp_path / "set.npz", split="all")


def test_skipped_images_are_those_of_the_split(tmp_path):
    """A bad image of train is no matter of test; joined splits have them all."""
    arrays = {}
    for split in ("train", "validation", "test"):
        arrays |= {f"{split}_images": np.full((4, 6, 6), 0.5), f"{split}_labels": np.zeros(4, np.int32)}
    arrays["train_images"][1, 0, 0] = np.nan
    arrays["validation_images"][:2, 0, 0] = np.nan
    np.savez(tmp_path / "set.npz", **arrays)
    where = {
        split: [skip.where for skip in read(open_collection(tmp_path / "set.npz", split=split)).skipped]
        for split in ("train", "validation", "test", "all")
    }
    assert where["train"] == ["train_images[1]"]
    assert where["validation"] == ["validation_images[0]", "validation_images[1]"]
    assert where["test"] == []
    assert where["all"] == where["train"] + where["validation"]


def test_skipped_images_of_tfds_know_their_split():
    names = ("beans/train[3]", "beans/validation[3]", "beans/val[0]", "images[0]", "folder/train/x.png")
    found = [_split_of(Skip(name, "is bad"), ("train", "validation")) for name in names]
    assert found == ["train", "validation", "validation", None, None]
    assert _split_of(Skip("tiny_imagenet200/validation[3]", "is bad"), ("train", "test")) is None  # its test split


def test_digits_are_arrays():
    found = open_collection("digits", preferred="test")
    assert (found.name, found.split, len(found)) == ("digits", "test", 359)
    assert found.storage.format == {"array (digits)": 359}
    loaded = found.read(np.array([0, 5]), ANY)
    assert loaded.files == ("test[0]", "test[5]")


def test_kinds_are_guessed(tmp_path):
    save(tmp_path / "folder" / "x.png")
    (tmp_path / "idx").mkdir()
    (tmp_path / "idx" / "train-images-idx3-ubyte.gz").touch()
    (tmp_path / "cifar" / "cifar-10-batches-py").mkdir(parents=True)
    (tmp_path / "cifar" / "cifar-10-batches-py" / "data_batch_1").touch()
    (tmp_path / "tiny" / "train").mkdir(parents=True)
    (tmp_path / "tiny" / "wnids.txt").touch()
    for name in ("set.npz", "cifar.tar.gz", "one.png", "set.rar"):
        (tmp_path / name).touch()
    kinds = {name: guess_reader(tmp_path / name) for name in ("folder", "idx", "cifar", "tiny", "set.npz")}
    assert kinds == {"folder": "folder", "idx": "idx", "cifar": "cifar", "tiny": "tiny_imagenet", "set.npz": "npz"}
    assert guess_reader(tmp_path / "cifar.tar.gz") == "cifar"
    assert guess_reader("digits") == "digits"
    with pytest.raises(ValueError, match=r"unknown kind; known are .* Give the folder that it is in"):
        guess_reader(tmp_path / "one.png")
    with pytest.raises(ValueError, match=r"unknown kind; known are .*gz\.$"):
        guess_reader(tmp_path / "set.rar")
    with pytest.raises(FileNotFoundError, match=r"does not exist. Give a folder or .zip"):
        guess_reader(tmp_path / "nothing")


def test_mistakes(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no images"):
        open_collection(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"reader must be one of .*Did you mean 'folder'"):
        open_collection(tmp_path, reader="foldr")
    with pytest.raises(ValueError, match="has no validation split; it has train, test"):
        open_collection("digits", split="validation")
