"""What an audit computes from points: densities of many at a time, the theta curve, and other tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from mollax.auditing.kernels import Family, all_devices
from mollax.auditing.material import Show
from mollax.auditing.reference import Part
from mollax.data.options import evenly_spaced
from mollax.drift.classifier import classifier_test
from mollax.drift.density import log_density
from mollax.drift.kernels import Kernel
from mollax.drift.kolmogorov_smirnov import kolmogorov_smirnov
from mollax.drift.mmd import mmd
from mollax.drift.theta import class_log_densities, crossed_share

CHUNK = 2048  # points whose densities are computed between two steps of the bar
CURVE_POINTS = 500  # of each side, on the theta curve
FACTORS = 2.0 ** (0.75 * np.arange(-2, 7))  # of the strength, on the curve
CLASS_BANK = 10_000  # images of the bank that classes are compared on
MOST_CLASSES = 100
BASELINE_POINTS = 2000

Rows = Float32[np.ndarray, "_ d"]


def densities(
    points: Rows, bank: Rows, kernel: Kernel, *, show: Show | None = None, what: str = "densities"
) -> Float64[np.ndarray, " m"]:
    """log p of each point under the bank, in nats, by all devices of this host; `show` is called as they come."""
    found = []
    for start in range(0, len(points), CHUNK):
        part = points[start : start + CHUNK]
        count = len(part)
        if count < CHUNK < len(points):  # the shape of the others: one program for all
            part = np.pad(part, ((0, CHUNK - count), (0, 0)), mode="edge")
        found.append(np.asarray(log_density(part, bank, kernel, devices=all_devices()))[:count])
        if show:
            show(what, start + count, len(points))
    return np.concatenate(found).astype(np.float64)


def nearest(points: Rows, bank: Rows) -> Int[np.ndarray, " m"]:
    """The row of the bank that is nearest to each point, by differences in float64; for few points."""
    best, place = np.full(len(points), np.inf), np.zeros(len(points), np.int64)
    for start in range(0, len(bank), CHUNK):
        block = bank[start : start + CHUNK].astype(np.float64)
        for i, point in enumerate(points.astype(np.float64)):
            squares = np.square(block - point).sum(1)
            j = int(squares.argmin())
            if squares[j] < best[i]:
                best[i], place[i] = squares[j], start + j
    return place


def histogram(held: Float[np.ndarray, " h"], new: Float[np.ndarray, " m"], *, bins: int = 40) -> dict[str, list[float]]:
    """Shares of both between the 0.5 % and 99.5 % quantiles of either; the outermost bins hold what lies beyond."""
    low = min(np.quantile(side, 0.005, method="higher") for side in (held, new))
    high = max(np.quantile(side, 0.995, method="lower") for side in (held, new))
    edges = np.linspace(low, high if high > low else low + 1.0, bins + 1)
    shares = [np.histogram(np.clip(side, edges[0], edges[-1]), edges)[0] / len(side) for side in (held, new)]
    return {"edges": edges.tolist(), "held": shares[0].tolist(), "new": shares[1].tolist()}


def theta_curve(
    found: Family,
    strength: float,
    bank: tuple[Part, Rows],
    held: tuple[Part, Rows],
    new_points: Rows,
    *,
    offset: float = 0.0,
    show: Show | None = None,
) -> dict[str, Any]:
    """Cross-entropies of held-out and new images at strengths around the chosen one, and how many change class.

    Args:
      found: the kernels.
      strength: of the audit.
      bank, held: for their labels, and the points as the kernels take them.
      new_points: likewise.
      offset: what is added to log-densities, where points were scaled.
    """
    bank_points, held_points = bank[1], held[1]
    held_rows, new_rows = (evenly_spaced(len(points), CURVE_POINTS) for points in (held_points, new_points))
    points = np.concatenate([held_points[held_rows], new_points[new_rows]])
    thetas = [float(t) for t in strength * FACTORS if found.low < t < found.high or t == strength]
    curve: dict[str, Any] = {"name": found.strength, "theta": thetas, "held": [], "new": [], "confused": None}
    curve["points"] = f"{len(held_rows):,} held-out and {len(new_rows):,} new images"
    confused = _class_scorer(bank[0], bank_points, held[0], held_points[held_rows], held_rows)
    shares = []
    for i, theta in enumerate(thetas):
        kernel = found.make(theta)
        logs = np.asarray(log_density(points, bank_points, kernel, devices=all_devices())).astype(np.float64) + offset
        curve["held"].append(-float(logs[: len(held_rows)].mean()))
        curve["new"].append(-float(logs[len(held_rows) :].mean()))
        if confused is not None:
            shares.append(confused(kernel))
        if show:
            show("theta curve", i + 1, len(thetas))
    return curve | {"confused": shares or None}


def _class_scorer(
    bank: Part,
    bank_points: Rows,
    held: Part,
    points: Rows,
    rows: Int[np.ndarray, " m"],
) -> Callable[[Kernel], float] | None:
    """kernel -> share of held-out images that are denser in another class; None without labels on both sides."""
    if bank.labels is None or held.labels is None:
        return None
    chosen = evenly_spaced(len(bank_points), CLASS_BANK)
    labels, own = bank.labels[chosen], held.labels[rows]
    present = np.unique(labels)
    inside = np.isin(own, present)
    if not 1 < len(present) <= MOST_CLASSES or not inside.any():
        return None
    numbers, wanted = np.searchsorted(present, labels), np.searchsorted(present, own[inside])
    part, queries = bank_points[chosen], points[inside]

    def share(kernel: Kernel) -> float:
        logs = class_log_densities(queries, part, numbers.astype(np.int32), kernel, len(present))
        return crossed_share(logs, wanted)

    return share


def baselines(held: Rows, new: Rows, *, seed: int, permutations: int) -> dict[str, dict[str, Any]]:
    """MMD, Kolmogorov-Smirnov in every dimension, and a classifier's test, of at most `BASELINE_POINTS` a side."""
    first, second = (side[evenly_spaced(len(side), BASELINE_POINTS)] for side in (held, new))
    points = f"{len(first):,} and {len(second):,} images"
    by_mean = mmd(first, second, seed=seed, permutations=permutations, limit=BASELINE_POINTS)
    by_dimension = kolmogorov_smirnov(first, second)
    by_classifier = classifier_test(first, second, seed=seed)
    return {
        "MMD": {
            "value": by_mean.value,
            "p_value": by_mean.p_value,
            "note": f"squared distance of the means of a Gaussian kernel; {points}",
        },
        "Kolmogorov-Smirnov": {
            "value": float(by_dimension.statistics.max()),
            "p_value": by_dimension.p_value,
            "note": f"largest distance of distribution functions in any of {by_dimension.tested:,} dimensions, p by "
            f"Bonferroni; {points}",
        },
        "classifier": {
            "value": by_classifier.accuracy,
            "p_value": by_classifier.p_value,
            "note": f"accuracy in telling both kinds apart, on {by_classifier.tested:,} images not learned from; 0.5 "
            "is guessing",
        },
    }


def standardized(
    sides: Sequence[Rows], shape: tuple[int, int, int], mean: Float[np.ndarray, " c"], std: Float[np.ndarray, " c"]
) -> tuple[list[Rows], float]:
    """Pixels less the mean over the deviation of their channel, and what log-densities gain to be those of pixels."""
    height, width, _ = shape
    means, stds = (np.tile(one, height * width).astype(np.float32) for one in (mean, std))
    return [(points - means) / stds for points in sides], -height * width * float(np.sum([math.log(s) for s in std]))
