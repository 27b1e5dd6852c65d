"""The reference of an audit: bank and held-out part as points, from images, from a run's own data, or from a file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8

from mollax import experiment
from mollax.auditing import material, trained
from mollax.auditing.material import Form, Show, Side
from mollax.auditing.pipeline import learns_transforms
from mollax.auditing.settings import HELD_SHARE, Settings
from mollax.auditing.space import Features, Space
from mollax.data.collection import Collection, Loaded, open_collection
from mollax.data.dataset import Split
from mollax.data.duplicates import content_hashes
from mollax.data.inspect import Storage, inspect_array
from mollax.data.options import limit_total
from mollax.evaluators import stack


@dataclass(frozen=True)
class Part:
    """Bank or held-out part.

    Attributes:
      points: one row an image.
      images: uint8 (n, h, w, c); None where a saved reference has features only.
      labels, groups: one an image, or None without.
      files: what each image is called.
    """

    points: Float32[np.ndarray, "n d"]
    images: UInt8[np.ndarray, "n h w c"] | None
    labels: Int32[np.ndarray, " n"] | None
    groups: tuple[str, ...] | None
    files: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True)
class Reference:
    """What new images are compared with.

    Attributes:
      about: name, path, reader, split and number of images, and where the held-out part is from.
      form: of the images.
      class_names: of the labels; empty without.
      storage: how its images are stored.
      bank, held: its parts.
      hashes, held_hashes: of the images of bank and held-out part, by content.
      notes, skipped: of reading.
      kernel, strength, held_log: of a saved reference: --kernel, its strength and the held-out log-densities.
      run, seed: what the kernel "run" depends on: `pipeline.identity` of the run ("" for other kernels, or where it is
        not known), and the seed of its draws.
    """

    about: dict[str, Any]
    form: Form
    class_names: tuple[str, ...]
    storage: Storage | None
    bank: Part
    held: Part
    hashes: list[bytes]
    held_hashes: list[bytes]
    notes: tuple[str, ...]
    skipped: tuple[dict[str, str], ...]
    kernel: str = ""
    strength: float | None = None
    held_log: Float[np.ndarray, " h"] | None = None
    run: str = ""
    seed: int | None = None


def is_run_data(settings: Settings, features: Features) -> bool:
    """Whether the reference is what the run was trained on, with its own validation split."""
    if settings.held_out or settings.split:
        return False
    path = features.run.config.data.path
    return not settings.reference or (bool(path) and Path(path).resolve() == Path(settings.reference).resolve())


def from_run(
    settings: Settings, features: Features, space: Space, form: Form, storage: Storage, show: Show
) -> Reference:
    """The run's training split as the bank, its validation split as the held-out part."""
    data = features.run.config.data
    dataset = experiment.load_data(features.run.config)
    about = {
        "name": dataset.name,
        "path": str(data.path or dataset.name),
        "reader": data.reader,
        "split": "train",
        "images": len(dataset.train) + len(dataset.validation),
        "held_from": "the run's validation split",
    }
    most = settings.limit and max(1, settings.limit * len(dataset.train) // about["images"])
    sides = []
    for name, split, limit in (("train", dataset.train, most), ("validation", dataset.validation, material.HELD_MOST)):
        cut = limit_total(split, limit, classes=len(dataset.class_names), seed=settings.seed) if limit else split
        sides.append(_side(cut, name, dataset.class_names, about, form, storage))
    bank, _ = material.without_held_out(sides[0], sides[1].loaded, given=False)
    return _reference(space, form, bank, sides[1].loaded, None, None, dataset.notes, show)


def _side(
    split: Split, name: str, classes: tuple[str, ...], about: dict[str, Any], form: Form, storage: Storage
) -> Side:
    images = material.through_jpeg(stack(split, range(len(split))), form)
    files = tuple(f"{name}[{i}]" for i in range(len(split)))
    loaded = Loaded(images, split.labels.astype(np.int32), files, ("",) * len(files), (), ())
    return Side(loaded, classes, about, storage)


def from_images(
    settings: Settings, features: Features | None, space: Space, collection: Collection, form: Form, show: Show
) -> Reference:
    """Images of a collection, with the held-out part that --held-out names or one cut from them.

    Where a network, or an augmentation that was learned, takes part, held-out images are those that it did not see.

    Raises:
      ValueError: for a held-out part that is none; see `material` and `trained`.
    """
    side = material.load(collection, form, limit=settings.limit, show=show, what="reading reference")
    given = material.open_held_out(settings)
    notes, skipped = list(side.loaded.notes), list(side.loaded.skipped)
    if given is not None:
        other = material.load(given, form, limit=material.HELD_MOST, show=show, what="reading held-out")
        held, bank = other.loaded, side
        where = f"{given.split} split of {given.path}"
        skipped += other.loaded.skipped
        if other.class_names != side.class_names:
            held = replace(held, labels=None)
        bank_groups, held_groups = (material.groups_of(one, settings.groups) for one in (bank.loaded, held))
    else:
        groups = material.groups_of(side.loaded, settings.groups)
        share = HELD_SHARE if settings.held_out_share is None else settings.held_out_share
        first, second = material.cut_held_out(len(side), share, groups=groups, seed=settings.seed)
        held, bank = side.loaded.take(second), replace(side, loaded=side.loaded.take(first))
        bank_groups, held_groups = (
            None if groups is None else tuple(groups[i] for i in part) for part in (first, second)
        )
        what = "" if groups is None else f", whole groups, {len(set(held_groups or ()))} of {len(set(groups))}"
        where = f"{len(second):,} of {len(side):,} reference images, drawn by seed {settings.seed}{what}"
    if features is not None and learns(features, space):
        held, unseen, said = trained.without_trained(held, features, form)
        notes += said
        if held_groups is not None:
            held_groups = tuple(held_groups[i] for i in np.flatnonzero(unseen))
    bank, kept = material.without_held_out(bank, held, given=given is not None)
    if bank_groups is not None:
        bank_groups = tuple(group for group, stays in zip(bank_groups, kept, strict=True) if stays)
    bank = replace(bank, about=bank.about | {"held_from": where}, loaded=replace(bank.loaded, skipped=tuple(skipped)))
    return _reference(space, form, bank, held, bank_groups, held_groups, notes, show)


def learns(features: Features, space: Space) -> bool:
    """Whether what an audit measures was learned from the run's training images: features, or transforms."""
    return space.kind == "features" or learns_transforms(features.run)


def _reference(
    space: Space,
    form: Form,
    bank: Side,
    held: Loaded,
    bank_groups: tuple[str, ...] | None,
    held_groups: tuple[str, ...] | None,
    notes: Sequence[str],
    show: Show,
) -> Reference:
    def part(loaded: Loaded, groups: tuple[str, ...] | None, what: str) -> Part:
        points = space.points(loaded.images, progress=lambda done: show(what, done, len(loaded)))
        return Part(points, loaded.images, loaded.labels, groups, loaded.files)

    loaded = bank.loaded
    skipped = tuple(asdict(skip) for skip in loaded.skipped)
    extra = tuple(note for note in loaded.notes if note not in notes)
    return Reference(
        about=bank.about,
        form=form,
        class_names=bank.class_names,
        storage=bank.storage,
        bank=part(loaded, bank_groups, "features of bank"),
        held=part(held, held_groups, "features of held-out"),
        hashes=content_hashes(loaded.images),
        held_hashes=content_hashes(held.images),
        notes=(*notes, *extra),
        skipped=skipped,
    )


def storage_of_run(space: Features) -> Storage:
    """How the images that a run was trained on are stored: its files, or else what its reader gives."""
    settings, shape = space.run.config.data, space.shape
    try:
        reader = settings.reader
        return open_collection(settings.path or reader, reader=reader, name=settings.name).storage
    except (ValueError, OSError) as error:
        logging.info("note: the storage of the run's data is not known (%s)", error)
        return inspect_array((0, *shape), kind=f"array ({settings.reader})")
