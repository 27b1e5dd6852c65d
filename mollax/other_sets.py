"""Sets of other images that a config names: to learn from (`ood.auxiliary`) and to detect (`eval.ood.sets`)."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from mollax import checks, data, evaluators
from mollax.data import Dataset, Split

FIELDS = tuple(name for name in inspect.signature(data.load_foreign).parameters if name != "shape")


def read_detected(config: ConfigDict, dataset: Dataset) -> dict[str, evaluators.OtherSet]:
    """The sets of `eval.ood.sets` that have a path or need none, made like the images of `dataset`.

    Raises:
      FileNotFoundError: if the path of a set does not exist.
      ValueError: for settings of a set that make no sense.
    """
    sets = {}
    for name, about in config.eval.ood.sets.to_dict().items():
        if "path" in about and not about["path"]:
            logging.info("The set %s is left out of the detection: eval.ood.sets.%s.path is empty.", name, name)
            continue
        sets[name] = _detected(name, about, config, dataset)
    return sets


def read_auxiliary(config: ConfigDict, dataset: Dataset) -> tuple[Split, tuple[str, ...]]:
    """The images of `ood.auxiliary` and of `ood.more_auxiliary`, one set after the other, and notes on them.

    Without those that the validation or the test split has too. All images are drawn alike: `limit` weighs the sets.

    Raises:
      FileNotFoundError: if a set is missing.
      ValueError: for settings of a set that make no sense.
    """
    if not config.ood.auxiliary.reader:
        raise ValueError('The source "auxiliary" needs ood.auxiliary.reader and .path: a set of images to learn from.')
    sets = {"auxiliary": config.ood.auxiliary.to_dict()}
    sets |= {f"more_auxiliary.{name}": about for name, about in config.ood.more_auxiliary.to_dict().items()}
    held_out = {"the validation split": dataset.validation, "the test split": dataset.test}
    parts, notes = [], []
    for name, about in sets.items():
        foreign = _load(f"ood.{name}", {"split": "train", **about}, config, dataset)
        part, shared = data.without_shared(foreign.split, held_out, stored=foreign.stored)
        parts.append(part)
        alone = len(sets) == 1
        notes += [note if alone else f"{name}: {note}" for note in (*foreign.notes, *shared)]
    return data.join(parts), tuple(notes)


def wild_images(dataset: Dataset, auxiliary: Split, *, share: float, seed: int) -> tuple[Split, Split, str]:
    """The half of the training images that keeps its labels, and the other half with outliers among it (WOODS).

    Random by the seed; each class is halved.

    Raises:
      ValueError: for a share outside of (0, 1), or too few outliers for it.
    """
    checks.in_range("ood.options.share", share, 0.0, 1.0, open_low=True, open_high=True)
    labelled, unlabelled = data.halve(dataset.train, classes=len(dataset.class_names), seed=seed)
    count = round(len(unlabelled) * share / (1 - share))
    if not 0 < count <= len(auxiliary):
        raise ValueError(
            f"A share of {share:g} among {len(unlabelled)} wild images needs {count} outliers; there are "
            f"{len(auxiliary)} auxiliary images. Lower ood.options.share, or bring more images."
        )
    wild = data.join([unlabelled, data.take_evenly(auxiliary, count)])
    note = f"WOODS: {len(labelled)} training images labelled, {len(unlabelled)} wild among {count} outliers"
    return labelled, wild, note


def _detected(name: str, about: Mapping[str, Any], config: ConfigDict, dataset: Dataset) -> evaluators.OtherSet:
    """A set of `eval.ood.sets`.

    Its reader is one of `mollax.data`, "noise", "data" (the run's own, for its other classes), or "corruption" (test
    images under one such as "fog:3").
    """
    options = dict(about)
    group = options.pop("group", "far")
    if options.get("reader") == "corruption":
        corruption, _, severity = str(options.get("name", "")).partition(":")
        if not severity.isdigit():
            raise ValueError(f'eval.ood.sets.{name}.name must be a corruption and a severity, such as "fog:3".')
        corrupter = evaluators.Corrupter(batch_size=config.eval.batch_size, cache=config.eval.corruption_cache)
        split = corrupter.split(dataset.test, corruption, int(severity))
        notes = (f"test images under {corruption} of severity {severity}",)
        return evaluators.OtherSet(split, group, notes, made_of_test=True)
    if options.get("reader") == "data":  # other classes of the set that is learned, or the like
        options |= {field: config.data[field] for field in ("reader", "path", "name")}
    if options.get("reader") == "noise":
        options.setdefault("limit", config.eval.ood.images)
    foreign = _load(f"eval.ood.sets.{name}", options, config, dataset)
    return evaluators.OtherSet(foreign.split, group, foreign.notes, foreign.stored)


def _load(place: str, options: Mapping[str, Any], config: ConfigDict, dataset: Dataset) -> data.Foreign:
    """Reads a set; how images are resized, what happens to unreadable ones and the seed are as in `config.data`.

    Unless the set says otherwise: sets that are brought to a square in different ways are told apart by their aspect
    ratio alone.
    """
    for option in options:
        checks.one_of(f"field of {place}", option, FIELDS)
    if "reader" not in options:
        raise ValueError(f'{place} needs a reader: what kind of files it has, such as "images".')
    as_data = {
        "resize": config.data.resize,
        "on_bad_image": config.data.on_bad_image,
        "seed": config.data.split_seed,
    }
    given = {name: value for name, value in options.items() if name not in as_data or value != ""}
    return data.load_foreign(**{**as_data, **given}, shape=dataset.image_shape)
