"""Folders and zips of images: layouts, class names, what is ignored, and every way to get it wrong."""

import io
import os
import pickle
import threading
import time
import zipfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mollax.data import decode, folder
from mollax.data.dataset import LazyImages, ReadOptions
from mollax.data.decode import BadImageError
from mollax.data.folder import read_folder

PLAIN = ReadOptions()


def png(value, size=(4, 4), mode="RGB"):
    file = io.BytesIO()
    Image.new(mode, size, value if mode == "L" else (value, 0, 0, 255)[: len(mode)]).save(file, "PNG")
    return file.getvalue()


def jpeg(value):
    file = io.BytesIO()
    Image.new("L", (64, 64), value).save(file, "JPEG")
    return file.getvalue()


CUT = jpeg(9)[:-30]


def tree(splits=("",), classes=("cat", "dog"), n=2):
    """Names and contents of images; the red value counts up."""
    names = [
        "/".join(filter(None, (split, name, f"{i}.png"))) for split in splits for name in classes for i in range(n)
    ]
    return {name: png(value) for value, name in enumerate(names)}


@pytest.fixture(params=["folder", "zip"])
def write(request, tmp_path):
    """Writes {name: bytes} as a folder or as a zip; a name that ends in "/" is an empty folder."""

    def write_files(files):
        if request.param == "zip":
            path = tmp_path / "set.zip"
            with zipfile.ZipFile(path, "w") as archive:
                for name, data in files.items():
                    archive.writestr(name, data)
            return path
        path = tmp_path / "set"
        path.mkdir(exist_ok=True)
        for name, data in files.items():
            place = path / name
            if name.endswith("/"):
                place.mkdir(parents=True)
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        return path

    return write_files


def reds(split):
    return [int(split.images[i][0, 0, 0]) for i in range(len(split))]


def test_classes_without_splits_are_all_train(write):
    raw = read_folder(write(tree()), PLAIN)
    assert list(raw.splits) == ["train"]
    assert raw.class_names == ("cat", "dog")
    assert reds(raw.splits["train"]) == [0, 1, 2, 3]
    np.testing.assert_array_equal(raw.splits["train"].labels, [0, 0, 1, 1])
    assert raw.splits["train"].images.shape == (4, 4, 4, 3)
    assert raw.notes == raw.skipped == ()


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_splits_and_their_names(name, write):
    raw = read_folder(write(tree(("TEST", "train", name))), PLAIN)
    assert list(raw.splits) == ["train", "validation", "test"]
    assert reds(raw.splits["train"]) == [4, 5, 6, 7]
    assert reds(raw.splits["validation"]) == [8, 9, 10, 11]
    assert reds(raw.splits["test"]) == [0, 1, 2, 3]


@pytest.mark.parametrize("top", ["pets/", "downloads/pets/"])
@pytest.mark.parametrize("splits", [("",), ("train", "test")])
def test_one_folder_further_down(top, splits, write):
    files = {top + name: data for name, data in tree(splits).items()}
    raw = read_folder(write({**files, "__MACOSX/._x.png": b"", "readme.txt": b""}), PLAIN)
    assert raw.class_names == ("cat", "dog")
    assert reds(raw.splits["train"]) == [0, 1, 2, 3]


def test_a_single_class_is_not_taken_for_a_top_folder(write):
    assert read_folder(write(tree(classes=("cat",))), PLAIN).class_names == ("cat",)


def test_a_single_split(write):
    assert list(read_folder(write(tree(("test",))), PLAIN).splits) == ["test"]


def test_a_class_may_be_called_test(write):
    raw = read_folder(write(tree(classes=("exam", "test"))), PLAIN)
    assert raw.class_names == ("exam", "test")
    assert list(raw.splits) == ["train"]


