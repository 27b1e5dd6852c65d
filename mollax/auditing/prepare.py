"""Both sides of an audit as points of one space, from whatever names them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from mollax.auditing import kernels, material, options, saved
from mollax.auditing.deployment import Deployment, read_deployment
from mollax.auditing.kernels import Family
from mollax.auditing.material import Show, Side
from mollax.auditing.pipeline import identity
from mollax.auditing.reference import Part, Reference, from_images, from_run, is_run_data, storage_of_run
from mollax.auditing.settings import Settings
from mollax.auditing.space import Features, Pixels, Space, check_same_features
from mollax.data.collection import open_collection
from mollax.data.duplicates import content_hashes
from mollax.data.inspect import Storage


class Prepared(NamedTuple):
    """Both sides as points of one space, and the images on which the strength is chosen, if --theta-from names any."""

    reference: Reference
    new: Side
    new_part: Part
    space: Space
    family: Family
    deployment: Deployment | None = None


def prepare(settings: Settings, show: Show) -> Prepared:
    """Reads both sides, brings them to one form, and turns them into points.

    Raises:
      FileNotFoundError, ValueError, TypeError: for what a user can mend; see the modules that do each part.
    """
    options.check_sides(settings)
    features = Features(settings.workdir) if settings.workdir is not None else None
    kept = saved.load_saved(Path(settings.reference)) if saved.is_saved(settings.reference) else None
    kernel = settings.kernel or "gaussian" if kept is None else options.saved_kernel(settings, kept[0])
    options.check_strength(settings, kernel)
    on_features = features is not None and kernels.parse(kernel)[0] == "gaussian"
    space: Space = features if features is not None and on_features else Pixels()
    source = open_collection(
        settings.new, reader=settings.new_reader, split=settings.new_split, preferred="test", name=settings.new_name
    )
    if kept is not None:
        reference, kind, probe = kept
        options.check_saved(settings, reference, kind, features, space)
        if probe is not None:
            check_same_features(space, probe, reference.held.points[: len(probe)])
    else:
        reference = _read_reference(settings, space, features, source.storage, show)
    side = material.load(source, reference.form, limit=settings.new_limit, show=show, what="reading new images")
    points = space.points(side.loaded.images, progress=lambda done: show("features of new images", done, len(side)))
    groups = material.groups_of(side.loaded, settings.groups) if reference.held.groups is not None else None
    loaded = side.loaded
    part = Part(points, loaded.images, _matching_labels(side, reference.class_names), groups, loaded.files)
    shape = reference.form.shape if space.kind == "pixels" else None
    found = kernels.family(kernel, shape=shape, run=features.run if features else None, seed=settings.seed)
    reference = _of_its_run(settings, reference, found, features)
    return Prepared(reference, side, part, space, found, _deployment(settings, reference, part, space, show))


def _read_reference(settings: Settings, space: Space, features: Features | None, new: Storage, show: Show) -> Reference:
    shape = features.shape if features is not None else None
    if features is not None and is_run_data(settings, features):
        options.check_run_data(settings)
        storage = storage_of_run(features)
        form = material.choose_form(settings, storage, new, shape=shape)
        return from_run(settings, features, space, form, storage, show)
    collection = open_collection(
        settings.reference, reader=settings.reader, split=settings.split, preferred="train", name=settings.name
    )
    form = material.choose_form(settings, collection.storage, new, shape=shape)
    return from_images(settings, features, space, collection, form, show)


def _of_its_run(settings: Settings, reference: Reference, found: Family, features: Features | None) -> Reference:
    """The reference with the run and seed that its kernel depends on: those it was saved with, or else of this audit.

    Raises:
      ValueError: if it was saved with the augmentation of another run, which then chose its strength.
    """
    run = identity(features.run) if found.name == "run" and features is not None else ""
    taken = found.name == "run" and reference.kernel == found.text and reference.strength == found.given
    if not taken:
        return replace(reference, run=run, seed=settings.seed)
    if reference.run and reference.run != run:
        raise ValueError(
            f"{settings.reference} was saved with the augmentation of another run than that in {settings.workdir}. "
            "Give --workdir that run, or --kernel=run:sigma=auto to choose the strength for this one."
        )
    if not reference.run:
        note = "the run whose augmentation chose the saved strength is not known: saved by an earlier version"
        return replace(reference, notes=(*reference.notes, note))
    return reference


def _deployment(settings: Settings, reference: Reference, new: Part, space: Space, show: Show) -> Deployment | None:
    """What --theta-from names, or None."""
    if not settings.theta_from:
        return None
    assert new.images is not None  # they were read
    parts = {"bank": reference.hashes, "held": reference.held_hashes, "new": content_hashes(new.images)}
    return read_deployment(settings.theta_from, reference.form, space, **parts, show=show)


def _matching_labels(side: Side, names: Sequence[str]) -> Int[np.ndarray, " n"] | None:
    """Labels of new images by the reference's class names; None unless it has all classes of the new images."""
    index = {name: i for i, name in enumerate(names)}
    if side.loaded.labels is None or not names or any(name not in index for name in side.class_names):
        return None
    return np.array([index[name] for name in side.class_names], np.int32)[side.loaded.labels]
