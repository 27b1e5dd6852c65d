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
from jaxtyping import Bool, Float, Float64, Int, Integer, Real

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

    found: Real[np.ndarray, "*r m"]
    alarms: Real[np.ndarray, "*r m"]
    negatives: int


class Ranking:
    """ID and OOD scores in one ascending order, from which counts follow.

    Two ways lead to them, for speed alone: where most scores differ, the position of an example tells how many lie
    below, and the few ties are mended; where most are tied, all is counted at the distinct scores.
    """

    def __init__(self, id_scores: Float[np.ndarray, " n"], ood_scores: Float[np.ndarray, " m"]) -> None:
        """Takes both sets, each ascending, of one type."""
        self._id_scores, self._ood_scores = id_scores, ood_scores
        self._is_ood, self._after_a_step = _merge(id_scores, ood_scores)
        self._mostly_tied = np.count_nonzero(self._after_a_step) < _DISTINCT_SHARE * len(self._is_ood)
        self.id, self.ood = len(id_scores), len(ood_scores)

    @functools.cached_property
    def counts(self) -> Counts:
        """Counts at the distinct scores."""
        last = self._before_a_step  # of a run of equal scores
        ood = np.cumsum(self._is_ood)[last]
        both = np.flatnonzero(last) + 1
        values = np.empty(len(last), self._id_scores.dtype)
        values[~self._is_ood], values[self._is_ood] = self._id_scores, self._ood_scores
        return Counts(values[last], *(np.concatenate([[0.0], counts]) for counts in (both - ood, ood)))

    def auroc(self) -> float:
        """Area under the ROC curve."""
        if self._mostly_tied:
            return float(area_under_roc(self.counts.id, self.counts.ood))
        pairs = self.id * self.ood
        at_most, below = self._id_rates.alarms.sum(dtype=np.int64), self._ood_before_id.sum(dtype=np.int64)
        return (2 * pairs - int(at_most) - int(below)) / (2 * pairs)

    def rates(self, positive: str) -> Rates:
        """What the thresholds find; raises ValueError on an unknown `positive`."""
        checks.one_of("positive", positive, POSITIVES)
        if self._mostly_tied:
            return rates_of(self.counts.id, self.counts.ood, positive)
        return self._id_rates if positive == "id" else self._ood_rates

    def id_score(self, rank: int) -> float:
        """The ID score of a rank, 1 the lowest."""
        return float(self._id_scores[rank - 1])

    @functools.cached_property
    def _ood_before_id(self) -> Int[np.ndarray, " n"]:
        """How many OOD scores are smaller than each ID score."""
        return _others_before(~self._is_ood)

    @functools.cached_property
    def _id_rates(self) -> Rates:
        """The threshold of each ID score in turn, upwards: all that lies at or below it is taken for ID."""
        found = np.arange(self.id + 1, dtype=self._ood_before_id.dtype)
        alarms = np.concatenate([[0], self._ood_before_id], dtype=found.dtype)
        tied = np.flatnonzero(~np.compress(~self._is_ood, self._before_a_step))
        for counts, scores in ((found, self._id_scores), (alarms, self._ood_scores)):
            counts[1 + tied] = np.searchsorted(scores, self._id_scores[tied], side="right")
        return Rates(found, alarms, self.ood)

    @functools.cached_property
    def _ood_rates(self) -> Rates:
        """The threshold of each OOD score in turn, downwards: all that lies at or above it is taken for OOD."""
        before = _others_before(self._is_ood)
        found = np.arange(self.ood + 1, dtype=before.dtype)
        alarms = np.zeros_like(found)
        np.subtract(self.id, before[::-1], out=alarms[1:])
        tied = np.flatnonzero(~np.compress(self._is_ood, self._after_a_step))
        for counts, scores in ((found, self._ood_scores), (alarms, self._id_scores)):
            counts[self.ood - tied] = len(scores) - np.searchsorted(scores, self._ood_scores[tied])
        return Rates(found, alarms, self.id)

    @property
    def _before_a_step(self) -> Bool[np.ndarray, " n"]:
        """Which scores are smaller than the next."""
        return np.append(self._after_a_step[1:], True)


