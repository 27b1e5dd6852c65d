"""What a corrupted set that `mollax.corrupt_set` wrote says of itself, in `FILE` beside the images."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = "corrupted.json"


@dataclass(frozen=True)
class Manifest:
    """Everything that the images depend on.

    Attributes:
      mollax: the version that wrote them.
      format: "npy" or "png".
      source, split: name of the data set, and which of its splits.
      images: of each corruption and severity; evenly spaced if the split has more.
      image_shape: (height, width, channels).
      content: SHA-256 of the originals' pixels and labels.
      class_names: in the order of the labels.
      class_folders: the folder of each class; empty for "npy".
      table: side of the published set whose constants were taken.
      seed, rounding: of the corruptions.
      severities: in the order of the arrays.
      notes: what to know when using the set.
    """

    mollax: str
    format: str
    source: str
    split: str
    images: int
    image_shape: tuple[int, int, int]
    content: str
    class_names: tuple[str, ...]
    class_folders: tuple[str, ...]
    table: int
    seed: int
    rounding: str
    severities: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return (
            f"written by mollax {self.mollax} from {self.source} ({self.split}), seed {self.seed}, table {self.table}"
            + ("" if self.rounding == "truncate" else f", {self.rounding} to 8 bits")
        )

    def differences(self, other: Manifest) -> list[str]:
        """The settings in which two sets differ, such as "seed: 0 and 1"; notes do not count."""
        found = []
        for name, mine in dataclasses.asdict(self).items():
            theirs = getattr(other, name)
            if name != "notes" and mine != theirs:
                short = isinstance(mine, str | int) or len(mine) + len(theirs) <= 20
                found.append(f"{name}: {mine} and {theirs}" if short else name)
        return found


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest in a folder, or None where there is none.

    Raises:
      ValueError: if it is not what mollax writes.
    """
    file = folder / FILE
    if not file.exists():
        return None
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        return Manifest(**{field.name: _value(field, stored[field.name]) for field in dataclasses.fields(Manifest)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is not what mollax.corrupt_set writes ({error!r}). Remove the folder.") from None


def _value(field: dataclasses.Field, stored: Any) -> Any:
    """A value of JSON as what the field holds; raises ValueError for another type."""
    if not isinstance(stored, {"str": str, "int": int}.get(str(field.type), list)):
        raise ValueError(f"{field.name} is {stored!r}")
    return tuple(stored) if isinstance(stored, list) else stored
