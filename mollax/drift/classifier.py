"""Classifier two-sample test (Lopez-Paz & Oquab 2017): can held and new be told apart on points not learned from?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats
from jaxtyping import Bool, Float, Float64

from mollax import checks
from mollax.drift.points import Host
from mollax.drift.samples import host_points, is_constant


class ClassifierTest(NamedTuple):
    """Accuracy on points that were not learned from, and its test.

    Attributes:
      accuracy: .5 if held and new cannot be told apart.
      p_value: probability of as many right answers by guessing.
      low, high: exact (Clopper-Pearson) interval of the accuracy.
      trained, tested: points of both sides together, half of them new.
    """

    accuracy: float
    p_value: float
    low: float
    high: float
    trained: int
    tested: int


def classifier_test(
    held: Float[Host, "h d"],
    new: Float[Host, "m d"],
    *,
    ridge: float = 1.0,
    confidence: float = 0.95,
    seed: int = 0,
    limit: int = 5000,
) -> ClassifierTest:
    """Logistic regression learns held against new from half of the points and is tested on the other half.

    Sides have equally many points: the larger is subsampled. Features are standardized by the half learned from. The
    classifier minimizes sum of log-losses + ridge/2 |w|^2, bias free. The points are taken as independent.

    Args:
      held, new: points as rows.
      ridge: weight of the penalty, > 0.
      confidence: of the interval, in (0, 1).
      seed: of choice and halves.
      limit: points taken from each side at most.

    Raises:
      TypeError: for points that are not floats.
      ValueError: for fewer than four points on a side, different widths, values that are not finite, points that are
        all equal, or options out of range.
    """
    first = host_points("held", held, minimum=4)
    second = host_points("new", new, width=first.shape[1], minimum=4)
    checks.in_range("ridge", ridge, 0.0, open_low=True)
    checks.in_range("confidence", confidence, 0.0, 1.0, open_low=True, open_high=True)
    checks.positive_int("limit", limit, minimum=4)
    checks.positive_int("seed", seed, minimum=0)
    if is_constant(np.concatenate([first, second])):
        raise ValueError(f"All {len(first) + len(second)} pooled points are equal: there is nothing to compare.")
    generator = np.random.default_rng((seed, 0))
    size = min(len(first), len(second), limit)
    half = size // 2
    sides = [side[generator.permutation(len(side))[:size]] for side in (first, second)]
    train = np.concatenate([side[:half] for side in sides])
    test = np.concatenate([side[half:] for side in sides])
    is_new = np.arange(len(train)) >= half
    center, spread = train.mean(axis=0), train.std(axis=0)
    # Dimensions that are constant where it learns stay 0: nothing was learned about them.
    spread = np.where(spread > 0, spread, np.inf)
    weights, bias = fit_logistic((train - center) / spread, is_new, ridge)
    guesses = (test - center) / spread @ weights + bias > 0
    right = int((guesses == (np.arange(len(test)) >= size - half)).sum())
    found = scipy.stats.binomtest(right, len(test), 0.5, alternative="greater")
    ends = scipy.stats.binomtest(right, len(test)).proportion_ci(confidence)
    return ClassifierTest(
        accuracy=right / len(test),
        p_value=float(found.pvalue),
        low=float(ends.low),
        high=float(ends.high),
        trained=len(train),
        tested=len(test),
    )


def fit_logistic(
    features: Float64[np.ndarray, "n d"], is_new: Bool[np.ndarray, " n"], ridge: float
) -> tuple[Float64[np.ndarray, " d"], float]:
    """(weights, bias) that minimize sum_i log(1 + exp(-s_i (w x_i + b))) + ridge/2 |w|^2, s_i = +1 for new."""
    signs = np.where(is_new, 1.0, -1.0)

    def loss(parameters: Float64[np.ndarray, " p"]) -> tuple[float, Float64[np.ndarray, " p"]]:
        weights, bias = parameters[:-1], parameters[-1]
        margins = signs * (features @ weights + bias)
        slopes = -signs * scipy.special.expit(-margins)
        gradient = np.append(features.T @ slopes + ridge * weights, slopes.sum())
        return float(np.logaddexp(0.0, -margins).sum() + ridge / 2 * weights @ weights), gradient

    start = np.zeros(features.shape[1] + 1)
    options = {"maxiter": 500, "ftol": 1e-12, "gtol": 1e-6}
    found = scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    return found.x[:-1], float(found.x[-1])
