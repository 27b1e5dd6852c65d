"""Scores ranked: how many ID and OOD examples lie on either side of each distinct score, and what follows from it.

The arithmetic of the detection metrics and of their bootstrap. Counts are kept in float64, where integers are exact.
They have an entry for each threshold and one before, a zero; resamples are rows.
"""

from __future__ import annotations

import functools
import math
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Real

from mollax import checks
from mollax.metrics.inputs import Host

POSITIVES = ("id", "ood")
"""What may be counted as a positive; see `mollax.metrics.detection`."""
Result = np.ndarray | np.float64
"""A number for each row of counts, or one."""
_BLOCK = 1 << 16
"""Thresholds treated at once: what a core's own cache holds."""
_DISTINCT_SHARE = 0.5
"""Of scores that differ from the next; below it, counting at the distinct scores is faster."""


class Counts(NamedTuple):
    """The distinct scores, ascending, and how many ID and OOD scores are <= each; before the first, none are."""

    values: Float[np.ndarray, " m"]
    id: Float64[np.ndarray, " m+1"]
    ood: Float64[np.ndarray, " m+1"]


class Rates(NamedTuple):
    """Positives found and false alarms at each threshold that finds some, after a zero; and all negatives."""

    found: Float64[np.ndarray, "*r m"]
    alarms: Float64[np.ndarray, "*r m"]
    negatives: int


class Ranking:
    """ID and OOD scores in one ascending order, from which counts follow.

    Two ways lead to them, for speed alone: where most scores differ, the position of an example tells how many lie
    below, and the few ties are mended; where most are tied, all is counted at the distinct scores.
    """

    def __init__(self, values: Float[np.ndarray, " n"], is_ood: Bool[np.ndarray, " n"]) -> None:
        """Takes the sorted scores and which of them are OOD, ID first among equals."""
        self._values, self._is_ood = values, is_ood
        self._different = values[1:] != values[:-1]
        self._mostly_tied = np.count_nonzero(self._different) < _DISTINCT_SHARE * len(values)
        self.ood = int(np.count_nonzero(is_ood))
        self.id = len(is_ood) - self.ood

    @functools.cached_property
    def counts(self) -> Counts:
        """Counts at the distinct scores."""
        last = np.concatenate([self._different, [True]])  # of a run of equal scores
        ood = np.cumsum(self._is_ood)[last]
        both = np.flatnonzero(last) + 1
        return Counts(self._values[last], *(np.concatenate([[0.0], counts]) for counts in (both - ood, ood)))

    def auroc(self) -> float:
        """Area under the ROC curve."""
        if self._mostly_tied:
            return float(area_under_roc(self.counts.id, self.counts.ood))
        accepted = self._id_rates.alarms[1:].sum()
        below = np.flatnonzero(~self._is_ood).sum() - self.id * (self.id - 1) // 2
        pairs = self.id * self.ood
        return float((2 * pairs - int(accepted) - int(below)) / (2 * pairs))

    def rates(self, positive: str) -> Rates:
        """What the thresholds find; raises ValueError on an unknown `positive`."""
        checks.one_of("positive", positive, POSITIVES)
        if self._mostly_tied:
            return rates_of(self.counts.id, self.counts.ood, positive)
        return self._id_rates if positive == "id" else self._rates_of_positions("ood")

    def id_score(self, rank: int) -> float:
        """The ID score of a rank, 1 the lowest."""
        return float(self._values[np.flatnonzero(~self._is_ood)[rank - 1]])

    @functools.cached_property
    def _id_rates(self) -> Rates:
        return self._rates_of_positions("id")

    def _rates_of_positions(self, positive: str) -> Rates:
        """The threshold of each positive in turn, from the highest score down when OOD is positive."""
        if positive == "id":
            is_positive, different, negatives = ~self._is_ood, self._different, self.ood
        else:
            is_positive, different, negatives = self._is_ood[::-1], self._different[::-1], self.id
        positions = np.flatnonzero(is_positive)
        both, found = positions + 1, np.arange(len(positions) + 1.0)
        before, after = np.concatenate([[True], different]), np.concatenate([different, [True]])
        tied = np.flatnonzero(~after[positions])
        if len(tied):  # take them to the ends of their runs of equal scores
            ends = np.flatnonzero(after & ~before) + 1
            both[tied] = ends[np.searchsorted(ends, both[tied])]
            found[1 + tied] = np.searchsorted(positions, both[tied])
        alarms = np.zeros(len(found))
        np.subtract(both, found[1:], out=alarms[1:])
        return Rates(found, alarms, negatives)


