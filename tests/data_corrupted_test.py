"""Published corrupted sets as their authors lay them out, and every way in which a folder can be another one."""

import re

import numpy as np
import pytest
from PIL import Image

from mollax.data import CorruptedArrays, CorruptedFolders, read_corrupted

CLASSES = ("cat", "dog", "eel")
IDS = ("n001", "n002", "n003")
LABELS = np.array([2, 0, 1, 1], np.uint8)
SHAPE = (8, 8, 3)


def read(path, **options):
    return read_corrupted(path, **{"class_names": CLASSES, "image_shape": SHAPE, **options})


@pytest.fixture
def arrays(tmp_path):
    """CIFAR-10-C with four images: pixels tell corruption, severity and image."""
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    np.save(folder / "labels.npy", np.tile(LABELS, 5))
    for start, name in ((0, "fog"), (100, "gaussian_noise")):
        values = np.arange(start, start + 20, dtype=np.uint8)
        np.save(folder / f"{name}.npy", np.broadcast_to(values[:, None, None, None], (20, *SHAPE)))
    return folder


def test_arrays_are_cut_by_severity_and_stay_on_disk(arrays):
    found = read(arrays)
    assert isinstance(found, CorruptedArrays)
    assert found.in_order
    cell, notes = found.cell("gaussian_noise", 3)
    assert notes == ()
    np.testing.assert_array_equal(cell.images[:, 0, 0, 0], [108, 109, 110, 111])
    assert cell.labels.dtype == np.int32
    np.testing.assert_array_equal(cell.labels, LABELS)
    np.testing.assert_array_equal(found.labels("fog", 1), LABELS)
    assert isinstance(cell.images, np.memmap)


def save(name, array):
    return lambda folder: np.save(folder / name, array)


def labels(*values):
    return save("labels.npy", np.array(values))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda folder: (folder / "labels.npy").unlink(), "holds no labels.npy. Expected NAME.npy and labels.npy"),
        (lambda folder: (folder / "labels.npy").write_bytes(b"x"), "labels.npy cannot be read as a NumPy array"),
        (labels(0.5, 1.0), "must hold one integer an image; got float64 of shape (2,)"),
        (labels([0], [1]), "must hold one integer an image; got int64 of shape (2, 1)"),
        (labels(*range(12)), "must hold 5 blocks of labels, one a severity; got 12 labels"),
        (labels(), "got float64 of shape (0,)"),
        (labels(*[0] * 9, 1), "labels differ between 5 blocks"),
        (labels(*[0, 3] * 5), "labels.npy: label 3 of image 1 is not in [0, 3); 1 of 2 labels"),
        (labels(*[-1] * 5), "label -1 of image 0"),
        (lambda folder: (folder / "fog.npy").unlink(), "holds no fog.npy. It has gaussian_noise."),
        (lambda folder: (folder / "fog.npy").rename(folder / "fogg.npy"), "Did you mean 'fogg'?"),
        (lambda folder: (folder / "fog.npy").write_bytes(b""), "fog.npy cannot be read as a NumPy array"),
        (save("fog.npy", np.array([{}])), "fog.npy cannot be read as a NumPy array"),
        (save("fog.npy", np.zeros((20, *SHAPE), np.float32)), "8-bit images (n, h, w, c); got float32 of shape"),
        (save("fog.npy", np.zeros((20, 8, 8), np.uint8)), "got uint8 of shape (20, 8, 8)"),
        (save("fog.npy", np.zeros((15, *SHAPE), np.uint8)), "fog.npy holds 15 images, but labels.npy 20 labels"),
        (save("fog.npy", np.zeros((20, 4, 4, 3), np.uint8)), "holds images of 4x4x3; those of the data set are 8x8x3"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, message, arrays):
    change(arrays)
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
        read(arrays).check("fog", 1)


def test_a_severity_that_is_not_there(arrays):
    with pytest.raises(ValueError, match=r"CIFAR-10-C has severities 1, 2, 3, 4, 5; 6 is not among them"):
        read(arrays).check("fog", 6)


