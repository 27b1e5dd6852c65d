"""Images on which the strength of a kernel is chosen, such as some from where a model is deployed: --theta-from."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from mollax.auditing import material
from mollax.auditing.material import Form, Show
from mollax.auditing.space import Space
from mollax.data.collection import open_collection
from mollax.data.duplicates import content_hashes

MOST = 2000  # images read: the choice averages over fewer


class Deployment(NamedTuple):
    """Such images as points.

    Attributes:
      points: one row an image.
      notes, skipped: of reading.
    """

    points: Float32[np.ndarray, "n d"]
    notes: tuple[str, ...]
    skipped: tuple[dict[str, Any], ...]


def read_deployment(
    path: str, form: Form, space: Space, *, bank: list[bytes], held: list[bytes], new: list[bytes], show: Show
) -> Deployment:
    """Reads the images at a path, without those that are in the bank, which the narrowest kernel would explain best.

    Args:
      path, form, space: of the images.
      bank, held, new: hashes of the images of each part.
      show: as everywhere.

    Raises:
      FileNotFoundError, ValueError: as `open_collection`; if more than `material.COPIES` of them are held-out or new
        images, on which the strength must not be chosen, or fewer than two are left.
    """
    side = material.load(
        open_collection(path, preferred="validation"), form, limit=MOST, show=show, what="reading --theta-from"
    )
    hashes = content_hashes(side.loaded.images)
    for name, others in (("held-out", set(held)), ("new", set(new))):
        shared = sum(value in others for value in hashes)
        if shared > material.COPIES * len(hashes):
            raise ValueError(
                f"{shared:,} of {len(hashes):,} images of --theta-from={path} are also among the {name} images, pixel "
                "for pixel: a strength that is chosen on one side of the comparison favors it. Give other images."
            )
    left_out = {*bank, *held, *new}
    kept = np.array([i for i, value in enumerate(hashes) if value not in left_out], np.int64)
    if len(kept) < 2:
        raise ValueError(
            f"{len(kept)} of {len(hashes):,} images of --theta-from={path} are not in the bank; a strength can be "
            "chosen on two or more. Give other images."
        )
    notes = [f"strength chosen on {len(kept):,} images of {path}", *side.loaded.notes]
    if len(kept) < len(hashes):
        notes.append(f"{len(hashes) - len(kept):,} copies of other images of the audit not used for the strength")
    images = side.loaded.images[kept]
    points = space.points(images, progress=lambda done: show("features of --theta-from", done, len(images)))
    return Deployment(points, tuple(notes), tuple(asdict(skip) for skip in side.loaded.skipped))
