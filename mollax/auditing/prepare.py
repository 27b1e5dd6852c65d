"""Both sides of an audit as points of one space, from whatever names them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from mollax.auditing import kernels, material, saved
from mollax.auditing.kernels import Family
from mollax.auditing.material import Show, Side
from mollax.auditing.reference import Part, Reference, from_images, from_run, is_run_data, storage_of_run
from mollax.auditing.settings import Settings
from mollax.auditing.space import Features, Pixels, Space, check_same_features
from mollax.data.collection import open_collection
from mollax.data.inspect import Storage


class Prepared(NamedTuple):
    """Both sides as points of one space."""

    reference: Reference
    new: Side
    new_part: Part
    space: Space
    family: Family


def prepare(settings: Settings, show: Show) -> Prepared:
    """Reads both sides, brings them to one form, and turns them into points.

    Raises:
      FileNotFoundError, ValueError, TypeError: for what a user can mend; see the modules that do each part.
    """
    if not settings.reference and settings.workdir is None:
        raise ValueError("Name training images by --reference, or a run by --workdir, whose data they then are.")
    name, _ = kernels.parse(settings.kernel)
    features = Features(settings.workdir) if settings.workdir is not None else None
    space: Space = features if features is not None and name in ("gaussian",) else Pixels()
    source = open_collection(
        settings.new, reader=settings.new_reader, split=settings.new_split, preferred="test", name=settings.new_name
    )
    if saved.is_saved(settings.reference):
        reference, kind, probe = saved.load_saved(Path(settings.reference))
        _check_saved(settings, reference, kind, space, probe)
    else:
        reference = _read_reference(settings, space, features, source.storage, show)
    side = material.load(source, reference.form, limit=settings.new_limit, show=show, what="reading new images")
    points = space.points(side.loaded.images, progress=lambda done: show("features of new images", done, len(side)))
    groups = material.groups_of(side.loaded, settings.groups) if reference.held.groups is not None else None
    loaded = side.loaded
    part = Part(points, loaded.images, _matching_labels(side, reference.class_names), groups, loaded.files)
    shape = reference.form.shape if space.kind == "pixels" else None
    kernel = settings.kernel if reference.strength is None else _saved_kernel(settings, reference)
    found = kernels.family(kernel, shape=shape, run=features.run if features else None, seed=settings.seed)
    return Prepared(reference, side, part, space, found)


def _read_reference(settings: Settings, space: Space, features: Features | None, new: Storage, show: Show) -> Reference:
    shape = features.shape if features is not None else None
    if features is not None and is_run_data(settings, features):
        storage = storage_of_run(features)
        form = material.choose_form(settings, storage, new, shape=shape)
        return from_run(settings, features, space, form, storage, show)
    collection = open_collection(
        settings.reference, reader=settings.reader, split=settings.split, preferred="train", name=settings.name
    )
    form = material.choose_form(settings, collection.storage, new, shape=shape)
    return from_images(settings, space, collection, form, show)


def _check_saved(settings: Settings, reference: Reference, kind: str, space: Space, probe: np.ndarray | None) -> None:
    """Raises ValueError where a saved reference does not go with the other options."""
    shape = reference.form.shape
    if kind != space.kind:
        wanted = "--workdir=RUN" if kind == "features" else "no --workdir"
        raise ValueError(f"{settings.reference} holds {kind}; give {wanted}, or save a reference of {space.kind}.")
    if isinstance(space, Features) and space.shape != shape:
        raise ValueError(
            f"{settings.reference} is for images of {shape}, the run in {settings.workdir} for {space.shape}."
        )
    if settings.size not in (0, shape[0]):
        raise ValueError(f"--size={settings.size}, but {settings.reference} holds images of {shape[0]} x {shape[1]}.")
    if settings.held_out:
        raise ValueError("A saved reference has a held-out part of its own; leave --held-out out.")
    if probe is not None:
        check_same_features(space, probe, reference.held.points[: len(probe)])


def _saved_kernel(settings: Settings, reference: Reference) -> str:
    """The saved kernel with its strength, unless another one is asked for."""
    name, _, rest = settings.kernel.partition(":")
    if rest or (name != "gaussian" and name != reference.kernel.partition(":")[0]):
        return settings.kernel
    name, options = kernels.parse(reference.kernel)
    known = options | {next(iter(options)): reference.strength}
    return f"{name}:" + ",".join(f"{key}={value!r}" for key, value in known.items())


def _matching_labels(side: Side, names: Sequence[str]) -> Int[np.ndarray, " n"] | None:
    """Labels of new images by the reference's class names; None unless it has all classes of the new images."""
    index = {name: i for i, name in enumerate(names)}
    if side.loaded.labels is None or not names or any(name not in index for name in side.class_names):
        return None
    return np.array([index[name] for name in side.class_names], np.int32)[side.loaded.labels]
