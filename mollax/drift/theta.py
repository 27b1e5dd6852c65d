"""The strength theta of a kernel: likelihood curves, its choice, and how often it blurs classes (METHODS section 4).

A family is a function theta -> kernel, such as `Gaussian` itself. Points are scored by leave-one-out on the bank, or
by plain density where validation points are given, which should reflect deployment and lie outside of the bank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Float64, Int

from mollax import checks
from mollax.drift.density import log_density
from mollax.drift.kernels import Kernel, positive
from mollax.drift.leave_one_out import check_spread, leave_one_out
from mollax.drift.points import Host, check_points

Family = Callable[[Any], Kernel]
GRID = 13
GOLDEN = (math.sqrt(5) - 1) / 2
SAMPLE = 2000


class Choice(NamedTuple):
    """The chosen theta and how it was found.

    Attributes:
      theta: of the largest mean log-density.
      log_density: that mean, in nats.
      thetas, curve: every theta that was tried, in rising order (in the given order for given candidates), and its mean
        log-density.
    """

    theta: Any
    log_density: float
    thetas: tuple[Any, ...]
    curve: Float64[np.ndarray, " k"]


def theta_curve(
    family: Family,
    thetas: Sequence[Any],
    bank: Float[Host, "n d"],
    *,
    points: Float[Host, "m d"] | None = None,
    groups: Int[Host, " n"] | None = None,
    sample: int | None = SAMPLE,
    seed: int = 0,
    devices: Sequence[jax.Device] | None = None,
) -> Float64[np.ndarray, " k"]:
    """Mean log-density, in nats, at each theta: of `points`, or of the bank's own points by leave-one-out.

    Less a constant, it is minus the cross-entropy of held-out points. Its negative for held-out and for new points,
    side by side, is the curve of drift against the strength of the augmentation.

    Args:
      family: theta -> kernel.
      thetas: what to try.
      bank: of the densities.
      points: validation points; leave-one-out without them.
      groups: of the bank's points, for leave-one-out; see `leave_one_out`.
      sample: points to average over, drawn without replacement and the same for every theta; None takes all. The whole
        bank explains each of them.
      seed: of the sample.
      devices: over which the bank is split, see `log_density`.

    Raises:
      ValueError: for no theta, bad options, or as `log_density` and `leave_one_out` do.
    """
    if not len(thetas):
        raise ValueError("thetas must name at least one theta; got none.")
    score = _scorer(family, bank, points, groups, sample, seed, devices)
    return np.array([score(theta) for theta in thetas])


def choose_theta(
    family: Family,
    bank: Float[Host, "n d"],
    *,
    points: Float[Host, "m d"] | None = None,
    thetas: Sequence[Any] | None = None,
    low: float | None = None,
    high: float | None = None,
    tolerance: float = 0.01,
    groups: Int[Host, " n"] | None = None,
    sample: int | None = SAMPLE,
    seed: int = 0,
    devices: Sequence[jax.Device] | None = None,
) -> Choice:
    """The theta of the largest mean log-density of validation points, or of the bank's own by leave-one-out.

    With one positive number as theta: a grid of 13, even in log theta from `low` to `high`, and a golden-section search
    between the neighbors of the best. With `thetas`, the best of them.

    Args:
      thetas: candidates, of any kind that the family takes.
      low, high: search range; by default 1/1000 and 2 times the standard deviation of the bank's values, for a theta
        that is a sigma; of the points' about the bank where the bank is one point, or copies of one.
      tolerance: relative width at which the search ends.
      family, bank, points, groups, sample, seed, devices: as for `theta_curve`.

    Raises:
      ValueError: for a bank of one point or of copies of one (with `points`, only if they are that point as well), bad
        options, or a likelihood that is largest at an end of the search range: at the low end copies in bank or points
        are the usual cause.
    """
    check_points("bank", bank)
    if points is None:
        check_spread("bank", bank)
    else:
        check_points("points", points, width=bank.shape[1])
    score = _scorer(family, bank, points, groups, sample, seed, devices)
    if thetas is not None:
        if low is not None or high is not None:
            raise ValueError("Give either thetas, or low and high.")
        if not len(thetas):
            raise ValueError("thetas must name at least one theta; got none.")
        curve = np.array([score(theta) for theta in thetas])
        best = int(np.argmax(curve))
        return Choice(thetas[best], float(curve[best]), tuple(thetas), curve)
    spread = _spread(bank, bank, seed) or _spread(bank if points is None else points, bank, seed)
    if not spread and None in (low, high):
        raise ValueError(
            "All points and the whole bank are one point, which says nothing of a range: give low and high."
        )
    low, high = 1e-3 * spread if low is None else low, 2 * spread if high is None else high
    positive("low", low)
    checks.in_range("high", high, low, open_low=True)
    checks.in_range("tolerance", tolerance, 0.0, 1.0, open_low=True)
    tried = _search(lambda log_theta: score(math.exp(log_theta)), math.log(low), math.log(high), tolerance)
    order = sorted(tried)
    curve = np.array([tried[place] for place in order])
    best = int(np.argmax(curve))
    if best in (0, len(order) - 1):
        advice = (
            "Copies among the points make ever narrower kernels better: remove them, or give a lower `low`."
            if best == 0
            else "Give a larger `high`."
        )
        raise ValueError(
            f"The likelihood is largest at the end theta = {math.exp(order[best]):.3g} of the range. {advice}"
        )
    found = tuple(math.exp(place) for place in order)
    return Choice(found[best], float(curve[best]), found, curve)


def class_log_densities(
    points: Float[Host, "m d"],
    bank: Float[Host, "n d"],
    bank_labels: Int[Host, " n"],
    kernel: Kernel,
    classes: int,
) -> Float64[np.ndarray, "m k"]:
    """log p_theta(x | class) = log 1/N_k sum over the class's bank points, in nats.

    Raises:
      ValueError: for labels that are not one a bank point and in 0 .. classes - 1, a class without a bank point, or as
        `log_density` does.
    """
    checks.positive_int("classes", classes)
    checks.same_length(("bank", "bank_labels"), (bank, bank_labels))
    labels = np.asarray(bank_labels)
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"bank_labels must lie in 0 to {classes - 1}; got {labels.min()} to {labels.max()}.")
    columns = []
    for label in range(classes):
        rows = np.flatnonzero(labels == label)
        if not len(rows):
            raise ValueError(f"The bank has no point of class {label}: its density is unknown.")
        columns.append(np.asarray(log_density(points, bank[rows], kernel)).astype(np.float64))
    return np.stack(columns, axis=1)


def crossed_share(log_densities: Float[np.ndarray, "m k"], labels: Int[Host, " m"]) -> float:
    """Share of points whose densest class is not their own: a theta at which it rises blurs classes.

    Args:
      log_densities: from `class_log_densities`.
      labels: of the points.

    Raises:
      ValueError: if there are not as many labels as points, or none.
    """
    if not checks.same_length(("log_densities", "labels"), (log_densities, labels)):
        raise ValueError("The share needs at least one point; got none.")
    return float(np.mean(np.argmax(log_densities, axis=1) != np.asarray(labels)))


def _scorer(
    family: Family,
    bank: Float[Host, "n d"],
    points: Float[Host, "m d"] | None,
    groups: Int[Host, " n"] | None,
    sample: int | None,
    seed: int,
    devices: Sequence[jax.Device] | None,
) -> Callable[[Any], float]:
    """theta -> mean log-density of the sampled points."""
    scored = bank if points is None else points
    checks.rank("bank" if points is None else "points", scored, 2, "(points, values of each)")
    if sample is not None:
        checks.positive_int("sample", sample)
    if points is not None and groups is not None:
        raise ValueError("groups are for leave-one-out; with points of their own the bank is used whole.")
    rows = np.arange(len(scored))
    if sample is not None and sample < len(scored):
        rows = np.sort(np.random.default_rng(seed).choice(len(scored), sample, replace=False))

    def score(theta: Any) -> float:
        if points is None:
            logs = leave_one_out(bank, family(theta), groups=groups, rows=rows, devices=devices)
        else:
            logs = log_density(points[rows], bank, family(theta), devices=devices)
        return float(np.mean(np.asarray(logs).astype(np.float64)))

    return score


def _spread(points: Float[Host, "m d"], bank: Float[Host, "n d"], seed: int) -> float:
    """Standard deviation of the points' values about the bank's means, of at most 2000 points of both."""
    first = np.asarray(bank[0]).astype(np.float64)

    def some(array: Float[Host, "n d"]) -> Float64[np.ndarray, "k d"]:
        rows = np.random.default_rng(seed).permutation(len(array))[:SAMPLE]
        return np.asarray(array[np.sort(rows)]).astype(np.float64) - first  # so that copies have exactly none

    return float(np.sqrt(np.square(some(points) - some(bank).mean(axis=0)).mean()))


def _search(score: Callable[[float], float], low: float, high: float, tolerance: float) -> dict[float, float]:
    """Everything that a grid and then a golden-section search for the largest score tried."""
    grid = np.linspace(low, high, GRID).tolist()
    tried = {place: score(place) for place in grid}
    best = max(range(GRID), key=lambda i: tried[grid[i]])
    if best in (0, GRID - 1):
        return tried
    left, right = grid[best - 1], grid[best + 1]
    inner, outer = right - GOLDEN * (right - left), left + GOLDEN * (right - left)
    tried |= {place: score(place) for place in (inner, outer)}
    while right - left > tolerance:
        if tried[inner] >= tried[outer]:
            right, outer = outer, inner
            inner = right - GOLDEN * (right - left)
            tried.setdefault(inner, score(inner))
        else:
            left, inner = inner, outer
            outer = left + GOLDEN * (right - left)
            tried.setdefault(outer, score(outer))
    return tried
