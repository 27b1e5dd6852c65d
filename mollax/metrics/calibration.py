"""How far confidence is from accuracy: calibration errors, reliability diagrams and temperature scaling.

Inputs are probabilities (n, k) with rows that sum to 1 (or logits for `fit_temperature`) and integer labels
(n,), over the *whole* set: averaging batches biases every calibration error upward. Confidence is the largest
probability of a row, the prediction the first class that has it. All in float64 on the host; a float32 input
keeps its own value, so float32(0.3) = 0.30000001 lies above the edge 0.3.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64, Integer

from mollax import checks
from mollax.metrics import inputs
from mollax.metrics.inputs import Host


@dataclasses.dataclass(frozen=True)
class Reliability:
    """A reliability diagram: bin b is (edges[b], edges[b + 1]]; the first bin also holds 0, the last holds 1.

    `confidence` and `accuracy` are means over the bin, NaN where `count` is 0.
    """

    edges: Float64[np.ndarray, " edges"]
    confidence: Float64[np.ndarray, " bins"]
    accuracy: Float64[np.ndarray, " bins"]
    count: Int64[np.ndarray, " bins"]


class TemperatureFit(NamedTuple):
    """The temperature of least NLL, that NLL in nats, and how the search ended (see `fit_temperature`)."""

    temperature: float
    nll: float
    outcome: Literal["interior", "lower bound", "upper bound", "flat"]


def signed_gaps(
    probs: Float[Host, "n k"], labels: Integer[Host, " n"], *, bins: int = 15
) -> Float64[np.ndarray, "n bins"]:
    """Row i holds 1[i is right] - confidence_i in the column of its bin and 0 elsewhere.

    The expected calibration error is sum_b |mean_i gap_ib|; resampled means of these columns give its
    bootstrap.

    Raises:
      ValueError, TypeError: on probabilities or labels that are not, or fewer than one bin.
    """
    confidence, right = _top_label(probs, labels)
    gaps = np.zeros((len(confidence), checks.positive_int("bins", bins)))
    gaps[np.arange(len(confidence)), _equal_width(confidence, bins)] = right - confidence
    return gaps


def expected_calibration_error(probs: Float[Host, "n k"], labels: Integer[Host, " n"], *, bins: int = 15) -> float:
    """ECE = sum_b (n_b / n) |accuracy_b - confidence_b| over `bins` bins of equal width, in [0, 1].

    Guo et al. 2017, eq 3: bins are (lo, hi], b / bins the edges, confidence exactly 1 in the last bin and 0
    in the first; empty bins add nothing. Sampling noise biases it upward: a perfectly calibrated model has up
    to 0.4 sqrt(bins / n) in expectation, 0.015 at n = 10,000.
    """
    return float(np.abs(signed_gaps(probs, labels, bins=bins).mean(axis=0)).sum())


def adaptive_calibration_error(probs: Float[Host, "n k"], labels: Integer[Host, " n"], *, bins: int = 15) -> float:
    """sum_b (n_b / n) |accuracy_b - confidence_b| of the top label over bins of equal mass, in [0, 1].

    Examples are sorted by confidence and cut after floor(j n / bins) of them, j = 1 .. bins - 1. A cut inside
    a run of equal confidences moves to the end of the run, and cuts that coincide merge: no bin is empty,
    there are at most min(bins, n) of them, and the value does not depend on the order of the examples.
    (AdaECE of Mukhoti et al. 2020 up to ties; Nixon et al. 2019 average the same over all classes and call
    that ACE.)

    Raises:
      ValueError, TypeError: on probabilities or labels that are not, or fewer than one bin.
    """
    confidence, right = _top_label(probs, labels)
    checks.positive_int("bins", bins)
    order = np.argsort(confidence, kind="stable")
    ranked = confidence[order]
    cuts = np.arange(1, bins) * len(ranked) // bins
    cuts = np.searchsorted(ranked, ranked[cuts[cuts > 0] - 1], side="right")
    starts = np.unique(np.concatenate([[0], cuts[cuts < len(ranked)]]))
    return float(np.abs(np.add.reduceat((right - confidence)[order], starts)).sum() / len(ranked))


def classwise_calibration_error(probs: Float[Host, "n k"], labels: Integer[Host, " n"], *, bins: int = 15) -> float:
    """Mean over classes j of sum_b (n_jb / n) |share of label j - mean p_j| over bins of p_j, in [0, 1].

    The classwise ECE of Kull et al. 2019: every column of the probabilities counts, not the largest alone.
    Bins as in `expected_calibration_error`.

    Raises:
      ValueError, TypeError: on probabilities or labels that are not, or fewer than one bin.
    """
    values = inputs.probabilities(probs)
    truth = inputs.class_labels(labels, values, "probs")
    n, k = values.shape
    cells = _equal_width(values, checks.positive_int("bins", bins)) * k + np.arange(k)[None, :]
    gaps = -values
    gaps[np.arange(n), truth] += 1
    sums = np.bincount(cells.ravel(), weights=gaps.ravel(), minlength=bins * k)
    return float(np.abs(sums).sum() / (n * k))


def reliability(probs: Float[Host, "n k"], labels: Integer[Host, " n"], *, bins: int = 15) -> Reliability:
    """Mean confidence, accuracy and count of each equal-width bin: the diagram behind the ECE.

    Raises:
      ValueError, TypeError: on probabilities or labels that are not, or fewer than one bin.
    """
    confidence, right = _top_label(probs, labels)
    where = _equal_width(confidence, checks.positive_int("bins", bins))
    count = np.bincount(where, minlength=bins).astype(np.int64)
    shares = np.full((2, bins), np.nan)
    for share, values in zip(shares, (confidence, right), strict=True):
        sums = np.bincount(where, weights=values, minlength=bins)
        np.divide(sums, count, out=share, where=count > 0)
    return Reliability(np.arange(bins + 1) / bins, shares[0], shares[1], count)


def fit_temperature(
    logits: Float[Host, "n k"], labels: Integer[Host, " n"], *, bounds: tuple[float, float] = (0.05, 20.0)
) -> TemperatureFit:
    """The T in `bounds` with the least NLL of softmax(logits / T), to be fitted on validation data.

    Guo et al. 2017, section 4.2. The NLL is convex in b = 1 / T, with slope E_p[f] - f_y and curvature
    Var_p[f], means over examples; a Newton step that leaves the bracket of the slope's root is replaced by
    the bracket's geometric mean. Dividing by T leaves every prediction as it is.

    The outcome is named, so that a tiny or perfect validation set is seen but stops nothing:
      "interior": the slope is zero at T.
      "lower bound": the NLL still falls there, as when every label has the largest logit (T -> 0 is optimal).
      "upper bound": the NLL still falls there, as when the logits are no better than chance (T -> infinity).
      "flat": each row's logits are all equal, every T is as good as any other, and T = 1 is returned.

    Raises:
      ValueError: on non-finite logits, labels out of range, mismatched lengths, or bounds that are not
        0 < low < 1 < high.
    """
    values = inputs.finite("logits", logits)
    truth = inputs.class_labels(labels, values, "logits")
    low = checks.in_range("bounds[0]", bounds[0], 0.0, 1.0, open_low=True, open_high=True)
    high = checks.in_range("bounds[1]", bounds[1], 1.0, open_low=True)
    shifted = values - values.max(axis=1, keepdims=True)
    own = np.take_along_axis(shifted, truth[:, None], axis=1)[:, 0]
    if not shifted.any():
        return TemperatureFit(1.0, float(np.log(shifted.shape[1])), "flat")
    inverse, outcome = _least_nll(shifted, own, 1 / high, 1 / low)
    nll = np.log(np.exp(inverse * shifted).sum(axis=1)) - inverse * own
    temperature = {"lower bound": low, "upper bound": high}.get(outcome, 1 / inverse)
    return TemperatureFit(float(temperature), float(nll.mean()), outcome)


def _least_nll(
    shifted: Float64[np.ndarray, "n k"], own: Float64[np.ndarray, " n"], low: float, high: float
) -> tuple[float, Literal["interior", "lower bound", "upper bound"]]:
    """The inverse temperature in [low, high] where the slope of the NLL is 0; the outcome is about T."""
    # The lower bound of T first: where the slope underflows to 0 on both sides, the data are separable, not
    # random.
    if _slope(shifted, own, high)[0] <= 0:
        return high, "lower bound"
    if _slope(shifted, own, low)[0] >= 0:
        return low, "upper bound"
    inverse = 1.0
    for _ in range(100):
        slope, curvature = _slope(shifted, own, inverse)
        low, high = (inverse, high) if slope <= 0 else (low, inverse)
        step = inverse - slope / curvature if curvature > 0 else high
        following = step if low < step < high else float(np.sqrt(low * high))
        if abs(following - inverse) <= 1e-10 * inverse:
            break
        inverse = following
    return inverse, "interior"


def _slope(shifted: Float64[np.ndarray, "n k"], own: Float64[np.ndarray, " n"], inverse: float) -> tuple[float, float]:
    """First and second derivative of the mean NLL in 1 / T; rows of `shifted` have maximum 0."""
    weights = np.exp(inverse * shifted)
    weights /= weights.sum(axis=1, keepdims=True)
    mean = (weights * shifted).sum(axis=1)
    second = (weights * np.square(shifted)).sum(axis=1)
    return float((mean - own).mean()), float((second - np.square(mean)).mean())


def _top_label(
    probs: Float[Host, "n k"], labels: Integer[Host, " n"]
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """The largest probability of each row, and 1 where its first class is the label, else 0."""
    values = inputs.probabilities(probs)
    truth = inputs.class_labels(labels, values, "probs")
    return values.max(axis=1), (values.argmax(axis=1) == truth).astype(np.float64)


def _equal_width(values: Float64[np.ndarray, "*shape"], bins: int) -> Int64[np.ndarray, "*shape"]:
    """Index of the bin (lo, hi] of each value; edges are b / bins, correctly rounded (3 / 10 == 0.3)."""
    where = np.searchsorted(np.arange(bins + 1) / bins, values, side="left") - 1
    # 0 belongs to the first bin; half precision may round a sure prediction a little above 1, which is the
    # last.
    return np.clip(where, 0, bins - 1)
