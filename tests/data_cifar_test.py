"""CIFAR archives of all four kinds, built here in the published layout; damage and malice are refused."""

import io
import os
import pickle
import tarfile

import numpy as np
import pytest

from mollax.data.cifar import read_cifar
from mollax.data.dataset import ReadOptions
from mollax.data.pickles import RefusedPickle

TEN = [b"airplane", b"automobile", b"bird"]
FINE, COARSE = [b"apple", b"aquarium_fish", b"baby", b"bear"], [b"fruit", b"animals"]


def rows_of(images: np.ndarray) -> np.ndarray:
    """NHWC to CIFAR's rows: 1024 red, then 1024 green, then 1024 blue values."""
    return np.stack([np.concatenate([image[..., c].ravel() for c in range(3)]) for image in images])


def cifar10(rng: np.random.Generator) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    images = {name: rng.integers(0, 256, (2, 32, 32, 3), np.uint8) for name in names}
    labels = {name: np.array([i % 3, (i + 1) % 3]) for i, name in enumerate(names)}
    return images, labels


def python10(images, labels) -> dict[str, bytes]:
    files = {
        name: pickle.dumps({b"batch_label": b"x", b"labels": labels[name].tolist(), b"data": rows_of(images[name])}, 2)
        for name in images
    }
    return files | {
        "batches.meta": pickle.dumps({b"label_names": TEN, b"num_vis": 3072}, 2),
        "readme.html": b"",
    }


def binary10(images, labels) -> dict[str, bytes]:
    files = {
        f"{name}.bin": np.concatenate([labels[name][:, None].astype(np.uint8), rows_of(images[name])], 1).tobytes()
        for name in images
    }
    return files | {"batches.meta.txt": b"\n".join(TEN) + b"\n\n"}


def cifar100(rng: np.random.Generator, binary: bool):
    images = {name: rng.integers(0, 256, (4, 32, 32, 3), np.uint8) for name in ("train", "test")}
    fine, coarse = np.array([0, 1, 2, 3]), np.array([0, 1, 1, 1])
    if binary:
        heads = np.stack([coarse, fine], 1).astype(np.uint8)
        files = {f"{s}.bin": np.concatenate([heads, rows_of(images[s])], 1).tobytes() for s in images}
        files |= {"fine_label_names.txt": b"\n".join(FINE), "coarse_label_names.txt": b"\n".join(COARSE)}
        return images, files
    files = {
        s: pickle.dumps(
            {b"fine_labels": fine.tolist(), b"coarse_labels": coarse.tolist(), b"data": rows_of(images[s])}, 2
        )
        for s in images
    }
    meta = {b"fine_label_names": FINE, b"coarse_label_names": COARSE}
    return images, files | {"meta": pickle.dumps(meta, 2)}


def pack(path, folder: str, files: dict[str, bytes]):
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def unpack(path, files: dict[str, bytes]):
    path.mkdir(parents=True)
    for name, data in files.items():
        (path / name).write_bytes(data)
    return path


@pytest.mark.parametrize("build", [python10, binary10])
@pytest.mark.parametrize("form", ["packed", "folder", "parent"])
def test_cifar10(tmp_path, rng, build, form):
    images, labels = cifar10(rng)
    files = build(images, labels)
    if form == "packed":
        path = pack(tmp_path / "cifar.tar.gz", "cifar-10-batches", files)
    else:
        path = unpack(tmp_path / "all" / "cifar-10-batches", files)
        path = path.parent if form == "parent" else path
    raw = read_cifar(path, ReadOptions())
    train = [name for name in images if name != "test_batch"]
    np.testing.assert_array_equal(raw.splits["train"].images, np.concatenate([images[n] for n in train]))
    np.testing.assert_array_equal(raw.splits["train"].labels, np.concatenate([labels[n] for n in train]))
    np.testing.assert_array_equal(raw.splits["test"].images, images["test_batch"])
    assert raw.splits["test"].labels.dtype == np.int32
    assert raw.class_names == ("airplane", "automobile", "bird")


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("kind, names, labels", [("fine", FINE, [0, 1, 2, 3]), ("coarse", COARSE, [0, 1, 1, 1])])
def test_cifar100(tmp_path, rng, binary, kind, names, labels):
    images, files = cifar100(rng, binary)
    raw = read_cifar(pack(tmp_path / "c.tgz", "cifar-100", files), ReadOptions(), label_kind=kind)
    np.testing.assert_array_equal(raw.splits["train"].images, images["train"])
    assert raw.splits["test"].labels.tolist() == labels
    assert raw.class_names == tuple(name.decode() for name in names)


def test_options_apply(tmp_path, rng):
    path = unpack(tmp_path / "c", binary10(*cifar10(rng)))
    raw = read_cifar(path, ReadOptions(image_size=16, channels=1))
    assert raw.splits["train"].images.shape == (10, 16, 16, 1)


