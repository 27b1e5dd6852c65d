"""Files of weights: round trips in both formats, bfloat16, damaged and refused files."""

import json
from pathlib import Path

import numpy as np
import pytest

from mollax.models import read_weights


def write_safetensors(path: Path, arrays: dict, *, kinds: dict | None = None, metadata: dict | None = None) -> Path:
    """The format by hand; `kinds` gives the names of dtypes that NumPy does not have."""
    names = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "uint8": "U8", "bool": "BOOL"}
    header: dict = {} if metadata is None else {"__metadata__": metadata}
    data = b""
    for name, array in arrays.items():
        kind = (kinds or {}).get(name) or names[array.dtype.name]
        header[name] = {
            "dtype": kind,
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + array.nbytes],
        }
        data += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


@pytest.fixture
def arrays(rng):
    return {
        "a.weight": rng.normal(size=(3, 4)).astype(np.float32),
        "b": rng.normal(size=(2, 1, 5)),
        "half": rng.normal(size=7).astype(np.float16),
        "count": np.array([3, -2], np.int64),
        "scalar": np.float32(2.5).reshape(()),
        "empty": np.zeros((0, 4), np.float32),
        "flags": np.array([True, False]),
    }


def test_both_formats_give_back_what_was_written(tmp_path, arrays):
    np.savez(tmp_path / "w.npz", **arrays)
    write_safetensors(tmp_path / "w.safetensors", arrays, metadata={"format": "pt"})
    for name in ("w.npz", "w.safetensors"):
        found = read_weights(tmp_path / name)
        assert found.keys() == arrays.keys()
        for key, array in arrays.items():
            assert found[key].dtype == array.dtype
            np.testing.assert_array_equal(found[key], array)


def test_bfloat16_is_exact(tmp_path, rng):
    torch = pytest.importorskip("torch")
    expected = torch.from_numpy(rng.normal(size=(4, 6)).astype(np.float32)).to(torch.bfloat16)
    bits = expected.view(torch.uint16).numpy()
    path = write_safetensors(tmp_path / "w.safetensors", {"w": bits}, kinds={"w": "BF16"})
    np.savez(tmp_path / "w.npz", w=bits.view("V2"))
    for found in (read_weights(path)["w"], read_weights(tmp_path / "w.npz")["w"]):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected.float().numpy())


def test_refused_files(tmp_path):
    with pytest.raises(ValueError, match=r"w\.pth is a pickle, which could run any program"):
        read_weights(tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"read from \.npz and \.safetensors files; got .*w\.h5"):
        read_weights(tmp_path / "w.h5")
    with pytest.raises(FileNotFoundError, match=r"no file of weights .*w\.npz"):
        read_weights(tmp_path / "w.npz")
    np.savez(tmp_path / "objects.npz", w=np.array([{"a": 1}], object))
    with pytest.raises(ValueError, match=r"objects\.npz cannot be read as arrays: Object arrays"):
        read_weights(tmp_path / "objects.npz")


def test_damaged_files(tmp_path, arrays):
    path = write_safetensors(tmp_path / "w.safetensors", arrays)
    whole = path.read_bytes()
    for content, message in (
        (b"", "its header is longer than the file"),
        (whole[:40], "its header is longer than the file"),
        (whole[:-1], "is damaged: 'flags' of shape"),
        ((9).to_bytes(8, "little") + b"not json!", "its header is not JSON"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_weights(path)
    write_safetensors(path, {"w": arrays["b"]}, kinds={"w": "F8_E4M3"})
    with pytest.raises(ValueError, match="'w' has dtype F8_E4M3; those read are F64, F32"):
        read_weights(path)
    (tmp_path / "w.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(ValueError, match=r"w\.npz cannot be read as arrays"):
        read_weights(tmp_path / "w.npz")
