"""TinyImageNet in its original layout: labels, names, notes, and every malformed file."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from mollax.data.dataset import ReadOptions
from mollax.data.decode import BadImageError
from mollax.data.tiny_imagenet import class_words, list_tiny_imagenet, read_tiny_imagenet

PLAIN = ReadOptions()
TOP = "tiny-imagenet-200/"


def jpeg(value, mode="RGB"):
    """A flat 64x64 image; flat ones keep their value through JPEG within 1."""
    file = io.BytesIO()
    Image.new(mode, (64, 64), value if mode == "L" else (value,) * 3).save(file, "JPEG", quality=95)
    return file.getvalue()


def tiny():
    """The files of a set of two classes; image values count up by 10, one image is gray."""
    files = {
        "wnids.txt": b"n02\nn01\n",
        "words.txt": b"n00\tentity\nn01\tgoldfish, Carassius auratus\nn02\tcrane, wading bird\nn03\tcrane\n",
        "train/n01/n01_boxes.txt": b"n01_0.JPEG\t0\t0\t63\t63\n",
        "val/val_annotations.txt": b"val_0.JPEG\tn02\t0\t0\t9\t9\nval_1.JPEG\tn01\t0\t0\t9\t9\n",
        "val/images/val_0.JPEG": jpeg(40),
        "val/images/val_1.JPEG": jpeg(50, "L"),
    }
    for wnid in ("n01", "n02"):
        for i in range(2):
            files[f"train/{wnid}/images/{wnid}_{i}.JPEG"] = jpeg(20 * (wnid == "n02") + 10 * i)
    return files


def write(path, files, top=TOP):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(top + name, data)
    return path


def values(split):
    return [int(split.images[i].mean().round()) for i in range(len(split))]


@pytest.mark.parametrize("top", [TOP, "", "downloads/tiny-imagenet-200/"])
@pytest.mark.parametrize("unpack", [False, True])
def test_reads_the_original_layout(top, unpack, tmp_path):
    path = write(tmp_path / "tiny.zip", tiny(), top)
    if unpack:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path / "unpacked")
        path = tmp_path / "unpacked"
    raw = read_tiny_imagenet(path, PLAIN)
    assert list(raw.splits) == ["train", "test"]
    assert raw.class_names == ("goldfish", "crane")
    assert raw.class_ids == ("n01", "n02")
    assert raw.splits["train"].images.shape == (4, 64, 64, 3)
    np.testing.assert_allclose(values(raw.splits["train"]), [0, 10, 20, 30], atol=1)
    np.testing.assert_array_equal(raw.splits["train"].labels, [0, 0, 1, 1])
    np.testing.assert_allclose(values(raw.splits["test"]), [40, 50], atol=1)
    np.testing.assert_array_equal(raw.splits["test"].labels, [1, 0])
    assert raw.skipped == ()
    assert raw.notes == (
        "2 training images per class; the original has 500",
        "the original val images are the test set (the original test set has no public labels)",
        "1 gray image repeated to RGB",
    )


def test_options(tmp_path):
    path = write(tmp_path / "tiny.zip", tiny())
    raw = read_tiny_imagenet(path, ReadOptions(channels=1, image_size=32))
    assert raw.splits["train"].images.shape == (4, 32, 32, 1)
    assert raw.notes[2:] == (
        "5 color images reduced to gray (luminance)",
        "6 images resized to 32x32 (stretch)",
    )


def test_unequal_classes_and_the_unlabelled_test_images_are_noted(tmp_path):
    files = tiny() | {f"test/images/test_{i}.JPEG": jpeg(i) for i in range(3)}
    del files["train/n01/images/n01_1.JPEG"]
    raw = read_tiny_imagenet(write(tmp_path / "tiny.zip", files), PLAIN)
    assert raw.notes[0] == "1 to 2 training images per class; the original has 500"
    assert raw.notes[2] == "3 test images without labels ignored"


def test_duplicates_are_counted_and_kept(tmp_path):
    files = tiny()
    files["val/images/val_0.JPEG"] = files["train/n01/images/n01_1.JPEG"]
    files["train/n02/images/n02_1.JPEG"] = files["train/n02/images/n02_0.JPEG"]
    raw = read_tiny_imagenet(write(tmp_path / "tiny.zip", files), PLAIN)
    assert raw.notes[-2:] == (
        "1 of 2 test images are also in train, byte for byte",
        "1 of 4 training images repeat another one, byte for byte",
    )
    assert len(raw.splits["train"]) == 4


def test_words_shared_by_two_ids_carry_the_id():
    lines = ["n1\tcrane, bird", "n2\tcrane", "n3\torgan, pipe organ", ""]
    assert class_words(lines, ["n1", "n2", "n3"], "words.txt") == ("crane (n1)", "crane (n2)", "organ")
    assert class_words(lines, ["n2", "n3"], "words.txt") == ("crane", "organ")


def lines(*fields):
    return "".join("\t".join(line) + "\n" for line in fields).encode()


BOX = ("0", "0", "9", "9")
BOTH = (("val_0.JPEG", "n02", *BOX), ("val_1.JPEG", "n01", *BOX))
ERRORS = {
    "no wnids": ({"wnids.txt": None}, r"holds no wnids.txt. Expected the original tiny-imagenet-200.zip"),
    "no words": ({"words.txt": None}, r"holds no words.txt"),
    "no annotations": ({"val/val_annotations.txt": None}, r"holds no val/val_annotations.txt"),
    "empty wnids": ({"wnids.txt": b"\n"}, r"wnids.txt is empty. Expected one WordNet id a line"),
    "wnid twice": ({"wnids.txt": b"n01\nn02\nn01\n"}, r"wnids.txt names n01 twice"),
    "wnids in binary": ({"wnids.txt": b"\xff\xfe\xfa"}, r"wnids.txt cannot be read as text"),
    "words without tab": (
        {"words.txt": b"n01\tfish\nn02 crane\n"},
        r"words.txt, line 2: expected an id, a tab",
    ),
    "words without word": ({"words.txt": b"n01\t\nn02\tcrane\n"}, r"words.txt, line 1: expected an id"),
    "no word": ({"words.txt": b"n01\tfish\n"}, r"words.txt has no line for n02 \(1 of 2 ids"),
    "unknown class": ({"train/n09/images/n09_0.JPEG": b""}, r"'n09' is not among the ids of wnids.txt"),
    "misplaced": ({"train/n01/n01_9.JPEG": b""}, r"n01_9.JPEG is not in train/<id>/images"),
    "class without images": (
        {"wnids.txt": b"n01\nn02\nn03\n"},
        r"no training images of n03 \(1 of 3 classes",
    ),
    "few fields": (
        {"val/val_annotations.txt": lines(BOTH[0], ("val_1.JPEG", "n01"))},
        r"val_annotations.txt, line 2: expected file, id and four numbers .*got 'val_1.JPEG\\tn01'",
    ),
    "unknown id": (
        {"val/val_annotations.txt": lines(BOTH[0], ("val_1.JPEG", "n77", *BOX))},
        r"val_annotations.txt, line 2: 'n77' is not among the ids of wnids.txt",
    ),
    "missing image": ({"val/images/val_1.JPEG": None}, r"line 2: .*val/images/val_1.JPEG does not exist"),
    "listed twice": (
        {"val/val_annotations.txt": lines(*BOTH, BOTH[0])},
        r"line 3: val_0.JPEG is listed twice",
    ),
    "not listed": (
        {"val/val_annotations.txt": lines(BOTH[1])},
        r"no line for val/images/val_0.JPEG \(1 of 2",
    ),
    "nothing listed": ({"val/val_annotations.txt": b"\n"}, r"val_annotations.txt lists no images"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_name_file_and_line(name, tmp_path):
    changes, match = ERRORS[name]
    files = {key: data for key, data in (tiny() | changes).items() if data is not None}
    path = write(tmp_path / "tiny.zip", files)
    with pytest.raises((ValueError, FileNotFoundError), match=match) as error:
        list_tiny_imagenet(path)
    assert str(path) in str(error.value)


def test_missing_path(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_tiny_imagenet(tmp_path / "gone.zip", PLAIN)


def test_bad_images(tmp_path):
    files = tiny()
    files["train/n02/images/n02_0.JPEG"] = files["train/n02/images/n02_0.JPEG"][:-40]
    path = write(tmp_path / "tiny.zip", files)
    with pytest.raises(BadImageError, match=r"n02_0.JPEG: truncated"):
        read_tiny_imagenet(path, PLAIN)
    raw = read_tiny_imagenet(path, ReadOptions(on_bad_image="skip"))
    assert [skip.where.rsplit("/", 1)[1] for skip in raw.skipped] == ["n02_0.JPEG"]
    np.testing.assert_array_equal(raw.splits["train"].labels, [0, 0, 1])


def test_a_member_that_cannot_be_unpacked_is_skipped(tmp_path):
    path = write(tmp_path / "tiny.zip", tiny())
    data = bytearray(path.read_bytes())
    data[data.index(b"n02_0.JPEG") + 300] ^= 255
    path.write_bytes(data)
    raw = read_tiny_imagenet(path, ReadOptions(on_bad_image="skip"))
    assert "Bad CRC-32" in raw.skipped[0].reason
    assert len(raw.splits["train"]) == 3


@pytest.mark.slow
def test_the_shipped_part_of_the_real_set(real_data):
    path = real_data / "tiny-imagenet-200.zip"
    raw = read_tiny_imagenet(path, PLAIN)
    train, test = raw.splits["train"], raw.splits["test"]
    assert train.images.shape == (20_000, 64, 64, 3)
    assert test.images.shape == (10_000, 64, 64, 3)
    np.testing.assert_array_equal(np.bincount(train.labels), np.full(200, 100))
    np.testing.assert_array_equal(np.bincount(test.labels), np.full(200, 50))
    assert len(set(raw.class_names)) == 200
    assert raw.class_names[0] == "goldfish"  # n01443537
    assert raw.notes == (
        "100 training images per class; the original has 500",
        "the original val images are the test set (the original test set has no public labels)",
        "548 gray images repeated to RGB",
        "1 of 10,000 test images are also in train, byte for byte",
        "1 of 20,000 training images repeat another one, byte for byte",
    )
    with zipfile.ZipFile(path) as archive:
        for name, image in (
            ("train/n01443537/images/n01443537_0.JPEG", train.images[0]),
            ("val/images/val_9999.JPEG", test.images[9999]),
        ):
            picture = Image.open(archive.open(TOP + name)).convert("RGB")
            np.testing.assert_array_equal(image, np.asarray(picture))