class Evil:
    """Asks for a command to be run when it is loaded."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("victim", ["data_batch_3", "batches.meta"])
def test_a_malicious_archive_is_refused_and_runs_nothing(tmp_path, rng, victim):
    witness = tmp_path / "ran"
    files = python10(*cifar10(rng)) | {victim: pickle.dumps({b"data": Evil(f"touch {witness}")}, 2)}
    with pytest.raises(RefusedPickle, match=f"{victim} is refused: it asks for (posix|nt).system"):
        read_cifar(pack(tmp_path / "cifar.tar.gz", "x", files), ReadOptions())
    assert not witness.exists()


def batch(**change) -> bytes:
    good = {"labels": [0, 1], "data": np.zeros((2, 3072), np.uint8)}
    return pickle.dumps({k: v for k, v in (good | change).items() if v is not None}, 2)


@pytest.mark.parametrize(
    "data, message",
    [
        (batch(labels=None), "test_batch lacks labels; it holds data"),
        (batch(labels=[0]), "test_batch has 2 images but 1 labels"),
        (batch(labels=[0, 3]), r"test_batch: label 3 of image 1 is not in \[0, 3\)"),
        (batch(labels=[0, -1]), "label -1 of image 1"),
        (batch(labels=[0, 1.0]), "labels in test_batch must be a list of integers"),
        (batch(labels="01"), "must be a list of integers"),
        (batch(data=np.zeros((2, 3072))), r"must be uint8 of shape \(n, 3072\); got float64 \(2, 3072\)"),
        (batch(data=np.zeros((2, 1024), np.uint8)), r"got uint8 \(2, 1024\)"),
        (batch(data=[1, 2]), "got list"),
        (batch()[:-100], "test_batch is not a readable pickle"),
    ],
)
def test_bad_batches(tmp_path, rng, data, message):
    path = unpack(tmp_path / "c", python10(*cifar10(rng)) | {"test_batch": data})
    with pytest.raises(ValueError, match=message):
        read_cifar(path, ReadOptions())


def test_bad_archives(tmp_path, rng):
    files = binary10(*cifar10(rng))
    short = unpack(tmp_path / "short", files | {"data_batch_2.bin": files["data_batch_2.bin"][:-1]})
    with pytest.raises(ValueError, match=r"data_batch_2.bin has 6145 bytes, not a multiple of 3073"):
        read_cifar(short, ReadOptions())
    packed = pack(tmp_path / "cut.tar.gz", "x", files)
    packed.write_bytes(packed.read_bytes()[:-5000])
    with pytest.raises(ValueError, match=r"cut.tar.gz is not a readable tar archive"):
        read_cifar(packed, ReadOptions())
    (tmp_path / "text.tar.gz").write_text("hello")
    with pytest.raises(ValueError, match=r"text.tar.gz is not a readable tar archive"):
        read_cifar(tmp_path / "text.tar.gz", ReadOptions())
    del files["data_batch_4.bin"]
    with pytest.raises(FileNotFoundError, match=r"looks like CIFAR-10 .binary. but lacks data_batch_4.bin"):
        read_cifar(unpack(tmp_path / "less", files), ReadOptions())
    with pytest.raises(FileNotFoundError, match=r"holds no CIFAR files. Pass cifar-10-python.tar.gz"):
        read_cifar(unpack(tmp_path / "empty", {}), ReadOptions())
    with pytest.raises(FileNotFoundError, match=r"none.tar.gz holds no CIFAR files"):
        read_cifar(pack(tmp_path / "none.tar.gz", "x", {"a": b"1"}), ReadOptions())


def test_ambiguous_folder_and_label_kind(tmp_path, rng):
    _, hundred = cifar100(rng, binary=True)
    unpack(tmp_path / "both" / "ten", binary10(*cifar10(rng)))
    unpack(tmp_path / "both" / "hundred", hundred)
    with pytest.raises(ValueError, match=r"several unpacked archives \(hundred, ten\). Pass one"):
        read_cifar(tmp_path / "both", ReadOptions())
    with pytest.raises(ValueError, match=r"CIFAR-10 \(binary\) has no coarse labels"):
        read_cifar(tmp_path / "both" / "ten", ReadOptions(), label_kind="coarse")
    with pytest.raises(ValueError, match="label_kind must be one of 'fine', 'coarse'; got 'corse'"):
        read_cifar(tmp_path, ReadOptions(), label_kind="corse")


def test_links_and_paths_in_archives_lead_nowhere(tmp_path, rng):
    images, labels = cifar10(rng)
    path = pack(tmp_path / "c.tar.gz", "../../../outside", binary10(images, labels))
    raw = read_cifar(path, ReadOptions())
    np.testing.assert_array_equal(raw.splits["test"].images, images["test_batch"])
    assert os.listdir(tmp_path) == ["c.tar.gz"]  # read in memory, nothing unpacked
    with tarfile.open(tmp_path / "link.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("x/test_batch.bin")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(FileNotFoundError, match="holds no CIFAR files"):
        read_cifar(tmp_path / "link.tar.gz", ReadOptions())
