"""Selective classification: how the risk falls when the least certain examples are declined.

A score is high for what should be declined (uncertain, OOD). Losses are one number an example, such as
`example_error` or `example_negative_log_likelihood`. Examples with equal scores are accepted in random order; all
numbers here are the exact expectations over that order.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Real

from mollax import checks
from mollax.metrics.inputs import Host
from mollax.metrics.ranking import score_array, smallest_count


def risk_curve(scores: Real[Host, " n"], losses: Real[Host, " n"]) -> Float64[np.ndarray, " n"]:
    """Mean loss of the k accepted examples of lowest score, k = 1..n; the coverage of entry k-1 is k / n.

    Raises:
      ValueError: on no examples, differing lengths, another rank, NaN, or an infinite loss.
    """
    ranked, values = score_array("scores", scores), score_array("losses", losses)
    checks.same_length(("scores", "losses"), (ranked, values))
    if np.isinf(values).any():
        row = int(np.isinf(values).argmax())
        raise ValueError(f"losses must be finite; got {values[row]} at example {row}. Every risk would be infinite.")
    _, tied = np.unique(ranked, return_inverse=True)
    # In a random order, each of some tied examples costs their mean.
    means = np.bincount(tied, weights=values) / np.bincount(tied)
    return _running_means(means[np.sort(tied)])


def risk_at_coverage(scores: Real[Host, " n"], losses: Real[Host, " n"], *, coverage: float) -> float:
    """Mean loss when the fewest examples are accepted whose share is at least `coverage`.

    Raises:
      ValueError: on bad arrays (see `risk_curve`) or `coverage` outside (0, 1].
    """
    checks.in_range("coverage", coverage, 0.0, 1.0, open_low=True)
    risks = risk_curve(scores, losses)
    return float(risks[smallest_count(coverage, len(risks)) - 1])


def aurc(scores: Real[Host, " n"], losses: Real[Host, " n"]) -> float:
    """AURC = mean over k = 1..n of the risk of the k accepted (Geifman et al. 2019); the overall risk if blind.

    Raises:
      ValueError: on bad arrays; see `risk_curve`.
    """
    return float(risk_curve(scores, losses).mean())


def excess_aurc(scores: Real[Host, " n"], losses: Real[Host, " n"]) -> float:
    """E-AURC: AURC less that of a score that ranks by the loss itself; 0 is best possible at this accuracy.

    Raises:
      ValueError: on bad arrays; see `risk_curve`.
    """
    best = _running_means(np.sort(score_array("losses", losses)))
    return float((risk_curve(scores, losses) - best).mean())


def _running_means(values: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Mean of the first 1, 2, ..., n."""
    return np.cumsum(values) / np.arange(1, len(values) + 1)
