"""Our tfds builder: prepared from the zip without TensorFlow, it gives what the zip's own reader gives."""

import io
import sys
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from mollax.data.dataset import ReadOptions
from mollax.data.tfds import read_tfds
from mollax.data.tiny_imagenet import VAL_IS_TEST, read_tiny_imagenet
from mollax.data.tiny_imagenet_builder import TinyImagenet200, prepare

PLAIN = ReadOptions()
NAME = "tiny_imagenet200"


@pytest.fixture
def tiny_zip(tmp_path, rng):
    """Three classes of unequal size, two of one name; one image is gray."""
    labels = {"n01": 5, "n02": 3, "n03": 4}
    path = tmp_path / "tiny-imagenet-200.zip"

    def jpeg(mode="RGB"):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).convert(mode).save(file, "JPEG")
        return file.getvalue()

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny-imagenet-200/wnids.txt", "n02\nn01\nn03\n")
        archive.writestr("tiny-imagenet-200/words.txt", "n01\tgold fish, carp\nn02\tcrane\nn03\tcrane\n")
        for wnid, n in labels.items():
            for i in range(n):
                mode = "L" if (wnid, i) == ("n02", 1) else "RGB"
                archive.writestr(f"tiny-imagenet-200/train/{wnid}/images/{wnid}_{i}.JPEG", jpeg(mode))
        annotations = "".join(f"val_{i}.JPEG\tn0{1 + i % 3}\t0\t0\t1\t1\n" for i in range(7))
        archive.writestr("tiny-imagenet-200/val/val_annotations.txt", annotations)
        for i in range(7):
            archive.writestr(f"tiny-imagenet-200/val/images/val_{i}.JPEG", jpeg())
    return path


def same(a, b):
    assert a.class_names == b.class_names
    assert list(a.splits) == list(b.splits) == ["train", "test"]
    for name, split in a.splits.items():
        np.testing.assert_array_equal(split.images, b.splits[name].images)
        np.testing.assert_array_equal(split.labels, b.splits[name].labels)


def test_prepared_set_equals_the_zip(tiny_zip, tmp_path):
    folder = prepare(tiny_zip, tmp_path / "data")
    assert folder == tmp_path / "data" / NAME / "1.0.0"
    raw = read_tfds(tmp_path / "data", PLAIN, name=NAME)
    same(raw, read_tiny_imagenet(tiny_zip, PLAIN))
    assert raw.class_names == ("gold fish", "crane (n02)", "crane (n03)")
    assert raw.splits["train"].images.shape == (12, 64, 64, 3)
    assert raw.notes == (VAL_IS_TEST, "1 gray image repeated to RGB")
    assert "tensorflow" not in sys.modules


def test_prepared_set_has_the_original_split_names_and_bytes(tiny_zip, tmp_path):
    prepare(tiny_zip, tmp_path)
    builder = tfds.builder(NAME, data_dir=str(tmp_path))
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
        "train": 12,
        "validation": 7,
    }
    source = builder.as_data_source("validation", decoders={"image": tfds.decode.SkipDecoding()})
    with zipfile.ZipFile(tiny_zip) as archive:
        for i in range(7):
            assert source[i]["image"] == archive.read(f"tiny-imagenet-200/val/images/val_{i}.JPEG")
            assert source[i]["label"] == i % 3


def test_manual_dir(tiny_zip, tmp_path):
    builder = TinyImagenet200(data_dir=str(tmp_path / "data"), file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=str(tmp_path)))
    same(read_tfds(tmp_path / "data", PLAIN, name=NAME), read_tiny_imagenet(tiny_zip, PLAIN))


def test_preparing_twice_keeps_the_first(tiny_zip, tmp_path):
    folder = prepare(tiny_zip, tmp_path)
    before = (folder / "dataset_info.json").stat().st_mtime_ns
    assert prepare(tiny_zip, tmp_path) == folder
    assert (folder / "dataset_info.json").stat().st_mtime_ns == before


def test_bad_sources_leave_nothing_behind(tiny_zip, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone.zip does not exist"):
        prepare(tmp_path / "gone.zip", tmp_path / "data")
    (tmp_path / "bad.zip").write_bytes(tiny_zip.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"bad.zip is not a readable zip"):
        prepare(tmp_path / "bad.zip", tmp_path / "data")
    with pytest.raises(FileNotFoundError, match="is not prepared"):
        read_tfds(tmp_path / "data", PLAIN, name=NAME)


@pytest.mark.slow
def test_the_real_set(real_data, tmp_path):
    path = real_data / "tiny-imagenet-200.zip"
    prepare(path, tmp_path)
    same(read_tfds(tmp_path, PLAIN, name=NAME), read_tiny_imagenet(path, PLAIN))
