"""Reading the block "ood" of results.json: its numbers by score and set, means over sets, the order of the scores.

Numbers are fractions; one that is missing (None, NaN, a cell that is not there) is NaN. Images in distribution are the
positives: FPR95 is the share of a set that passes where 95 % of the known images do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mollax.report.table import as_float

Block = Mapping[str, Any]
FPR, AUROC = "fpr_at_tpr_id", "auroc"
# The key of a value -> the key of its interval, and whether high is good.
INTERVALS = {FPR: "fpr_at_tpr", AUROC: "auroc", "aupr_id": "aupr"}
HIGH_IS_GOOD = {FPR: False, AUROC: True}


def score_names(block: Block) -> list[str]:
    """Scores in the order of the run; the first is what others are compared with."""
    return [str(row["name"]) for row in block.get("scores") or ()]


def score_row(block: Block, score: str) -> Block:
    """What is known of a score whatever the set: its threshold, costs and so on."""
    return next(row for row in block["scores"] if row["name"] == score)


def set_names(block: Block) -> list[str]:
    """Sets in the order of the run."""
    return [str(row["name"]) for row in block.get("sets") or ()]


def set_groups(block: Block) -> dict[str, str]:
    """ "near", "far" or "shifted" for every set."""
    return {str(row["name"]): str(row.get("group", "far")) for row in block.get("sets") or ()}


def cell(block: Block, score: str, name: str) -> Block:
    """Everything about a score on a set; empty where it was not measured."""
    return ((block.get("table") or {}).get(score) or {}).get(name) or {}


def value(block: Block, score: str, name: str, key: str) -> float:
    """A number of a score on a set."""
    return as_float(cell(block, score, name).get(key))


def bounds(block: Block, score: str, name: str, key: str) -> tuple[float, float] | None:
    """The 95 % interval of `value`, or None."""
    return _pair((cell(block, score, name).get("intervals") or {}).get(INTERVALS.get(key, key)))


def against_first(block: Block, score: str, name: str, key: str) -> int:
    """1 where a score is better than the first by more than noise, -1 where it is worse, 0 where one cannot tell."""
    pair = _pair((cell(block, score, name).get("against_first") or {}).get(INTERVALS.get(key, key)))
    if pair is None or pair[0] <= 0 <= pair[1]:
        return 0
    return 1 if (pair[0] > 0) == HIGH_IS_GOOD[key] else -1


def _pair(given: Sequence[Any] | None) -> tuple[float, float] | None:
    if given is None or len(given) != 2 or not all(math.isfinite(as_float(bound)) for bound in given):
        return None
    return float(given[0]), float(given[1])


def counted_sets(block: Block) -> list[str]:
    """The sets that means are over: near and far ones. Shifted images show known classes; they count if alone."""
    groups = set_groups(block)
    return [name for name, group in groups.items() if group != "shifted"] or list(groups)


def mean(block: Block, score: str, key: str, group: str | None = None) -> float:
    """The mean over the sets of a group, or over `counted_sets`; NaN if one of them was not measured."""
    groups = set_groups(block)
    names = counted_sets(block) if group is None else [name for name in groups if groups[name] == group]
    return float(np.mean([value(block, score, name, key) for name in names])) if names else math.nan


def ranked(block: Block) -> list[str]:
    """Scores by their mean AUROC, the best first; those without one come last."""
    means = {score: mean(block, score, AUROC) for score in score_names(block)}
    return sorted(means, key=lambda score: math.inf if math.isnan(means[score]) else -means[score])


def labels(scores: Sequence[str]) -> dict[str, str]:
    """Short names: "ash" for "ash:variant=s" unless there are several kinds of ash."""
    families = [score.partition(":")[0] for score in scores]
    return {
        score: family if families.count(family) == 1 else score.replace(":", ": ", 1).replace(",", ", ")
        for score, family in zip(scores, families, strict=True)
    }


def best(numbers: Sequence[float], *, high: bool) -> float:
    """The best number of a column, NaN where there is none."""
    known = [number for number in numbers if math.isfinite(number)]
    return (max(known) if high else min(known)) if known else math.nan
