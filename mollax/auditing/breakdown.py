"""Which part of the new images drifts: by sub-folder, and by class with the shift of labels taken out.

Contributions are -log p of single images in nats; all else on the host in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float, Int

from mollax import checks

MAX_FOLDERS = 60
FEWEST = 3  # images of a part, for an interval
Row = dict[str, Any]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: p-values of several tests, of which one falsely below a level is as rare as the level."""
    order = np.argsort(p_values, kind="stable")
    corrected, running = np.empty(len(p_values)), 0.0
    for place, i in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - place) * p_values[i]))
        corrected[i] = running
    return corrected.tolist()


def welch(new: Float[np.ndarray, " m"], held: Float[np.ndarray, " h"]) -> Row:
    """Difference of means with its 95 % interval and p-value (Welch's t); None where a side has too few images."""
    row: Row = {"images": len(new), "value": float(new.mean() - held.mean()), "low": None, "high": None}
    row["p_value"] = None
    if min(len(new), len(held)) < FEWEST or (np.ptp(new) == 0 and np.ptp(held) == 0):
        return row
    found = scipy.stats.ttest_ind(new, held, equal_var=False)
    low, high = found.confidence_interval(0.95)
    return row | {"low": float(low), "high": float(high), "p_value": float(found.pvalue)}


def by_folder(
    new: Float[np.ndarray, " m"],
    folders: Sequence[str],
    held: Float[np.ndarray, " h"],
    *,
    flags: Bool[np.ndarray, " m"],
) -> list[Row]:
    """Excess of each folder of the new images over all held-out ones, p-values corrected by Holm; [] for one folder.

    Folders are cut to their first levels until there are at most `MAX_FOLDERS`.

    Args:
      new: contributions.
      folders: of each image.
      held: contributions.
      flags: which of the new images are flagged.

    Raises:
      ValueError: if lengths differ.
    """
    checks.same_length(("new", "folders", "flags"), (new, folders, flags))
    depth = max((folder.count("/") + 1 for folder in folders), default=0)
    names = list(folders)
    while len(set(names)) > MAX_FOLDERS and depth > 1:
        depth -= 1
        names = ["/".join(folder.split("/")[:depth]) for folder in folders]
    if not 1 < len(set(names)) <= MAX_FOLDERS:
        return []
    words, numbers = np.unique(np.asarray(names), return_inverse=True)
    rows = []
    for number, word in enumerate(words):
        part = new[numbers == number]
        row = {"name": str(word) or "(top folder)"} | welch(part, held)
        rows.append(row | {"flagged": float(flags[numbers == number].mean())})
    return _corrected(rows)


def _corrected(rows: list[Row]) -> list[Row]:
    """Rows with Holm's correction of the p-values that there are, the largest excess first."""
    known = [row for row in rows if row["p_value"] is not None]
    for row, p in zip(known, holm([row["p_value"] for row in known]), strict=True):
        row["p_value"] = p
    return sorted(rows, key=lambda row: -row["value"])


def less_class_means(
    new: Float[np.ndarray, " m"],
    held: Float[np.ndarray, " h"],
    new_labels: Int[np.ndarray, " m"],
    held_labels: Int[np.ndarray, " h"],
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " h"]]:
    """Contributions less the mean of the held-out images of the same class.

    Raises:
      ValueError: if a class of the new images is not among the held-out ones.
    """
    missing = np.setdiff1d(new_labels, held_labels)
    if len(missing):
        raise ValueError(f"No held-out image is of class {missing[0]}.")
    classes = 1 + int(held_labels.max())
    means = np.bincount(held_labels, held, classes) / np.maximum(1, np.bincount(held_labels, minlength=classes))
    return new - means[new_labels], held - means[held_labels]