def test_other_files_are_counted_and_hidden_ones_passed_over(write):
    extra = {
        "cat/.hidden.png": b"",
        ".git/x.png": b"",
        "__MACOSX/cat/._0.png": b"",
        "cat/notes.txt": b"",
        "labels.csv": b"",
        "preview.png": png(0),
    }
    raw = read_folder(write({**tree(), **extra}), PLAIN)
    assert raw.notes == (
        "2 files that are not images ignored (such as cat/notes.txt)",
        "1 images outside of class folders ignored (such as preview.png)",
    )
    assert len(raw.splits["train"]) == 4


def test_conversions_are_notes(write):
    files = {"a/0.png": png(7, mode="L"), "a/1.PNG": png(7), "b/0.JPEG": png(7, (8, 6))}
    raw = read_folder(write(files), ReadOptions(channels=3, image_size=4))
    assert raw.notes == ("1 gray image repeated to RGB", "1 image resized to 4x4 (stretch)")
    assert raw.splits["train"].images.shape == (3, 4, 4, 3)


SPLIT = tree(("train", "test"))
ERRORS = {
    "no images": ({"cat/a.txt": b""}, "holds no images. Expected <class>/<image>, or <split>"),
    "nothing at all": ({"cat/": b""}, "holds no images"),
    "flat": ({"0.png": b"", "1.png": b""}, r"none in a class folder \(such as .*png\). Expected <class>"),
    "too deep": ({**tree(), "cat/pet/0.png": b""}, "holds cat/pet/0.png, which is too deep"),
    "too deep in a split": ({**SPLIT, "train/cat/pet/0.png": b""}, "train/cat/pet/0.png, which is too deep"),
    "unknown split": ({**SPLIT, "more/cat/0.png": b""}, "split folders, but more/cat/0.png lies outside"),
    "two for validation": (tree(("train", "val", "valid")), "two folders for one split: train, val, valid"),
    "classes differ": (
        {**SPLIT, "train/cow/0.png": b"", "test/pig/0.png": b""},
        "classes of test and train differ: 'cow' only in train, 'pig' only in test",
    ),
    "empty class": (
        {**tree(), "cow/": b""},
        "class folder 'cow' of train holds no images. Fill it or remove",
    ),
    "class of texts": ({**tree(), "cow/a.txt": b""}, "class folder 'cow' of train holds no images"),
    "sizes": (
        {**tree(), "dog/9.png": png(0, (5, 5))},
        r"cat/0.png is 4x4x3, .*dog/9.png is 5x5x3. Set image_",
    ),
    "channels": ({**tree(), "dog/9.png": png(0, mode="L")}, r"dog/9.png is 4x4x1. Set channels=1 or chan"),
    "not square": ({"cat/0.png": png(0, (4, 5))}, r"cat/0.png is 5x4. Set image_size=... with resize='str"),
    "alpha": ({"cat/0.png": png(0, mode="RGBA")}, r"cat/0.png has an alpha channel"),
    "truncated": ({**tree(), "dog/9.png": CUT}, r"dog/9.png: truncated or damaged"),
    "not an image": ({**tree(), "dog/9.jpg": b"<html>"}, r"dog/9.jpg: not a readable JPEG"),
    "empty file": ({**tree(), "dog/9.jpg": b""}, r"dog/9.jpg: the file is empty"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_name_what_is_wrong(name, write):
    files, match = ERRORS[name]
    with pytest.raises(ValueError, match=match):
        read_folder(write(files), PLAIN)


def test_bad_images_can_be_skipped(write):
    path = write({**tree(), "dog/9.png": CUT, "cat/x.gif": b"GIF89a"})
    raw = read_folder(path, ReadOptions(on_bad_image="skip"))
    assert [skip.where for skip in raw.skipped] == [f"{path}/cat/x.gif", f"{path}/dog/9.png"]
    assert len(raw.splits["train"]) == 4
    with pytest.raises(ValueError, match="on_bad_image must be one of 'raise', 'skip'"):
        read_folder(path, ReadOptions(on_bad_image="ignore"))


def test_missing_path(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing does not exist. Give a folder of images, or a .zip"):
        read_folder(tmp_path / "nothing", PLAIN)


def test_not_a_zip(tmp_path):
    path = tmp_path / "set.tar"
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"set.tar is not a readable zip .* unpack other kinds"):
        read_folder(path, PLAIN)


def zip_of(path, files, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def test_cut_zip(tmp_path):
    path = zip_of(tmp_path / "set.zip", tree())
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match="not a readable zip"):
        read_folder(path, PLAIN)


def test_damaged_member_of_a_zip(tmp_path):
    path = zip_of(tmp_path / "set.zip", tree())
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT", data.index(b"dog/1.png")) + 6] ^= 255
    path.write_bytes(data)
    with pytest.raises(BadImageError, match=r"dog/1.png: cannot be read \(Bad CRC-32"):
        read_folder(path, PLAIN)
    raw = read_folder(path, ReadOptions(on_bad_image="skip"))
    assert [skip.where for skip in raw.skipped] == [f"{path}/dog/1.png"]


def test_encrypted_zip(tmp_path):
    path = zip_of(tmp_path / "set.zip", tree(n=1))
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag of the first entry in the directory
    path.write_bytes(data)
    with pytest.raises(BadImageError, match=r"cat/0.png: cannot be read \(.*password required"):
        read_folder(path, PLAIN)


def test_a_member_that_unpacks_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "MAX_FILE_BYTES", 1000)
    path = zip_of(tmp_path / "set.zip", {**tree(), "dog/9.png": b"\0" * 2000}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(BadImageError, match=r"dog/9.png: cannot be read \(2,000 bytes once unpacked, over 1,000"):
        read_folder(path, PLAIN)


def test_paths_outside_the_archive_are_ignored(tmp_path):
    evil = {
        "../evil/0.png": png(0),
        "/abs/evil/0.png": png(0),
        "C:/evil/0.png": png(0),
        "cat/../../0.png": png(0),
    }
    (tmp_path / "sub").mkdir()
    path = zip_of(tmp_path / "sub" / "set.zip", {**tree(), **evil})
    raw = read_folder(path, PLAIN)
    assert raw.notes == ("4 zip members with a path outside the archive ignored",)
    assert raw.class_names == ("cat", "dog")
    assert [place.name for place in tmp_path.rglob("*")] == ["sub", "set.zip"]  # nothing was written


def test_backslashes_from_windows(tmp_path):
    path = zip_of(tmp_path / "set.zip", {})
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in tree(("train", "test")).items():
            info = zipfile.ZipInfo("x")
            info.filename = name.replace("/", "\\")
            archive.writestr(info, data)
    assert reds(read_folder(path, PLAIN).splits["test"]) == [4, 5, 6, 7]


def test_links(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    (real / "0.png").write_bytes(png(5))
    top = tmp_path / "top"
    (top / "cat").mkdir(parents=True)
    (top / "cat" / "1.png").symlink_to(real / "0.png")
    (top / "dog").symlink_to(real)
    assert reds(read_folder(top, PLAIN).splits["train"]) == [5, 5]
    (top / "cat" / "2.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(BadImageError, match=r"2.png: cannot be read \(.*No such file"):
        read_folder(top, PLAIN)
    (top / "cat" / "again").symlink_to(top)
    with pytest.raises(ValueError, match="again links to a folder that contains it"):
        read_folder(top, PLAIN)


def test_nothing_left_after_skipping(write):
    options = ReadOptions(on_bad_image="skip")
    with pytest.raises(ValueError, match=r"None of 1 images can be read, .*cat/0.png first"):
        read_folder(write({"cat/0.png": b""}), options)
    with pytest.raises(ValueError, match=r"Every image of class 'cow' in train is bad and was skipped"):
        read_folder(write({**tree(), "cow/0.png": CUT}), options)


def test_lazy_images_that_fail_later_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "MEMORY_LIMIT", 10)
    for i in range(3):
        (tmp_path / "cat").mkdir(exist_ok=True)
        (tmp_path / "cat" / f"{i}.jpg").write_bytes(jpeg(9 * i))
    (tmp_path / "cat" / "1.jpg").write_bytes(CUT)  # its header is fine
    images = read_folder(tmp_path, PLAIN).splits["train"].images
    assert int(images[2].mean()) == 18
    with pytest.raises(BadImageError, match=r"cat/1.jpg: truncated"):
        images[1]
    (tmp_path / "cat" / "2.jpg").write_bytes(png(0))
    with pytest.raises(BadImageError, match=r"2.jpg: decodes to shape \(4, 4, 3\) .* promised \(64, 64, 1\)"):
        images[2]


def test_large_sets_are_lazy_in_any_process(write, monkeypatch):
    monkeypatch.setattr(decode, "MEMORY_LIMIT", 10)
    images = read_folder(write(tree(("train", "test"))), PLAIN).splits["test"].images
    assert isinstance(images, LazyImages)
    assert images.shape == (4, 4, 4, 3)
    images = pickle.loads(pickle.dumps(images))
    assert [int(images[i][0, 0, 0]) for i in range(4)] == [4, 5, 6, 7]
    with ProcessPoolExecutor(2, get_context("fork")) as processes:
        decoded = list(processes.map(images.decode, [0, 1, 2, 3] * 10))
    assert [int(image[0, 0, 0]) for image in decoded] == [4, 5, 6, 7] * 10


def archives_opened(files, key):
    before = folder._archive.cache_info().misses
    files.open(key).close()
    return folder._archive.cache_info().misses - before


def test_processes_do_not_share_an_open_zip(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "MEMORY_LIMIT", 10)
    files = read_folder(zip_of(tmp_path / "set.zip", tree()), PLAIN).splits["train"].images.decode.source
    assert archives_opened(files, "cat/0.png") == 0  # open since the headers were read
    with ProcessPoolExecutor(1, get_context("fork")) as processes:
        assert processes.submit(archives_opened, files, "cat/0.png").result() == 1


def test_a_replaced_zip_is_read_anew(tmp_path):
    path = zip_of(tmp_path / "set.zip", tree())
    assert read_folder(path, PLAIN).class_names == ("cat", "dog")
    os.utime(zip_of(path, tree(classes=("ant", "bee"))), (1, 1))
    assert read_folder(path, PLAIN).class_names == ("ant", "bee")


def test_the_first_bad_image_in_order_is_reported(write, monkeypatch):
    files = {f"cat/{i:03}.png": png(i % 250) for i in range(300)} | {"dog/0.png": png(0)}
    files["cat/070.png"] = files["cat/290.png"] = b"bad"
    path, real_decode, late = write(files), decode._decode, threading.Event()

    def slow_early_chunks(data, where, options):
        if where.endswith("070.png"):
            late.wait(0.2)
        return real_decode(data, where, options)

    monkeypatch.setattr(decode, "_decode", slow_early_chunks)
    with pytest.raises(BadImageError, match=r"070\.png"):
        read_folder(path, PLAIN)


@pytest.mark.slow
def test_cifar10_as_a_zip_of_jpeg(real_data: Path):
    path = real_data / "cifar10_jpeg.zip"
    start = time.monotonic()
    raw = read_folder(path, PLAIN)
    print(f"60,000 images in {time.monotonic() - start:.1f} s")
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    assert raw.class_names == tuple(names)
    assert raw.notes == raw.skipped == ()
    with zipfile.ZipFile(path) as archive:
        for split, n in (("train", 50_000), ("test", 10_000)):
            images, labels = raw.splits[split].images, raw.splits[split].labels
            assert images.shape == (n, 32, 32, 3)
            np.testing.assert_array_equal(np.bincount(labels), np.full(10, n // 10))
            for i in (0, 17, n // 2, n - 1):
                name = f"cifar10/{split}/{names[labels[i]]}/{i % (n // 10):04}.jpg"
                expected = np.asarray(Image.open(archive.open(name)))
                np.testing.assert_array_equal(images[i], expected)