def test_the_folder_above_or_a_file(arrays, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no labels\.npy\. .* Did you mean .*CIFAR-10-C\?"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"labels\.npy is a file; unpack it and give the folder"):
        read(arrays / "labels.npy")
    with pytest.raises(FileNotFoundError, match="nothing does not exist"):
        read(tmp_path / "nothing")


def picture(path, value, *, size=8, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (size, size), value if mode == "L" else (value,) * 3).save(path)


def folders(top, *, names=("fog", "gaussian_noise"), classes=IDS, form="JPEG", **options):
    """Two images of each class in each cell; gray levels tell severity and class."""
    for name in names:
        for severity in range(1, 6):
            for number, entry in enumerate(classes):
                for i in range(2):
                    value = 40 * severity + 10 * number + 5 * i
                    picture(top / name / str(severity) / entry / f"{entry}_{i}.{form}", value, **options)
    return top


@pytest.mark.parametrize("group", ["", "weather"])
@pytest.mark.parametrize("classes", [IDS, CLASSES])
def test_folders_are_found_by_name_and_classes_by_id_or_name(group, classes, tmp_path):
    folders(tmp_path / group, classes=classes)
    picture(tmp_path / group / "fog" / "2" / classes[0] / ".hidden.JPEG", 0)
    (tmp_path / group / "fog" / "2" / ".DS_Store").touch()
    (tmp_path / "LICENSE").touch()
    found = read(tmp_path, class_ids=IDS)
    assert isinstance(found, CorruptedFolders)
    assert not found.in_order
    found.check("gaussian_noise", 5)
    cell, notes = found.cell("fog", 2)
    assert notes == ()
    assert cell.images.shape == (6, *SHAPE)
    np.testing.assert_array_equal(cell.images[:, 4, 4, 1], [80, 85, 90, 95, 100, 105])
    np.testing.assert_array_equal(cell.labels, [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(found.labels("fog", 2), cell.labels)


def test_labels_follow_the_data_set_and_not_the_alphabet(tmp_path):
    folders(tmp_path)
    cell, _ = read(tmp_path, class_ids=("n003", "n001", "n002")).cell("fog", 1)
    np.testing.assert_array_equal(cell.images[:, 4, 4, 0], [60, 65, 40, 45, 50, 55])
    np.testing.assert_array_equal(cell.labels, [0, 0, 1, 1, 2, 2])


def test_images_are_brought_to_the_shape_of_the_data_set(tmp_path):
    folders(tmp_path, size=12, mode="L", form="png")
    cell, notes = read(tmp_path, class_ids=IDS).cell("fog", 1)
    assert cell.images.shape == (6, *SHAPE)
    assert notes == ("6 gray images repeated to RGB", "6 images resized to 8x8 (stretch)")


def test_classes_may_be_called_like_severities(tmp_path):
    folders(tmp_path, classes=("1", "2", "7"))
    found = read(tmp_path, class_names=("1", "2", "7"))
    assert set(found.names) == {"fog", "gaussian_noise"}
    np.testing.assert_array_equal(found.cell("fog", 2)[0].labels, [0, 0, 1, 1, 2, 2])


def remove(path):
    for file in path.rglob("*.JPEG"):
        file.unlink()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda top: (top / "fog").rename(top / "fogs"), "holds no folder fog. It has fogs, gaussian_noise. Did you"),
        (lambda top: (top / "fog" / "2").rename(top / "fog" / "6"), "fog/2 does not exist. Expected NAME.npy"),
        (lambda top: folders(top / "weather", names=("fog",)), "two folders for fog"),
        (
            lambda top: (top / "fog" / "2" / "n001").rename(top / "fog" / "2" / "n009"),
            "fog/2: class folders are not the classes of the data set: 'n001' only in the data set, 'n009' only in "
            "the folder.",
        ),
        (lambda top: remove(top / "fog" / "2"), "fog/2 holds no images"),
        (lambda top: (top / "fog" / "2" / "n001" / "n001_0.JPEG").write_bytes(b"x"), "n001_0.JPEG: not a readable"),
    ],
)
def test_folders_that_do_not_fit_are_refused(change, message, tmp_path):
    folders(tmp_path)
    change(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
        read(tmp_path, class_ids=IDS).cell("fog", 2)


def test_ids_that_the_data_set_does_not_know(tmp_path):
    folders(tmp_path)
    with pytest.raises(ValueError, match=r"'cat' only in the data set, .*'n003' only in the folder\.$"):
        read(tmp_path).check("fog", 1)
    (tmp_path / "fog" / "1" / "n001").rename(tmp_path / "fog" / "1" / "n01443537")
    with pytest.raises(ValueError, match=r"The tiny_imagenet reader knows the classes of WordNet ids\."):
        read(tmp_path).check("fog", 1)
