"""The loader: disjoint splits from one seed, options in order, and every refusal at the door."""

from dataclasses import dataclass

import numpy as np
import pytest

from mollax.data import Dataset, LazyImages, RawData, Skip, Split, describe, load
from mollax.data import readers as readers_module
from mollax.data.duplicates import NOT_COMPARED, content_hashes
from mollax.data.readers import READERS, SPECIFIC, Reader


def save(tmp_path, counts=(30, 30, 30), rng=None, **more):
    """An .npz set with distinct random images, `counts` a class."""
    rng = rng or np.random.default_rng(0)
    labels = np.repeat(np.arange(len(counts)), counts)
    images = rng.integers(0, 256, (len(labels), 4, 4, 1), np.uint8)
    path = tmp_path / "flowers.npz"
    np.savez(path, **({"images": images, "labels": labels} | more))
    return path


def hashes(split: Split) -> set[bytes]:
    return set(content_hashes(split.images))


def use(monkeypatch, raw: RawData) -> None:
    """Makes "npz" a reader that returns `raw`."""
    monkeypatch.setitem(READERS, "npz", Reader(lambda path, options: raw, source=""))


def test_digits_need_nothing():
    data = load("digits")
    assert isinstance(data, Dataset)
    assert data.image_shape == (8, 8, 1)
    assert (len(data.train), len(data.validation), len(data.test)) == (1294, 144, 359)
    assert not hashes(data.train) & hashes(data.validation)
    assert not (hashes(data.train) | hashes(data.validation)) & hashes(data.test)


def test_split_seed_moves_validation_but_not_the_published_test():
    first, again, other = load("digits"), load("digits"), load("digits", split_seed=1)
    np.testing.assert_array_equal(first.validation.images, again.validation.images)
    assert hashes(first.validation) != hashes(other.validation)
    np.testing.assert_array_equal(first.test.images, other.test.images)


def test_missing_splits_are_cut_from_train(tmp_path):
    data = load("npz", path=save(tmp_path))
    assert (len(data.train), len(data.validation), len(data.test)) == (65, 7, 18)
    assert np.bincount(data.test.labels).tolist() == [6, 6, 6]
    assert "no test split found: 18 of the training images set apart (split_seed=0)" in data.notes
    assert len(hashes(data.train) | hashes(data.validation) | hashes(data.test)) == 90
    assert data.name == "flowers"
    small = load("npz", path=tmp_path / "flowers.npz", test=0.5, validation=0.2)
    assert (len(small.train), len(small.validation), len(small.test)) == (36, 9, 45)


def test_given_splits_are_kept(tmp_path, rng):
    parts = {}
    for split, n in (("train", 6), ("validation", 4), ("test", 2)):
        parts |= {
            f"{split}_images": rng.integers(0, 256, (n, 4, 4, 1), np.uint8),
            f"{split}_labels": np.arange(n) % 2,
        }
    np.savez(tmp_path / "set.npz", **parts)
    data = load("npz", path=tmp_path / "set.npz")
    np.testing.assert_array_equal(data.validation.images, parts["validation_images"])
    np.testing.assert_array_equal(data.test.images, parts["test_images"])
    assert data.notes == ()
    limited = load("npz", path=tmp_path / "set.npz", limit=4, test_limit=2)
    assert (len(limited.train), len(limited.validation), len(limited.test)) == (4, 2, 2)
    assert "validation: 2 of 4 images kept (limit)" in limited.notes


def test_classes_long_tail_and_limits_in_this_order(tmp_path):
    path = save(tmp_path, (50, 50, 50, 50), class_names=np.array(list("abcd")))
    data = load("npz", path=path, classes=("d", "a", 1), long_tail=4.0, validation=0.25)
    assert data.class_names == ("d", "a", "b")
    # 40 a class are left after test; 40, 20, 10 after the tail; a quarter of each goes to validation.
    assert np.bincount(data.train.labels).tolist() == [30, 15, 7]
    assert np.bincount(data.validation.labels).tolist() == [10, 5, 3]
    assert np.bincount(data.test.labels).tolist() == [10, 10, 10]
    assert any(note.startswith("long tail rho=4: 40 to 10 training images a class") for note in data.notes)
    small = load("npz", path=path, limit=40, test_limit=8)
    assert (len(small.train), len(small.validation), len(small.test)) == (36, 4, 8)
    assert "train: 40 of 160 images kept (limit)" in small.notes
    assert np.bincount(small.test.labels).tolist() == [2] * 4