def by_class(
    new: Float[np.ndarray, " m"],
    new_labels: Int[np.ndarray, " m"],
    held: Float[np.ndarray, " h"],
    held_labels: Int[np.ndarray, " h"],
    class_names: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = 1000,
) -> Row:
    """Excess in two parts, as q are the shares of classes among held-out and p among new images.

    sum_c p_c N_c - sum_c q_c H_c = sum_c (p_c - q_c) H_c + sum_c p_c (N_c - H_c), N_c and H_c being the mean
    contributions of a class: what other shares of classes alone would give (label shift), and what is left within the
    classes. Intervals resample held-out and new images separately. Of a class that is new but not held out, H_c is not
    known: then there are no parts, and the classes are named.

    Returns:
      "total", "label_shift", "within" ({"value", "low", "high"}, None without parts), "missing" classes, and "rows" for
      each class: its shares, and Welch's test of N_c - H_c, corrected by Holm.

    Raises:
      ValueError: if lengths differ, or a label has no name.
    """
    checks.same_length(("new", "new_labels"), (new, new_labels))
    checks.same_length(("held", "held_labels"), (held, held_labels))
    classes = len(class_names)
    if max(new_labels.max(initial=0), held_labels.max(initial=0)) >= classes:
        raise ValueError(f"Labels must be below {classes}, the number of class names.")
    counts = [np.bincount(labels, minlength=classes) for labels in (new_labels, held_labels)]
    shares = [count / max(1, count.sum()) for count in counts]
    rows: list[Row] = []
    for label, name in enumerate(class_names):
        if counts[0][label] and counts[1][label]:
            row = {"name": name} | welch(new[new_labels == label], held[held_labels == label])
            rows.append(row | {"new_share": float(shares[0][label]), "held_share": float(shares[1][label])})
    missing = [class_names[int(c)] for c in np.flatnonzero((counts[0] > 0) & (counts[1] == 0))]
    block: Row = {"rows": _corrected(rows), "missing": missing, "total": float(new.mean() - held.mean())}
    block |= {"label_shift": None, "within": None, "shares_p_value": _shares_test(*counts)}
    if missing:
        return block
    shift = label_shift(new, new_labels, held, held_labels, classes)
    rng = np.random.default_rng([seed, 7])
    draws = []
    for _ in range(resamples):
        i, j = rng.integers(0, len(new), len(new)), rng.integers(0, len(held), len(held))
        drawn = label_shift(new[i], new_labels[i], held[j], held_labels[j], classes)
        draws.append([drawn, float(new[i].mean() - held[j].mean()) - drawn])
    with np.errstate(invalid="ignore"):
        low, high = np.nanquantile(np.array(draws), [0.025, 0.975], axis=0)
    parts = {"label_shift": shift, "within": block["total"] - shift}
    for k, (name, value) in enumerate(parts.items()):
        block[name] = {"value": value, "low": float(low[k]), "high": float(high[k])}
    return block


def label_shift(
    new: Float[np.ndarray, " m"],
    new_labels: Int[np.ndarray, " m"],
    held: Float[np.ndarray, " h"],
    held_labels: Int[np.ndarray, " h"],
    classes: int,
) -> float:
    """sum_c (p_c - q_c) H_c; NaN if a class of the new images is not among the held-out ones."""
    p = np.bincount(new_labels, minlength=classes) / len(new)
    count = np.bincount(held_labels, minlength=classes)
    total = np.bincount(held_labels, weights=held, minlength=classes)
    if ((p > 0) & (count == 0)).any():
        return math.nan
    means = total / np.maximum(count, 1)
    return float(((p - count / len(held)) * means).sum())


def _shares_test(new: Int[np.ndarray, " k"], held: Int[np.ndarray, " k"]) -> float | None:
    """P-value of equal shares of classes (chi-squared of the table); None with a single class."""
    table = np.stack([new, held])[:, (new + held) > 0]
    return float(scipy.stats.chi2_contingency(table).pvalue) if table.shape[1] > 1 and table.sum(1).all() else None
