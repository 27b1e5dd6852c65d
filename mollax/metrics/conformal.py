"""Detection with a guarantee: conformal p-values of test scores, and a bound on false discoveries in a batch.

A score is high for OOD. The guarantees need test ID examples exchangeable with the validation examples, and nothing
else: no model of the scores, no OOD data.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64, Real

from mollax import checks
from mollax.metrics.inputs import Host
from mollax.metrics.ranking import score_array

PROCEDURES = ("benjamini_hochberg", "benjamini_yekutieli", "storey")
_LAMBDA = 0.5
"""P-values above it tell Storey's procedure how many images are ID."""


def conformal_p_values(validation_scores: Real[Host, " n"], scores: Real[Host, " m"]) -> Float64[np.ndarray, " m"]:
    """p = (1 + #{validation scores >= s}) / (n + 1) of each score s: small for OOD, in [1 / (n + 1), 1].

    For an ID example P(p <= a) <= a at every a (Vovk et al. 2005), over the draw of both example and validation set.
    A tie counts against the example, so ties make p larger than need be, never too small. P-values of one batch share
    the validation set and depend on each other, positively (Bates et al. 2023, Theorem 2).

    To flag a single image of a batch of m at level q, some p must reach q / m: take n >= m / q validation images.

    Args:
      validation_scores: of ID images that neither trained nor tuned the network, nor fitted the score.
      scores: of the images in question.

    Raises:
      ValueError: on no scores, NaN or another rank.
    """
    validation = np.sort(score_array("validation_scores", validation_scores))
    at_least = len(validation) - np.searchsorted(validation, score_array("scores", scores), side="left")
    return (1.0 + at_least) / (len(validation) + 1.0)


def false_discovery_flags(
    p_values: Real[Host, " m"], *, level: float = 0.05, procedure: str = "benjamini_hochberg"
) -> Bool[np.ndarray, " m"]:
    """Flags as OOD the k smallest p-values, k the largest with p_(k) <= c k / m; equal p-values share their fate.

    The expected share of ID images among the flagged (0 where none is) is then at most `level`:

      "benjamini_hochberg"   c = level. In fact at most level x (share of ID in the batch). For independent p-values
                             and for those of `conformal_p_values`.
      "benjamini_yekutieli"  c = level / (1 + 1/2 + ... + 1/m). Under any dependence.
      "storey"               c = level / pi, pi = min(1, 2 (1 + #{p > 1/2}) / m) estimates the share of ID in the
                             batch, and p_(k) <= 1/2 too: p-values that pi is made of are never flagged (Storey, Taylor
                             & Siegmund 2004, Theorem 3 with lambda = 1/2): more power where much is OOD.

    Raises:
      ValueError: on no p-values, one outside [0, 1], another rank, `level` outside (0, 1), an unknown `procedure`.
    """
    checks.in_range("level", level, 0.0, 1.0, open_low=True, open_high=True)
    checks.one_of("procedure", procedure, PROCEDURES)
    values = score_array("p_values", p_values)
    if values.min() < 0 or values.max() > 1:
        raise ValueError(
            f"p_values must be in [0, 1]; they span [{values.min():g}, {values.max():g}]. "
            "Turn scores into p-values with conformal_p_values."
        )
    m, highest = len(values), 1.0
    if procedure == "benjamini_yekutieli":
        level /= (1 / np.arange(1, m + 1)).sum()
    elif procedure == "storey":
        level /= min(1.0, 2 * (1 + (values > _LAMBDA).sum()) / m)
        highest = _LAMBDA
    ordered = np.sort(values)
    # Conformal p-values are fractions and often meet the line exactly: rounding must not decide.
    line = np.minimum(level * np.arange(1, m + 1) / m * (1 + 1e-12), highest)
    below = np.flatnonzero(ordered <= line)
    if len(below) == 0:
        return np.zeros(m, bool)
    return values <= ordered[below[-1]]
