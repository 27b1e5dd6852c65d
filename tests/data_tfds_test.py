"""tensorflow-datasets without TensorFlow: small sets are prepared here by builders of the tests' own."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tfds_toy import IMAGE, LABEL, PIXELS, MollaxToy, examples, png, toy

from mollax.data import decode
from mollax.data.dataset import LazyImages, ReadOptions
from mollax.data.decode import BadImageError
from mollax.data.tfds import prepare_tfds, read_tfds

PLAIN = ReadOptions()


def read(data_dir, options=PLAIN):
    return read_tfds(data_dir, options, name="toy_of_others")


def test_reads_every_split_without_tensorflow(tmp_path):
    splits = {
        "train": examples(0, 1, 1),
        "validation": examples(1, 0, start=9),
        "test": examples(0, start=20),
    }
    raw = read(toy(tmp_path, splits))
    assert list(raw.splits) == ["train", "validation", "test"]
    assert raw.class_names == ("cat", "dog")
    assert raw.notes == raw.skipped == ()
    np.testing.assert_array_equal(raw.splits["train"].labels, [0, 1, 1])
    assert raw.splits["train"].labels.dtype == np.int32
    np.testing.assert_array_equal(raw.splits["validation"].images[:, 0, 0, 0], [9, 10])
    assert raw.splits["train"].images.shape == (3, 6, 6, 3)
    assert "tensorflow" not in sys.modules


def test_other_split_names_and_unlabelled_splits(tmp_path):
    splits = {"train": examples(0, 1), "dev": examples(1, 0), "test": examples(-1, -1), "extra": examples(0)}
    raw = read(toy(tmp_path, splits))
    assert list(raw.splits) == ["train", "validation"]
    assert raw.notes == ("splits ignored: extra", "split test ignored: its 2 images have no labels")


def test_options_and_notes(tmp_path):
    raw = read(toy(tmp_path, {"train": examples(0, 1)}), ReadOptions(image_size=4, channels=1))
    assert raw.splits["train"].images.shape == (2, 4, 4, 1)
    assert raw.notes == (
        "2 color images reduced to gray (luminance)",
        "2 images resized to 4x4 (stretch)",
    )


def test_arrays_are_read_too(tmp_path, rng):
    arrays = rng.integers(0, 256, (3, 6, 6, 1), dtype=np.uint8)
    data = [{"image": array, "label": 0} for array in arrays]
    raw = read(toy(tmp_path, {"train": data}, features={"image": PIXELS, "label": LABEL}))
    np.testing.assert_array_equal(raw.splits["train"].images, arrays)


def test_large_sets_are_lazy_and_picklable(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "MEMORY_LIMIT", 10)
    images = read(toy(tmp_path, {"train": examples(*[0, 1] * 20)})).splits["train"].images
    assert isinstance(images, LazyImages)
    images = pickle.loads(pickle.dumps(images))
    assert [int(images[i][0, 0, 0]) for i in range(40)] == list(range(40))


def test_bad_images_are_named(tmp_path):
    data = examples(0, 1, 0)
    data[2]["image"] = png(0)[:-25]
    toy(tmp_path, {"train": data})
    with pytest.raises(BadImageError, match=r"toy_of_others/train\[2\]: truncated"):
        read(tmp_path)
    raw = read(tmp_path, ReadOptions(on_bad_image="skip"))
    assert [skip.where for skip in raw.skipped] == ["toy_of_others/train[2]"]


TEXT = tfds.features.Text()
UNUSABLE = {
    "no class": (
        {"image": IMAGE, "label": tfds.features.Scalar(np.int64)}, ("image", "label"),
        {"image": png(0), "label": 1},
        r"'label' is not a class label. Its features: image: Image, label: Scalar",
    ),
    "no image": (
        {"image": TEXT, "label": LABEL}, ("image", "label"), {"image": "a", "label": 1},
        r"'image' is not an 8-bit image. Its features: image: Text, label: ClassLabel",
    ),
    "deep": (
        {"image": tfds.features.Image(shape=(6, 6, 1), dtype=np.uint16), "label": LABEL}, ("image", "label"),
        {"image": png(0), "label": 1}, r"'image' is not an 8-bit image",
    ),
    "other names": (
        {"picture": IMAGE, "kind": LABEL}, None, {"picture": png(0), "kind": 1},
        r"not a set of images with one label each. Its features: kind: ClassLabel, picture: Image",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNUSABLE)
def test_sets_without_image_and_class(name, tmp_path):
    features, keys, example, match = UNUSABLE[name]
    toy(tmp_path, {"train": [example]}, features=features, keys=keys)
    with pytest.raises(ValueError, match=match):
        read(tmp_path)


def test_keys_may_have_any_name(tmp_path):
    data = {"train": [{"picture": png(3), "kind": 1}]}
    toy(tmp_path, data, features={"picture": IMAGE, "kind": LABEL}, keys=("picture", "kind"))
    assert read(tmp_path).splits["train"].images[0, 0, 0, 0] == 3


def test_some_labels_missing(tmp_path):
    toy(tmp_path, {"train": examples(0, -1)})
    with pytest.raises(ValueError, match=r"toy_of_others/train\[1\] has label -1; expected 0 to 1"):
        read(tmp_path)


@pytest.mark.parametrize(
    "splits, match",
    [
        ({"part": examples(0)}, "has none of the splits train, validation and test, only part"),
        ({"val": examples(0), "dev": examples(1)}, "has two splits for one of train, validation and test"),
        ({"test": examples(-1)}, "has no labelled images"),
    ],
)
def test_unusable_splits(splits, match, tmp_path):
    toy(tmp_path, splits)
    with pytest.raises(ValueError, match=match):
        read(tmp_path)


def test_not_prepared(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"'mnist' is not prepared: .*mnist/.* is missing") as error:
        read_tfds(tmp_path, PLAIN, name="mnist")
    assert f"prepare_tfds('mnist', '{tmp_path}') where there is network access" in str(error.value)
    assert "copy mnist/ from its data_dir" in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"tiny_imagenet_builder.prepare\('tiny-imagenet-200.zip'"):
        read_tfds(tmp_path, PLAIN, name="tiny_imagenet200")


def test_prepared_in_a_format_of_tensorflow(tmp_path):
    toy(tmp_path, {"train": examples(0)})
    info = next(tmp_path.glob("toy_of_others/*/dataset_info.json"))
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(ValueError, match=r"prepared as tfrecord, which needs TensorFlow. Prepare it as array_"):
        read(tmp_path)


@pytest.mark.parametrize("function", [lambda path, name: read_tfds(path, PLAIN, name=name), None])
def test_unknown_names(function, tmp_path):
    function = function or (lambda path, name: prepare_tfds(name, path))
    with pytest.raises(ValueError, match=r"'minst' is not in the .*catalogue.* Did you mean 'mnist'\?"):
        function(tmp_path, "minst")


def test_no_name(tmp_path):
    with pytest.raises(ValueError, match=r"needs data.name=..."):
        read_tfds(tmp_path, PLAIN, name="")


class MollaxRaw(MollaxToy):
    """A builder that hands over arrays, as mnist and cifar10 do."""

    def __init__(self, **kwargs):
        super().__init__(splits={"train": [{"image": np.zeros((6, 6, 3), np.uint8), "label": 0}]}, **kwargs)


class MollaxOffline(MollaxToy):
    """A builder that downloads."""

    def __init__(self, **kwargs):
        super().__init__(splits={}, **kwargs)

    def _split_generators(self, dl_manager):
        raise OSError("no route to host")


class MollaxReady(MollaxToy):
    """A builder that hands over encoded images."""

    def __init__(self, **kwargs):
        super().__init__(splits={"train": examples(0, 1)}, **kwargs)


def test_preparing(tmp_path):
    with pytest.raises(ImportError, match=r"hands over arrays, .* pip install 'mollax\[tf\]'"):
        prepare_tfds("mollax_raw", tmp_path)
    with pytest.raises(ConnectionError, match=r"could not be downloaded and prepared \(no route to host\)"):
        prepare_tfds("mollax_offline", tmp_path)
    with pytest.raises(ValueError, match=r"'tiny_imagenet200' is not downloaded. Run .*prepare"):
        prepare_tfds("tiny_imagenet200", tmp_path)
    assert prepare_tfds("mollax_ready", tmp_path) == Path(tmp_path, "mollax_ready", "1.0.0")
    assert len(read_tfds(tmp_path, PLAIN, name="mollax_ready").splits["train"]) == 2
