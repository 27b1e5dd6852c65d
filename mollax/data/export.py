"""Choosing images of a set for a command that writes files, and what its folders are called."""

from __future__ import annotations

import re
from collections import Counter

from mollax import checks
from mollax.data.dataset import Dataset, Split
from mollax.data.options import evenly_spaced, take


def choose(dataset: Dataset, name: str, images: int) -> Split:
    """`images` of a split of the data set, evenly spaced, all of them if 0: those that an evaluation takes."""
    split = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}[name]
    return take(split, evenly_spaced(len(split), checks.positive_int("--images", images, minimum=0)))


def class_folders(dataset: Dataset) -> tuple[str, ...]:
    """A folder's name for each class: its WordNet id or its name, without what file systems do not take."""
    plain = [
        re.sub(r'^\.|[/\\:*?"<>|\x00-\x1f]', "_", name) or "_" for name in dataset.class_ids or dataset.class_names
    ]
    counts = Counter(name.lower() for name in plain)
    return tuple(f"{name} ({i})" if counts[name.lower()] > 1 else name for i, name in enumerate(plain))
