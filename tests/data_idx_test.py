"""The IDX parser: files built byte by byte, both spellings, plain and packed, all kinds of damage; MNIST."""

import gzip
import struct

import numpy as np
import pytest

from mollax.data.dataset import ReadOptions
from mollax.data.idx import parse_idx, read_idx

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx_bytes(array: np.ndarray, code: int = 0x08) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def arrays(rng):
    return (
        rng.integers(0, 256, (5, 4, 4), np.uint8),
        np.array([0, 1, 2, 1, 0], np.uint8),
        rng.integers(0, 256, (2, 4, 4), np.uint8),
        np.array([2, 0], np.uint8),
    )


def write(folder, arrays, *, dots: bool = False, packed: bool = False) -> None:
    for name, array in zip(NAMES, arrays, strict=True):
        name = name.replace("-idx", ".idx") if dots else name
        data = idx_bytes(array)
        (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(data) if packed else data)


@pytest.mark.parametrize("dots", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_reads_both_spellings_plain_and_packed(tmp_path, arrays, dots, packed):
    write(tmp_path, arrays, dots=dots, packed=packed)
    raw = read_idx(tmp_path, ReadOptions())
    np.testing.assert_array_equal(raw.splits["train"].images[..., 0], arrays[0])
    np.testing.assert_array_equal(raw.splits["test"].images[..., 0], arrays[2])
    np.testing.assert_array_equal(raw.splits["train"].labels, arrays[1])
    assert raw.splits["test"].labels.dtype == np.int32
    assert raw.class_names == ("0", "1", "2")


def test_options_apply(tmp_path, arrays):
    write(tmp_path, arrays)
    raw = read_idx(tmp_path, ReadOptions(image_size=6, channels=3))
    assert raw.splits["train"].images.shape == (5, 6, 6, 3)


GOOD = idx_bytes(np.zeros((2, 3, 4), np.uint8))


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "f is not an IDX file: it starts with nothing"),
        (b"\x89PNG" + GOOD, "it starts with 89 50 4e 47, expected 00 00 08 03"),
        (b"\0\0\x07\x03" + GOOD[4:], "is not an IDX file"),
        (b"\0\0\x0d\x03" + GOOD[4:], "values of type float; expected unsigned byte"),
        (idx_bytes(np.zeros(4, np.uint8)), r"f has 1 axes; expected 3 .*swapped"),
        (GOOD[:10], "its header needs 16 bytes, the file has 10"),
        (GOOD[:-1], r"f is truncated: its header announces \(2, 3, 4\), 24 bytes; 23 follow"),
        (GOOD + b"ab", r"f has 2 bytes more than the 24"),
    ],
)
def test_damage_is_named(data, message):
    with pytest.raises(ValueError, match=message):
        parse_idx(data, name="f", ndim=3)


def test_missing_files_are_named(tmp_path, arrays):
    write(tmp_path, arrays)
    (tmp_path / NAMES[1]).unlink()
    (tmp_path / NAMES[2]).unlink()
    with pytest.raises(FileNotFoundError, match=f"lacks {NAMES[1]}, {NAMES[2]} .plain or .gz"):
        read_idx(tmp_path, ReadOptions())


def test_images_and_labels_must_match(tmp_path, arrays):
    write(tmp_path, (arrays[0], arrays[1][:4], *arrays[2:]))
    with pytest.raises(ValueError, match=r"train: .* has 5 images, .* has 4 labels"):
        read_idx(tmp_path, ReadOptions())


@pytest.mark.parametrize("damage", [lambda d: d[:-9], lambda d: b"nonsense", lambda d: d[:20] + b"!!!!" + d[24:]])
def test_damaged_gzip(tmp_path, arrays, damage):
    write(tmp_path, arrays, packed=True)
    file = tmp_path / (NAMES[0] + ".gz")
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.gz is a damaged gzip file"):
        read_idx(tmp_path, ReadOptions())


def test_real_mnist(real_data):
    raw = read_idx(real_data / "mnist", ReadOptions())
    train, test = raw.splits["train"], raw.splits["test"]
    assert train.images.shape == (60000, 28, 28, 1)
    assert test.images.shape == (10000, 28, 28, 1)
    assert np.bincount(train.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    np.testing.assert_allclose(train.images.mean() / 255, 0.1307, atol=5e-5)  # the mean everyone standardizes by
