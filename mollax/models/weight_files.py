"""Arrays by name from files of weights: NumPy's .npz and .safetensors. Nothing in a file is ever executed.

A .safetensors file is 8 bytes (the header's length, little-endian), a JSON header {name: {"dtype": ..., "shape": ...,
"data_offsets": [begin, end]}} and the raw little-endian data, to whose start the offsets count.
"""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Every array of a .npz or .safetensors file by its name; bfloat16 becomes float32, which holds it exactly.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: for another kind of file, a damaged one, or one that holds Python objects.
    """
    path = Path(path)
    if path.suffix in PICKLES:
        raise ValueError(
            f"{path} is a pickle, which could run any program when read. Save its arrays as .safetensors or .npz."
        )
    if path.suffix not in (".npz", ".safetensors"):
        raise ValueError(f"Weights are read from .npz and .safetensors files; got {path}.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of weights {path}.")
    return _read_npz(path) if path.suffix == ".npz" else _read_safetensors(path)


def _from_bfloat16(bits: Shaped[np.ndarray, "*shape"]) -> Shaped[np.ndarray, "*shape"]:
    """Sixteen bits are the upper half of a float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path} cannot be read as arrays: {error}") from error
    # NumPy does not know bfloat16 and stores it as two bytes without a meaning.
    return {
        name: _from_bfloat16(array.view(np.uint16)) if array.dtype == np.dtype("V2") else array
        for name, array in found.items()
    }


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    content = np.fromfile(path, np.uint8)
    length = int.from_bytes(content[:8].tobytes(), "little")
    if len(content) < 8 or length > len(content) - 8:
        raise ValueError(f"{path} is damaged or no .safetensors file: its header is longer than the file.")
    try:
        header = json.loads(content[8 : 8 + length].tobytes())
    except ValueError as error:
        raise ValueError(f"{path} is damaged or no .safetensors file: its header is not JSON ({error}).") from error
    data = content[8 + length :]
    return {name: _tensor(path, name, about, data) for name, about in header.items() if name != "__metadata__"}


def _tensor(path: Path, name: str, about: dict[str, Any], data: Shaped[np.ndarray, " b"]) -> np.ndarray:
    kind, shape, (begin, end) = about["dtype"], tuple(about["shape"]), about["data_offsets"]
    if kind not in DTYPES:
        raise ValueError(f"{path}: {name!r} has dtype {kind}; those read are {', '.join(DTYPES)}.")
    dtype = np.dtype(DTYPES[kind])
    if not 0 <= begin <= end <= len(data) or end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{path} is damaged: {name!r} of shape {shape} does not lie at bytes {begin} to {end}.")
    array = data[begin:end].view(dtype).reshape(shape) if end > begin else np.empty(shape, dtype)
    return _from_bfloat16(array) if kind == "BF16" else array
