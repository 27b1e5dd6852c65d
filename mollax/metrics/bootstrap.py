"""Bootstrap intervals of metrics over the examples of one test set.

They speak of the test set's sampling noise alone: training seeds are a further spread, reported beside.
Resamples are drawn with replacement from a seeded generator, and the same (n, resamples, seed) always gives
the same resamples, so metrics of one set move together. A set of one example, or one with no error at all,
has an interval of width zero: the bootstrap cannot see what it has not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64, Integer, Real

from mollax import checks
from mollax.metrics.calibration import signed_gaps
from mollax.metrics.inputs import Host

_CHUNK = 2_000_000
"""Draws held in memory at once: 16 MB of indices."""


class Interval(NamedTuple):
    """The two ends of a confidence interval."""

    low: float
    high: float


def bootstrap_interval(
    values: Real[Host, " n"],
    *,
    statistic: Callable[[Any], float] | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    method: str = "percentile",
) -> Interval:
    """Interval of the mean of per-example values, or of any statistic of the examples.

    The mean (`statistic=None`) takes about a tenth of a second for 1000 resamples of 10,000 values. A
    statistic is called once for each resample with the resampled values. To resample whole rows, pass the
    indices as the values: `bootstrap_interval(np.arange(n), statistic=lambda i: metric(probs[i],
    labels[i]))`.

    Args:
      values: (n,) one value per example, such as `example_error(probs, labels)`.
      statistic: function of the resampled values; None is the mean.
      level: probability the interval should have of covering the truth, in (0, 1).
      resamples: how many; at least 1.
      seed: of the resampling.
      method: "percentile", quantiles q of the resampled values, or "basic", 2 estimate - q, which reverses
        the bias of a statistic that noise pushes one way, such as a calibration error.

    Raises:
      ValueError: on values that are empty, not finite, or whose statistic is not finite; on bad options.
    """
    checks.rank("values", values, 1, "(examples,)")
    array = _finite_values(np.asarray(values))
    if statistic is None:
        replicas = resampled_means(array.astype(np.float64)[:, None], resamples=resamples, seed=seed)[:, 0]
        return replica_interval(replicas, float(array.mean()), level=level, method=method)
    draws = [statistic(array[row]) for rows in _indices(len(array), resamples, seed) for row in rows]
    replicas = np.asarray(draws, np.float64)
    return replica_interval(replicas, float(statistic(array)), level=level, method=method)


def paired_interval(
    first: Real[Host, " n"],
    second: Real[Host, " n"],
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of mean(first - second) of two systems over the *same* examples in the same order.

    Much narrower than the difference of two separate intervals when the systems fail on the same images. An
    interval without 0 says that the difference is more than the noise of this test set.

    Raises:
      ValueError: on arrays of differing lengths or another rank, non-finite values, or a level outside (0, 1).
    """
    for name, values in (("first", first), ("second", second)):
        checks.rank(name, values, 1, "(examples,)")
    checks.same_length(("first", "second"), (first, second))
    difference = np.asarray(first).astype(np.float64) - np.asarray(second).astype(np.float64)
    return bootstrap_interval(difference, level=level, resamples=resamples, seed=seed)


def calibration_interval(
    probs: Float[Host, "n k"],
    labels: Integer[Host, " n"],
    *,
    bins: int = 15,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    method: str = "basic",
) -> Interval:
    """Interval of the expected calibration error; cut at 0, below which it cannot lie.

    A resample carries the sampling noise twice and ECE is a sum of absolute values, so its replicas lie above
    the estimate, which itself lies above the truth. Coverage of the true ECE at level 0.95 in 300 simulated
    sets of 1,000 examples, confidence uniform in [0.5, 0.9], accuracy higher by a constant, the true ECE:

      true ECE      0    0.01   0.02   0.05   0.1
      percentile   0 %    0 %   22 %   92 %   97 %
      basic       65 %   87 %   89 %   84 %   95 %

    So "basic" is the default; it still covers less than it says when n is small. It may end below the
    estimate of a nearly calibrated model: then the estimate is mostly bias.
    """
    gaps = signed_gaps(probs, labels, bins=bins)
    replicas = np.abs(resampled_means(gaps, resamples=resamples, seed=seed)).sum(axis=1)
    interval = replica_interval(replicas, float(np.abs(gaps.mean(axis=0)).sum()), level=level, method=method)
    return Interval(max(0.0, interval.low), max(0.0, interval.high))


def resampled_means(
    columns: Float64[np.ndarray, "n m"], *, resamples: int = 1000, seed: int = 0
) -> Float64[np.ndarray, "{resamples} m"]:
    """Column means of each resample; all columns see the same resamples.

    A resample is a row of multinomial counts w over the n examples, so all of them are one matrix product
    W columns / n, done in pieces. Whatever is a function of means (ECE, a ratio, an F score) follows from it.
    Raises ValueError if there is no example.
    """
    checks.rank("columns", columns, 2, "(examples, values)")
    n = checks.positive_int("the number of examples", len(columns))
    sums = []
    for rows in _indices(n, resamples, seed):
        flat = rows + n * np.arange(len(rows))[:, None]
        weights = np.bincount(flat.ravel(), minlength=rows.size).reshape(rows.shape)
        sums.append(weights.astype(np.float64) @ columns)
    return np.concatenate(sums) / n


def replica_interval(
    replicas: Float64[np.ndarray, " r"], estimate: float, *, level: float = 0.95, method: str = "percentile"
) -> Interval:
    """Interval from a metric's resampled values and its value on the set; see `bootstrap_interval`.

    Raises:
      ValueError: on a level outside (0, 1), an unknown method, or a value that is not finite.
    """
    checks.in_range("level", level, 0.0, 1.0, open_low=True, open_high=True)
    checks.one_of("method", method, ("percentile", "basic"))
    if not (np.isfinite(replicas).all() and np.isfinite(estimate)):
        raise ValueError(
            "the statistic must be finite on the set and on every resample; it is NaN or infinite on some. "
            "A resample may lack a class or a bin: choose a statistic that is defined without it."
        )
    low, high = np.quantile(replicas, [(1 - level) / 2, (1 + level) / 2])
    if method == "basic":
        low, high = 2 * estimate - high, 2 * estimate - low
    return Interval(float(low), float(high))


def _indices(n: int, resamples: int, seed: int) -> Iterator[Int64[np.ndarray, "rows n"]]:
    """The resamples as rows of example indices, in chunks of at most `_CHUNK` draws."""
    checks.positive_int("resamples", resamples)
    checks.positive_int("seed", seed, minimum=0)
    generator = np.random.default_rng(seed)
    rows = max(1, _CHUNK // n)
    for start in range(0, resamples, rows):
        yield generator.integers(0, n, (min(rows, resamples - start), n))


def _finite_values(values: Real[np.ndarray, " n"]) -> Real[np.ndarray, " n"]:
    """Raises ValueError unless there is at least one value and all are finite."""
    if len(values) == 0:
        raise ValueError("values must hold at least one example; got none.")
    if not np.isfinite(values).all():
        row = int((~np.isfinite(values)).argmax())
        raise ValueError(f"values must be finite; got {values[row]} at example {row}.")
    return values