def rank_scores(id_scores: Real[Host, " n"], ood_scores: Real[Host, " m"]) -> Ranking:
    """Sorts both sets and merges them; raises ValueError on an empty set, NaN or another rank."""
    pair = [_real_scores("id_scores", id_scores), _real_scores("ood_scores", ood_scores)]
    with np.errstate(over="ignore"):
        narrow = [scores.astype(np.float32, copy=False) for scores in pair]
    exact = all(wide is slim or np.array_equal(wide, slim) for wide, slim in zip(pair, narrow, strict=True))
    # The same order in float32, half the bytes to sort.
    return Ranking(*_sorted(narrow if exact else [scores.astype(np.float64) for scores in pair]))


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
        hits = found[..., here].astype(np.float64)
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
      ValueError: if there is none, one is NaN or an integer that float64 does not hold, or they have another rank.
        Infinity is a rank like any other.
    """
    return _real_scores(name, scores).astype(np.float64)


def _real_scores(name: str, scores: Real[Host, " n"]) -> Float[np.ndarray, " n"]:
    """Scores on the host, checked; float32 as they are, all others in float64."""
    checks.rank(name, scores, 1, "(examples,)")
    array = np.asarray(scores)
    if array.dtype.kind in "bcOSUMm":
        raise TypeError(f"{name} must be real numbers; got dtype {array.dtype}.")
    values = array if array.dtype == np.float32 else array.astype(np.float64)
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        _check_exact(name, array, values)
    if len(values) == 0:
        raise ValueError(f"{name} must hold at least one score; got none. A detector needs ID and OOD data.")
    bad = np.isnan(values)
    if bad.any():
        raise ValueError(
            f"{name} must not be NaN; {int(bad.sum())} of {len(values)} are, the first at example {int(bad.argmax())}. "
            "Look for a diverged model or inf - inf in the score."
        )
    return values


def _check_exact(name: str, integers: Integer[np.ndarray, " n"], values: Float64[np.ndarray, " n"]) -> None:
    """Raises ValueError where float64 rounded 64-bit integers: scores that differ would tie."""
    # Exact in float64: both halves of 32 bits, and what the rounded value has beside the upper one.
    low = values - (integers >> 32).astype(np.float64) * 2.0**32
    rounded = low != (integers & 0xFFFFFFFF).astype(np.float64)
    if rounded.any():
        first = int(rounded.argmax())
        raise ValueError(
            f"{name} must be integers that float64 holds, as all up to 2^53 are; {int(rounded.sum())} of "
            f"{len(values)} are not, the first, {integers[first]}, at example {first}. Scores that differ would tie: "
            "give ranks instead, or subtract the same integer from all first."
        )


def _sorted(pair: list[np.ndarray]) -> list[np.ndarray]:
    """Both arrays sorted; at the same time if they are large: np.sort lets go of the interpreter."""
    if min(map(len, pair)) < _BLOCK:
        return [np.sort(scores) for scores in pair]
    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(np.sort, pair))


def _merge(
    id_scores: Float[np.ndarray, " n"], ood_scores: Float[np.ndarray, " m"]
) -> tuple[Bool[np.ndarray, " n+m"], Bool[np.ndarray, " n+m"]]:
    """Which of all scores in ascending order are OOD, ID first among equals, and which are larger than the one before.

    Runs of ID scores and the OOD scores up to the next run are merged one after the other, in a core's own cache.
    """
    is_ood, larger = np.empty((2, len(id_scores) + len(ood_scores)), np.bool_)
    starts = np.arange(0, len(id_scores), _BLOCK)
    id_ends = [*starts[1:], len(id_scores)]
    ood_ends = [*np.searchsorted(ood_scores, id_scores[starts[1:]]), len(ood_scores)]
    first_id = first_ood = 0
    last = np.nan  # differs from all
    for id_end, ood_end in zip(id_ends, ood_ends, strict=True):
        runs = np.concatenate([id_scores[first_id:id_end], ood_scores[first_ood:ood_end]])
        # A stable sort recognises the two sorted runs and merely merges them.
        order = np.argsort(runs, kind="stable")
        values = runs[order]
        here = slice(first_id + first_ood, id_end + ood_end)
        is_ood[here] = order >= id_end - first_id
        larger[here][0] = values[0] != last
        np.not_equal(values[1:], values[:-1], out=larger[here][1:])
        first_id, first_ood, last = id_end, ood_end, values[-1]
    return is_ood, larger


def _others_before(chosen: Bool[np.ndarray, " n"]) -> Int[np.ndarray, " k"]:
    """How many entries that are not chosen lie before each that is."""
    # Half the memory to fill, for all but billions of entries.
    counts = np.empty(np.count_nonzero(chosen), np.int32 if len(chosen) < 2**31 else np.int64)
    done = 0
    for start in range(0, len(chosen), _BLOCK):
        places = np.flatnonzero(chosen[start : start + _BLOCK])
        end = done + len(places)
        np.subtract(places, np.arange(done - start, end - start), out=counts[done:end], casting="same_kind")
        done = end
    return counts