def test_duplicates_across_splits(tmp_path, rng):
    images = rng.integers(0, 256, (20, 4, 4, 1), np.uint8)
    labels = np.arange(20) % 2
    test = images[:10].copy()
    test[2:] ^= 1
    path = tmp_path / "d.npz"
    np.savez(path, train_images=images, train_labels=labels, test_images=test, test_labels=labels[:10])
    noted, dropped = (
        load("npz", path=path, validation=0.2),
        load("npz", path=path, duplicates="drop", validation=0.2),
    )
    assert len(noted.train) + len(noted.validation) == 20
    assert len(dropped.train) + len(dropped.validation) == 18
    assert len(dropped.test) == 10
    assert sum("also in test, pixel for pixel" in note for note in noted.notes) in (1, 2)
    assert not (hashes(dropped.train) | hashes(dropped.validation)) & hashes(dropped.test)
    with pytest.raises(ValueError, match="images are also in test, pixel for pixel"):
        load("npz", path=path, duplicates="raise")


def test_validation_is_compared_with_test_as_well(monkeypatch, rng):
    images = rng.integers(0, 256, (8, 4, 4, 1), np.uint8)
    labels = np.arange(4, dtype=np.int32) % 2
    shared = Split(np.concatenate([images[4:6], images[6:7], images[:1]]), labels)  # the last is in train
    use(
        monkeypatch,
        RawData(
            {"train": Split(images[:4], labels), "validation": shared, "test": Split(images[4:], labels)},
            ("a", "b"),
        ),
    )
    data = load("npz", duplicates="drop")
    assert (len(data.train), len(data.validation), len(data.test)) == (3, 1, 4)
    assert data.notes[:2] == (
        "3 of 4 validation images are also in test, pixel for pixel; dropped from validation",
        "1 of 4 train images are also in validation, pixel for pixel; dropped from train",
    )


@dataclass
class Counting:
    """Decodes noise by index and counts."""

    calls: int = 0

    def __call__(self, index: int) -> np.ndarray:
        self.calls += 1
        return np.random.default_rng(index).integers(0, 256, (4, 4, 1), np.uint8)


def test_lazy_images_are_not_decoded(monkeypatch):
    decode = Counting()
    split = Split(LazyImages(decode, (60, 4, 4, 1)), np.arange(60, dtype=np.int32) % 3)
    use(monkeypatch, RawData({"train": split}, ("a", "b", "c")))
    data = load("npz", classes=("c", "a"), long_tail=2.0, limit=20)
    assert decode.calls == 0
    assert data.notes.count(NOT_COMPARED) == 1
    for part in (data.train, data.validation, data.test):
        assert isinstance(part.images, LazyImages)
        original = [next(i for i in range(60) if (Counting()(i) == part.images[j]).all()) for j in range(len(part))]
        np.testing.assert_array_equal(np.array([1, -1, 0])[np.array(original) % 3], part.labels)


def test_sprites_names_and_options():
    data = load("sprites", angles="three_modes", per_class=5, test_per_class=2, image_size=16, channels=1)
    assert data.name == "sprites_three_modes"
    assert data.image_shape == (16, 16, 1)
    assert len(data.train) + len(data.validation) == 20