def rank_scores(id_scores: Real[Host, " n"], ood_scores: Real[Host, " m"]) -> Ranking:
    """Sorts both sets and merges them; raises ValueError on an empty set, NaN or another rank."""
    pair = [score_array("id_scores", id_scores), score_array("ood_scores", ood_scores)]
    with np.errstate(over="ignore"):
        narrow = [scores.astype(np.float32) for scores in pair]
    if all(map(np.array_equal, narrow, pair)):
        pair = narrow  # the same order, half the bytes to sort
    runs = np.concatenate(_sorted(pair))
    # A stable sort recognises the two sorted runs and merely merges them.
    order = np.argsort(runs, kind="stable")
    return Ranking(runs[order], order >= len(pair[0]))


def rates_of(id_counts: Float64[np.ndarray, "*r m"], ood_counts: Float64[np.ndarray, "*r m"], positive: str) -> Rates:
    """Positives found and false alarms from no threshold to the last; raises ValueError on an unknown `positive`."""
    if checks.one_of("positive", positive, POSITIVES) == "id":
        return Rates(id_counts, ood_counts, int(ood_counts[..., -1].max()))
    # At least v is all but what is below v.
    found, alarms = (counts[..., -1:] - counts[..., ::-1] for counts in (ood_counts, id_counts))
    return Rates(found, alarms, int(id_counts[..., -1].max()))


def area_under_roc(
    id_counts: Float64[np.ndarray, "*r m"], ood_counts: Float64[np.ndarray, "*r m"]
) -> Float64[Result, "*r"]:
    """Pairs in order, ties a half, over all pairs; one rounding up to 4e15 pairs, as float64 holds integers."""
    # An OOD example at v has #{id < v} + #{id <= v} half pairs in order.
    halves = np.einsum("...m,...m->...", np.diff(ood_counts), id_counts[..., 1:] + id_counts[..., :-1])
    return halves / (2 * id_counts[..., -1] * ood_counts[..., -1])


def false_positive_rate(rates: Rates, tpr: float) -> Float64[Result, "*r"]:
    """False alarms at the first threshold that finds a share `tpr` of the positives."""
    needed = smallest_count(tpr, int(rates.found[..., -1].max()))
    first = (rates.found < needed).sum(axis=-1, keepdims=True)
    return np.take_along_axis(rates.alarms, first, axis=-1)[..., 0] / rates.negatives


def average_precision(rates: Rates, prevalence: float | None = None) -> Float64[Result, "*r"]:
    """Mean precision over the positives, each at its own threshold; None leaves the sets' own prevalence."""
    found, alarms, negatives = rates
    odds = None if prevalence is None else (1 - prevalence) / prevalence * found[..., -1:] / negatives
    total = np.zeros(found.shape[:-1])
    for start in range(1, found.shape[-1], _BLOCK):
        here = slice(start, start + _BLOCK)
        hits = found[..., here]
        both = hits + alarms[..., here] if odds is None else hits + odds * alarms[..., here]
        # Where nothing is found yet, the step is 0 and the precision may be anything but NaN.
        precision = np.divide(hits, np.maximum(both, 1, out=both), out=both)
        steps = hits - found[..., start - 1 : start - 1 + hits.shape[-1]]
        total = total + np.einsum("...m,...m->...", steps, precision)
    return total / found[..., -1]


def smallest_count(share: float, n: int) -> int:
    """The smallest integer k with k / n >= share, as floats compare: 7 of 100 are 0.07, though 0.07 * 100 > 7."""
    k = max(1, math.ceil(share * n) - 1)
    return k if k / n >= share else k + 1


def score_array(name: str, scores: Real[Host, " n"]) -> Float64[np.ndarray, " n"]:
    """Scores on the host in float64, which keeps the order of every narrower float exactly.

    Raises:
      TypeError: if they are not real numbers.
      ValueError: if there is none, one is NaN, or they have another rank. Infinity is a rank like any other.
    """
    checks.rank(name, scores, 1, "(examples,)")
    array = np.asarray(scores)
    if array.dtype.kind in "bcOSUMm":
        raise TypeError(f"{name} must be real numbers; got dtype {array.dtype}.")
    values = array.astype(np.float64)
    if len(values) == 0:
        raise ValueError(f"{name} must hold at least one score; got none. A detector needs ID and OOD data.")
    bad = np.isnan(values)
    if bad.any():
        raise ValueError(
            f"{name} must not be NaN; {int(bad.sum())} of {len(values)} are, the first at example {int(bad.argmax())}. "
            "Look for a diverged model or inf - inf in the score."
        )
    return values


def _sorted(pair: list[np.ndarray]) -> list[np.ndarray]:
    """Both arrays sorted; at the same time if they are large: np.sort lets go of the interpreter."""
    if min(map(len, pair)) < _BLOCK:
        return [np.sort(scores) for scores in pair]
    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(np.sort, pair))
