"""A reference in one file: bank, held-out part and what was chosen on them, for audits without the training data."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mollax.auditing.material import Form
from mollax.auditing.reference import Part, Reference
from mollax.auditing.space import Space
from mollax.data.duplicates import content_hashes
from mollax.data.inspect import Storage

VERSION = 1
PROBES = 8  # images by which a run is known again


def check_place(path: Path, *, to_come: Path | None = None) -> None:
    """Raises ValueError unless the path of --save-reference ends in .npz and lies in a folder that exists, or that is
    `to_come`."""
    if path.suffix != ".npz":
        raise ValueError(f"--save-reference={path} must end in .npz.")
    if not path.parent.is_dir() and (to_come is None or path.parent.resolve() != to_come.resolve()):
        raise ValueError(f"--save-reference={path}: the folder {path.parent} does not exist; create it first.")
    if path.is_dir():
        raise ValueError(f"--save-reference={path} is a folder; name a file.")


def save(path: Path, reference: Reference, space: Space, *, kernel: str, strength: float, held_log: Any) -> None:
    """Writes an .npz file from which later audits go on without the training data.

    Pixels are kept as 8-bit images; features as such, with a few images to know the run by. Training images are
    recognizable in it: keep it as the data themselves.

    Args:
      path: of the file.
      reference: with the run and the seed that its kernel depends on.
      space: of its points.
      kernel, strength, held_log: the kernel without its strength, that, and the held-out log-densities.

    Raises:
      ValueError: as `check_place`.
    """
    check_place(path)
    meta = {
        "about": reference.about,
        "form": asdict(reference.form),
        "class_names": reference.class_names,
        "storage": reference.storage.as_dict() if reference.storage else None,
        "notes": reference.notes,
        "kernel": kernel,
        "strength": strength,
        "space": space.kind,
        "run": reference.run,
        "seed": reference.seed,
    }
    arrays: dict[str, Any] = {"mollax_reference": np.int32(VERSION), "meta": np.array(json.dumps(meta))}
    for name, part in (("bank", reference.bank), ("held", reference.held)):
        arrays[name] = part.images if space.kind == "pixels" else part.points
        arrays[f"{name}_files"] = np.array(part.files)
        arrays |= {} if part.labels is None else {f"{name}_labels": part.labels}
        arrays |= {} if part.groups is None else {f"{name}_groups": np.array(part.groups)}
    if space.kind == "features" and reference.held.images is not None:
        arrays["probe"] = reference.held.images[:PROBES]
    arrays |= {"held_log": held_log}
    for name, hashes in (("hashes", reference.hashes), ("held_hashes", reference.held_hashes)):
        arrays[name] = np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 16)
    draft = path.with_name(f".{path.name}.partial.npz")
    np.savez_compressed(draft, **arrays)
    draft.replace(path)


def is_saved(path: str) -> bool:
    """Whether a path is a file that `save` wrote."""
    if not path.endswith(".npz") or not Path(path).is_file():
        return False
    try:
        with np.load(path, allow_pickle=False) as archive:
            return "mollax_reference" in archive.files
    except (ValueError, OSError):
        return False


def load_saved(path: Path) -> tuple[Reference, str, np.ndarray | None]:
    """A saved reference, the kind of its points, and the images to know a run by.

    Raises:
      ValueError: if it was written by another version.
    """
    with np.load(path, allow_pickle=False) as archive:
        if int(archive["mollax_reference"]) != VERSION:
            raise ValueError(f"{path} was saved by another version of mollax; save it again.")
        arrays = {name: archive[name] for name in archive.files}
    meta = json.loads(str(arrays["meta"]))
    parts = []
    for name in ("bank", "held"):
        stored = arrays[name]
        images = stored if meta["space"] == "pixels" else None
        points = stored if images is None else images.reshape(len(images), -1).astype(np.float32) / np.float32(255)
        groups = arrays.get(f"{name}_groups")
        files = tuple(arrays[f"{name}_files"].tolist())
        words = None if groups is None else tuple(groups.tolist())
        parts.append(Part(points, images, arrays.get(f"{name}_labels"), words, files))
    hashes, held_hashes, notes = _hashes(arrays, parts[1])
    reference = Reference(
        about=meta["about"],
        form=Form(**meta["form"]),
        class_names=tuple(meta["class_names"]),
        storage=Storage(**meta["storage"]) if meta["storage"] else None,
        bank=parts[0],
        held=parts[1],
        hashes=hashes,
        held_hashes=held_hashes,
        notes=(*meta["notes"], f"reference read from {path.name}", *notes),
        skipped=(),
        kernel=meta["kernel"],
        strength=meta["strength"],
        held_log=arrays["held_log"],
        run=meta.get("run", ""),
        seed=meta.get("seed"),
    )
    return reference, meta["space"], arrays.get("probe")


def _hashes(arrays: dict[str, Any], held: Part) -> tuple[list[bytes], list[bytes], list[str]]:
    """Hashes of bank and held-out images, and a note where a file of an earlier version has none of the latter."""
    bank = [row.tobytes() for row in arrays["hashes"]]
    if "held_hashes" in arrays:
        return bank, [row.tobytes() for row in arrays["held_hashes"]], []
    if held.images is not None:
        return bank, content_hashes(held.images), []
    return bank, [], ["copies of held-out images are not looked for: the reference was saved by an earlier version"]
