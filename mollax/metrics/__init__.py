"""Metrics of classification, calibration and OOD detection, exact over a whole set, on the host in NumPy float64.

Conventions: probabilities and logits are (n, k) with classes last, rows of probabilities sum to 1, labels are
integers (n,) in 0..k-1. NumPy and JAX arrays of any float type are taken and upcast. Likelihoods are in nats,
errors and calibration errors in [0, 1], the Brier score is the sum over classes, in [0, 2]. Calibration bins
are (lo, hi]. Detection scores are (n,), high for OOD, and `positive="id" | "ood"` says what counts as a positive
(see `mollax.metrics.detection`). Bad input raises; what is undefined for a part of the set (an absent class, an
empty bin) is NaN, and None in `summarize`.
"""

from mollax.metrics.bootstrap import (
    Interval,
    bootstrap_interval,
    calibration_interval,
    paired_interval,
    replica_interval,
    resampled_means,
)
from mollax.metrics.calibration import (
    Reliability,
    TemperatureFit,
    adaptive_calibration_error,
    classwise_calibration_error,
    expected_calibration_error,
    fit_temperature,
    reliability,
    signed_gaps,
)
from mollax.metrics.classification import (
    brier,
    confusion_matrix,
    drop_extra_class,
    error,
    example_brier,
    example_error,
    example_negative_log_likelihood,
    log_softmax64,
    negative_log_likelihood,
    per_class_error,
    top_k_error,
)
from mollax.metrics.conformal import conformal_p_values, false_discovery_flags
from mollax.metrics.detection import (
    DetectionCurve,
    accept_threshold,
    aupr,
    auroc,
    detection_curve,
    detection_summary,
    fpr_at_tpr,
    prevalence_adjusted_aupr,
)
from mollax.metrics.detection_bootstrap import detection_intervals, detection_replicas, paired_detection_intervals
from mollax.metrics.selective import aurc, excess_aurc, risk_at_coverage, risk_curve
from mollax.metrics.summary import summarize

__all__ = [
    "DetectionCurve",
    "Interval",
    "Reliability",
    "TemperatureFit",
    "accept_threshold",
    "adaptive_calibration_error",
    "aupr",
    "aurc",
    "auroc",
    "bootstrap_interval",
    "brier",
    "calibration_interval",
    "classwise_calibration_error",
    "conformal_p_values",
    "confusion_matrix",
    "detection_curve",
    "detection_intervals",
    "detection_replicas",
    "detection_summary",
    "drop_extra_class",
    "error",
    "example_brier",
    "example_error",
    "example_negative_log_likelihood",
    "excess_aurc",
    "expected_calibration_error",
    "false_discovery_flags",
    "fit_temperature",
    "fpr_at_tpr",
    "log_softmax64",
    "negative_log_likelihood",
    "paired_detection_intervals",
    "paired_interval",
    "per_class_error",
    "prevalence_adjusted_aupr",
    "reliability",
    "replica_interval",
    "resampled_means",
    "risk_at_coverage",
    "risk_curve",
    "signed_gaps",
    "summarize",
    "top_k_error",
]
