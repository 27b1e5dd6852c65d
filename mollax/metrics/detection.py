"""Out-of-distribution detection: AUROC, FPR at 95 % TPR, AUPR, thresholds, curves; exact, ties included.

A score is high for OOD, always. What is counted as a positive is said by `positive`:

  "id"   an ID example is accepted where its score <= t. TPR is the share of ID accepted, FPR the share of OOD
         accepted with it: FPR95 of the paper tables (ODIN, KNN, ASH, ViM; "FNR at 5 % FPR" in WOODS).
  "ood"  an OOD example is detected where its score >= t. TPR is the share of OOD detected, FPR the share of ID
         flagged with it (Outlier Exposure, OpenOOD, pytorch-ood).

AUROC is the same in both; FPR and AUPR are not. Scores are ranked as they are, in float64 and without a sigmoid:
any monotone map that saturates makes ties, and AUROC drifts to 1/2. Equal scores are one threshold. Infinite
scores rank as the largest and smallest; NaN raises.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Real

from mollax import checks
from mollax.metrics.inputs import Host
from mollax.metrics.ranking import (
    POSITIVES,
    average_precision,
    false_positive_rate,
    rank_scores,
    rates_of,
    score_array,
    smallest_count,
)


class DetectionCurve(NamedTuple):
    """Points of the ROC curve (fpr, tpr) and of the precision-recall curve (tpr, precision), tpr rising.

    The first point, where nothing is positive, has an infinite threshold and the second one's precision: the area
    under the *steps* of the full curve is the AUPR.
    """

    thresholds: Float64[np.ndarray, " p"]
    fpr: Float64[np.ndarray, " p"]
    tpr: Float64[np.ndarray, " p"]
    precision: Float64[np.ndarray, " p"]


def auroc(id_scores: Real[Host, " n"], ood_scores: Real[Host, " m"], *, positive: str = "id") -> float:
    """P(S_ood > S_id) + P(S_ood = S_id) / 2, in [0, 1]; the same for both choices of `positive`.

    Raises:
      ValueError: on an empty set, NaN, another rank, or an unknown `positive`.
    """
    checks.one_of("positive", positive, POSITIVES)
    return rank_scores(id_scores, ood_scores).auroc()


def fpr_at_tpr(
    id_scores: Real[Host, " n"], ood_scores: Real[Host, " m"], *, tpr: float = 0.95, positive: str = "id"
) -> float:
    """FPR at the first threshold whose TPR is at least `tpr`; no interpolation.

    positive="id": the share of OOD accepted when at least 95 % of ID is. positive="ood": the share of ID flagged when
    at least 95 % of OOD is.

    Raises:
      ValueError: on an empty set, NaN, another rank, `tpr` outside (0, 1], or an unknown `positive`.
    """
    checks.in_range("tpr", tpr, 0.0, 1.0, open_low=True)
    return float(false_positive_rate(rank_scores(id_scores, ood_scores).rates(positive), tpr))


def aupr(id_scores: Real[Host, " n"], ood_scores: Real[Host, " m"], *, positive: str = "id") -> float:
    """Average precision sum_i (R_i - R_(i-1)) P_i over the thresholds, steps and no trapezoids (as scikit-learn).

    It depends on the sizes of the two sets: a random score has about the share of positives. See
    `prevalence_adjusted_aupr`.

    Raises:
      ValueError: on an empty set, NaN, another rank, or an unknown `positive`.
    """
    return float(average_precision(rank_scores(id_scores, ood_scores).rates(positive)))


def prevalence_adjusted_aupr(
    id_scores: Real[Host, " n"], ood_scores: Real[Host, " m"], *, prevalence: float, positive: str = "id"
) -> float:
    """`aupr` with the precision pi TPR / (pi TPR + (1 - pi) FPR) of a stream whose share of *positives* is pi.

    It does not depend on how many examples of each kind happen to be in the test sets. At pi = n_pos / (n_pos + n_neg)
    it is `aupr`.

    Raises:
      ValueError: on an empty set, NaN, another rank, `prevalence` outside (0, 1), or an unknown `positive`.
    """
    checks.in_range("prevalence", prevalence, 0.0, 1.0, open_low=True, open_high=True)
    return float(average_precision(rank_scores(id_scores, ood_scores).rates(positive), prevalence))


def accept_threshold(id_scores: Real[Host, " n"], *, share: float = 0.95) -> float:
    """The smallest score t such that at least `share` of the scores are <= t: accept what has score <= t.

    Take ID *validation* scores; the share on new ID images is then `share` up to sampling. With one score only, or
    with `share` = 1, all are accepted.

    Raises:
      ValueError: on no score, NaN, another rank, or `share` outside (0, 1].
    """
    checks.in_range("share", share, 0.0, 1.0, open_low=True)
    scores = score_array("id_scores", id_scores)
    rank = smallest_count(share, len(scores)) - 1
    return float(np.partition(scores, rank)[rank])


def detection_summary(
    id_scores: Real[Host, " n"], ood_scores: Real[Host, " m"], *, tpr: float = 0.95, prevalence: float = 0.5
) -> dict[str, float | int]:
    """All of the above from one sort; a million scores take some hundredths of a second.

    Returns:
      "id_count", "ood_count", "auroc"; "fpr_at_tpr_id", "aupr_id", "adjusted_aupr_id" with ID positive and the same
      three ending in "_ood"; "accept_threshold": of *these* ID scores (for deployment take it on validation data).
      The adjusted AUPR has `prevalence` as the share of positives, whichever they are.

    Raises:
      ValueError: on an empty set, NaN, another rank, `tpr` outside (0, 1] or `prevalence` outside (0, 1).
    """
    checks.in_range("tpr", tpr, 0.0, 1.0, open_low=True)
    checks.in_range("prevalence", prevalence, 0.0, 1.0, open_low=True, open_high=True)
    ranking = rank_scores(id_scores, ood_scores)
    summary: dict[str, float | int] = {"id_count": ranking.id, "ood_count": ranking.ood, "auroc": ranking.auroc()}
    for positive in POSITIVES:
        rates = ranking.rates(positive)
        summary[f"fpr_at_tpr_{positive}"] = float(false_positive_rate(rates, tpr))
        summary[f"aupr_{positive}"] = float(average_precision(rates))
        summary[f"adjusted_aupr_{positive}"] = float(average_precision(rates, prevalence))
    summary["accept_threshold"] = ranking.id_score(smallest_count(tpr, ranking.id))
    return summary


def detection_curve(
    id_scores: Real[Host, " n"], ood_scores: Real[Host, " m"], *, positive: str = "id", points: int = 200
) -> DetectionCurve:
    """ROC and precision-recall curve on the same thresholds, thinned to at most `points` of their exact points.

    Half of them lie evenly along the ROC curve, half evenly in the logarithm of the number of examples found, where
    precision moves. No point is interpolated.

    Raises:
      ValueError: on an empty set, NaN, another rank, fewer than 4 `points`, or an unknown `positive`.
    """
    checks.positive_int("points", points, minimum=4)
    counts = rank_scores(id_scores, ood_scores).counts
    found, alarms, _ = rates_of(counts.id, counts.ood, positive)
    tpr, fpr = found / found[-1], alarms / alarms[-1]
    half = (points - 1) // 2
    shrink = 1 - 1e-12  # rounding must not step over the last point
    along = np.searchsorted(tpr + fpr, np.linspace(0, 2, half + 1)[1:] * shrink)
    early = np.searchsorted(found + alarms, np.geomspace(1, found[-1] + alarms[-1], half) * shrink)
    kept = np.unique(np.concatenate([along, early]))
    precision = found[kept] / (found[kept] + alarms[kept])
    values = counts.values if positive == "id" else counts.values[::-1]
    return DetectionCurve(
        np.concatenate([[-np.inf if positive == "id" else np.inf], values[kept - 1].astype(np.float64)]),
        np.concatenate([[0.0], fpr[kept]]),
        np.concatenate([[0.0], tpr[kept]]),
        np.concatenate([precision[:1], precision]),
    )
