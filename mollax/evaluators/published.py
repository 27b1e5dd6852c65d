"""Corrupted images that are read from a published set, or one that mollax wrote, instead of being made."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mollax import checks, corrupt
from mollax.data import Dataset, Split
from mollax.data.corrupted import read_corrupted
from mollax.data.options import evenly_spaced, take
from mollax.evaluators.corruption import expand

UNMATCHED = 'Corrupted images are not matched one by one with test images: "clean" may be of other images.'


class PublishedCorruptions:
    """CIFAR-10-C, ImageNet-C, Tiny-ImageNet-C or a set of `mollax.corrupt_set`, in the place of a `Corrupter`.

    Arrays that are as long as the test set must be in its order: corrupted image i belongs to test image i, and a part
    of the test set meets the same part of each cell. Published folders of images have an order of their own;
    Tiny-ImageNet-C moreover shows other photographs than the validation set that Tiny-ImageNet is tested on. The
    results then say that corrupted and clean images are not matched.
    """

    def __init__(
        self, path: str | Path, dataset: Dataset, *, names: Sequence[str], images: int = 0, resize: str = "stretch"
    ) -> None:
        """Opens the set and checks that every cell of `names` is there; images are read later.

        Args:
          path: the folder; see `mollax.data.corrupted`.
          dataset: what the model is evaluated on.
          names: corruptions, as in `eval.corruptions`.
          images: of each cell, evenly spaced as those of the test set are; 0 takes all.
          resize: how images in folders are brought to the size of the data set, as in `ReadOptions`.

        Raises:
          FileNotFoundError, ValueError: see `mollax.data.corrupted`; ValueError also if labels are not those of the
            test set.
        """
        self._set = read_corrupted(
            path,
            class_names=dataset.class_names,
            image_shape=dataset.image_shape,
            class_ids=dataset.class_ids,
            resize=resize,
        )
        self._images = checks.positive_int("eval.corrupted_images", images, minimum=0)
        self._notes: set[str] = set()
        cells = [(name, severity) for name in expand(names) for severity in corrupt.SEVERITIES]
        for cell in cells:
            self._set.check(*cell)
        self._matched = self._set.in_order and self._match(self._set.labels(*cells[0]), dataset.test.labels)

    def split(self, split: Split, name: str, severity: int) -> Split:
        """The images of a cell, whatever the split: `images` chooses the same of both."""
        cell, notes = self._set.cell(name, severity)
        for note in set(notes) - self._notes:
            logging.info("%s, %s %d: %s", self._set.path, name, severity, note)
        self._notes.update(notes)
        return take(cell, evenly_spaced(len(cell), self._images))

    def prepare(self, split: Split, name: str, severity: int) -> None:
        """Nothing: reading needs no preparation."""

    def describe(self, split: Split) -> dict[str, str]:
        """For results.json: "source", and a "note" where corrupted images are not those of the test set."""
        manifest = self._set.manifest
        source = f"{'published' if manifest is None else manifest}: folder {self._set.path.resolve().name}"
        return {"source": source} if self._matched else {"source": source, "note": UNMATCHED}

    def _match(self, labels: np.ndarray, test: np.ndarray) -> bool:
        """Whether the set is as long as the test set or the part of it that is evaluated; labels must then agree."""
        part = test[evenly_spaced(len(test), self._images)]
        expected = next((candidate for candidate in (test, part) if len(candidate) == len(labels)), None)
        if expected is None:
            return False
        wrong = np.flatnonzero(labels != expected)
        if len(wrong):
            raise ValueError(
                f"{self._set.path} has as many images as the test set but other labels: {labels[wrong[0]]} instead of "
                f"{expected[wrong[0]]} at image {wrong[0]}, {len(wrong):,} of {len(labels):,} in all. It belongs to "
                "other data, or the data set was read in another order; CIFAR's published files have the right one."
            )
        return True
