"""Metrics of classification and calibration, exact over a whole set, on the host in NumPy float64.

Conventions: probabilities and logits are (n, k) with classes last, rows of probabilities sum to 1, labels are
integers (n,) in 0..k-1. NumPy and JAX arrays of any float type are taken and upcast. Likelihoods are in nats,
errors and calibration errors in [0, 1], the Brier score is the sum over classes, in [0, 2]. Calibration bins
are (lo, hi]. Bad input raises; what is undefined for a part of the set (an absent class, an empty bin) is
NaN, and None in `summarize`.
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
from mollax.metrics.summary import summarize

__all__ = [
    "Interval",
    "Reliability",
    "TemperatureFit",
    "adaptive_calibration_error",
    "bootstrap_interval",
    "brier",
    "calibration_interval",
    "classwise_calibration_error",
    "confusion_matrix",
    "drop_extra_class",
    "error",
    "example_brier",
    "example_error",
    "example_negative_log_likelihood",
    "expected_calibration_error",
    "fit_temperature",
    "log_softmax64",
    "negative_log_likelihood",
    "paired_interval",
    "per_class_error",
    "reliability",
    "replica_interval",
    "resampled_means",
    "signed_gaps",
    "summarize",
    "top_k_error",
]
