"""Held-out images that a run was trained on: such a part is no yardstick, as its network knows them by heart."""

from __future__ import annotations

import logging

import numpy as np
from jaxtyping import Bool

from mollax import experiment
from mollax.auditing import material
from mollax.auditing.material import Form
from mollax.auditing.space import Features
from mollax.data.collection import Loaded
from mollax.data.dataset import Split
from mollax.data.duplicates import content_hashes
from mollax.evaluators import stack

CHUNK = 2000  # images decoded at a time


def without_trained(
    held: Loaded, features: Features, form: Form
) -> tuple[Loaded, Bool[np.ndarray, " h"], tuple[str, ...]]:
    """Held-out images that the run was not trained on, pixel for pixel at its size; which these are; and notes.

    Where the run's data cannot be read, all are kept and a note says so.

    Raises:
      ValueError: if the run was trained on more than `material.COPIES` of them.
    """
    every = np.ones(len(held), bool)
    try:
        split = experiment.load_data(features.run.config).train
        if tuple(split.images.shape[1:]) != form.shape:
            raise ValueError(f"its images are {split.images.shape[1:]}, not {form.shape}")
        known = training_hashes(split, form)
    except (ValueError, OSError) as error:
        note = f"the held-out part was not compared with what trained the run, which cannot be read ({error})"
        logging.info("note: %s", note)
        return held, every, (note,)
    unseen = np.array([value not in known for value in content_hashes(held.images)], bool)
    count = int((~unseen).sum())
    if count > material.COPIES * len(held):
        raise ValueError(
            f"The run was trained on {count:,} of the {len(held):,} held-out images, which are therefore not held out. "
            "Leave --reference out to compare with the run's own validation split, or name by --held-out images that "
            "it did not see."
        )
    if not count:
        return held, every, ()
    note = f"{count:,} images that trained the run taken out of the held-out part"
    logging.info("note: %s", note)
    return held.take(np.flatnonzero(unseen)), unseen, (note,)


def training_hashes(split: Split, form: Form) -> set[bytes]:
    """Hashes of training images as an audit of that form would see them."""
    found: set[bytes] = set()
    for start in range(0, len(split), CHUNK):
        block = stack(split, range(start, min(start + CHUNK, len(split))))
        found.update(content_hashes(material.through_jpeg(block, form)))
    return found