def test_describe(monkeypatch):
    lines = describe(load("digits", image_size=16))
    assert lines[0] == "digits: 10 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)"
    assert lines[1] == "images 16x16x1, 0.4 MiB in memory: train 1,294, validation 144, test 359"
    assert "note: test: 359 images resized from 8x8 to 16x16" in lines
    split = Split(LazyImages(Counting(), (24, 4, 4, 1)), np.arange(24, dtype=np.int32) % 12)
    skipped = tuple(Skip(f"{i}.png", "truncated") for i in range(7))
    raw = RawData(dict.fromkeys(("train", "validation", "test"), split), tuple("abcdefghijkl"), skipped)
    use(monkeypatch, raw)
    lines = describe(load("npz"))
    assert lines[0].endswith("12 classes (a, b, c, d, e, f, g, h, i, j, ...)")
    assert "decoded on demand" in lines[1]
    assert lines[-7:] == [
        "skipped 7 inputs:",
        *(f"  {i}.png: truncated" for i in range(5)),
        "  ... and 2 more",
    ]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"reader": "digit"}, "reader must be one of 'digits', .*got 'digit'. Did you mean 'digits'"),
        (
            {"reader": "idx"},
            r"The idx reader needs data.path=...: .*four files of MNIST.* mollax downloads nothing",
        ),
        ({"reader": "cifar", "path": ""}, "The cifar reader needs data.path=...: .*Toronto"),
        ({"reader": "tfds", "name": "cifar10"}, "The tfds reader needs data.path=...: the data_dir"),
        ({"reader": "digits", "path": "/data"}, "built into scikit-learn"),
        (
            {"reader": "digits", "angles": "90"},
            "angles='90' belongs to the sprites reader; the digits reader",
        ),
        ({"reader": "sprites", "name": "mnist"}, "name='mnist' belongs to the tfds reader"),
        ({"reader": "digits", "resize": "pad"}, "resize must be one of"),
        ({"reader": "digits", "alpha": "black"}, "alpha must be one of"),
        ({"reader": "digits", "on_bad_image": "ignore"}, "on_bad_image must be one of 'raise', 'skip'"),
        ({"reader": "digits", "channels": 4}, r"channels must be 1 \(gray\), 3 \(RGB\) or None .*got 4"),
        ({"reader": "digits", "image_size": 0}, "image_size must be at least 1"),
        ({"reader": "digits", "duplicates": "keep"}, "duplicates must be one of"),
        ({"reader": "digits", "long_tail": 0.1}, r"long_tail must be in \[1, inf\)"),
        ({"reader": "digits", "limit": -5}, "limit must be at least 0; got -5"),
        ({"reader": "digits", "limit": 5}, "limit=5 is less than one image for each of 10 classes"),
        ({"reader": "digits", "validation": 0.0}, r"validation must be in \(0, 1\); got 0.0"),
        ({"reader": "digits", "validation": 1e-5}, "leaves validation empty"),
        ({"reader": "digits", "split_seed": -1}, "split_seed must be at least 0"),
        ({"reader": "digits", "classes": ("11",)}, "No class is called '11'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        load(**arguments)


def test_tfds_needs_a_name(tmp_path):
    with pytest.raises(ValueError, match=r"The tfds reader needs data.name=.*such as 'cifar10'"):
        load("tfds", path=tmp_path)


def test_a_path_that_is_not_there():
    with pytest.raises(FileNotFoundError, match=r"data.path='/no/such' does not exist. The npz reader needs an .npz"):
        load("npz", path="/no/such")


def raw_of(labels, names=("a", "b"), shape=(4, 4, 1), **splits) -> RawData:
    labels = np.array(labels, np.int32)
    train = Split(np.zeros((len(labels), *shape), np.uint8), labels)
    return RawData({"train": train, **splits}, names)


EMPTY = Split(np.zeros((0, 4, 4, 1), np.uint8), np.zeros(0, np.int32))
ONE_CLASS = Split(np.ones((3, 4, 4, 1), np.uint8), np.zeros(3, np.int32))
LARGE = Split(np.ones((2, 8, 8, 1), np.uint8), np.arange(2, dtype=np.int32))


@pytest.mark.parametrize(
    "raw, message",
    [
        (RawData({"test": ONE_CLASS}, ("a",)), r"The npz reader found no training images \(found: test\)"),
        (
            RawData({"train": ONE_CLASS, "dev": ONE_CLASS}, ("a",)),
            "split must be one of 'train', .*got 'dev'",
        ),
        (raw_of([0, 1] * 5, test=EMPTY), "test has no images"),
        (raw_of([]), "train has no images"),
        (raw_of([0, 2] * 5), r"train: label 2 of image 1 is not in \[0, 2\); 5 of 10"),
        (
            raw_of([0, 1] * 5, test=LARGE),
            "Splits differ in image shape: train 4x4x1, test 8x8x1. Pass image_size",
        ),
        (
            raw_of([0] * 20),
            r"train has no images of 1 of 2 classes \(b\). Name the classes to keep with classes=",
        ),
    ],
)
def test_what_a_reader_returns_is_checked(monkeypatch, raw, message):
    use(monkeypatch, raw)
    with pytest.raises(ValueError, match=message):
        load("npz")


def test_a_class_missing_in_test_is_a_note(monkeypatch):
    use(monkeypatch, raw_of([0, 1] * 20, test=ONE_CLASS))
    assert "test has no images of 1 of 2 classes (b)" in load("npz").notes


def test_every_specific_argument_has_an_owner():
    owned = [key for entry in READERS.values() for key in entry.takes]
    assert sorted(owned) == sorted(SPECIFIC)
    assert set(READERS) == {"digits", "sprites", "idx", "folder", "npz", "cifar", "tiny_imagenet", "tfds"}
    assert all(callable(entry.read) for entry in readers_module.READERS.values())


def test_real_mnist(real_data):
    data = load("idx", path=real_data / "mnist", classes=(0, 1, 5, 6, 9), limit=500, test_limit=100)
    assert data.name == "mnist"
    assert data.class_names == ("0", "1", "5", "6", "9")
    assert (len(data.train), len(data.validation), len(data.test)) == (450, 50, 100)
