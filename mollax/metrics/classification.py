"""Error, negative log-likelihood, Brier score and confusion matrix of a whole set, on the host in float64.

Inputs are probabilities (n, k) with rows that sum to 1, log-probabilities, or logits where the argument says
so, and integer labels (n,). The prediction is the first largest class. Functions called `example_*` return
one value per
example: the score of the set is their mean, and `bootstrap_interval` takes them as they are. Every function
raises ValueError or TypeError on empty, non-finite, unnormalised or mismatched input.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64, Int64, Integer

from mollax import checks
from mollax.metrics import inputs
from mollax.metrics.inputs import Host


def log_softmax64(logits: Float[Host, "n k"]) -> Float64[np.ndarray, "n k"]:
    """Log-probabilities f_j - log sum_i exp(f_i) in nats, in float64, safe for every float32 logit.

    Raises ValueError if a logit is NaN or infinite.
    """
    values = inputs.finite("logits", logits)
    shifted = values - values.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def drop_extra_class(logits: Float[Host, "n _"], *, classes: int) -> Float64[np.ndarray, "n _"]:
    """Log-probabilities over the first `classes` columns, given not the extra "noise" class.

    p(j | j < K) = softmax(logits[:, :K])_j: the mass of the extra column is shared out in proportion, so
    error, NLL, Brier and calibration error keep their meaning (METHODS section 1). The argmax is that over
    the first K logits.

    Args:
      logits: (n, K + 1) with the extra class last, or (n, K), which is only normalised.
      classes: K, the number of real classes.

    Raises:
      ValueError: if the logits have neither K nor K + 1 columns.
    """
    checks.positive_int("classes", classes)
    checks.rank("logits", logits, 2, "(examples, classes)")
    if logits.shape[1] not in (classes, classes + 1):
        raise ValueError(
            f"logits must have {classes} columns, {classes + 1} with a noise class; got {logits.shape[1]}. "
            "Pass the number of real classes the model was trained on."
        )
    return log_softmax64(logits[:, :classes])


def example_error(probs: Float[Host, "n k"], labels: Integer[Host, " n"]) -> Float64[np.ndarray, " n"]:
    """1 where the first largest class is not the label, else 0."""
    values, truth = _checked(probs, labels)
    return (values.argmax(axis=1) != truth).astype(np.float64)


def error(probs: Float[Host, "n k"], labels: Integer[Host, " n"]) -> float:
    """Share of examples whose first largest class is not the label, in [0, 1]."""
    return float(example_error(probs, labels).mean())


def top_k_error(probs: Float[Host, "n k"], labels: Integer[Host, " n"], *, top: int = 5) -> float:
    """Share of examples whose label is not among the `top` largest classes; ties rank by index, as in argmax.

    Raises ValueError if `top` exceeds the number of classes.
    """
    values, truth = _checked(probs, labels)
    checks.positive_int("top", top)
    if top > values.shape[1]:
        raise ValueError(f"top must be at most the number of classes, {values.shape[1]}; got {top}.")
    own = np.take_along_axis(values, truth[:, None], axis=1)
    earlier = np.arange(values.shape[1])[None, :] < truth[:, None]
    position = ((values > own) | ((values == own) & earlier)).sum(axis=1)
    return float((position >= top).mean())


def example_negative_log_likelihood(
    log_probs: Float[Host, "n k"], labels: Integer[Host, " n"]
) -> Float64[np.ndarray, " n"]:
    """-log p(label) in nats for each example; infinite where the label has probability 0."""
    values = inputs.log_probabilities(log_probs)
    truth = inputs.class_labels(labels, values, "log_probs")
    # Adding zero turns -0.0, the negative of a log-probability of exactly 0, into 0.0.
    return -np.take_along_axis(values, truth[:, None], axis=1)[:, 0] + 0.0


def negative_log_likelihood(log_probs: Float[Host, "n k"], labels: Integer[Host, " n"]) -> float:
    """Mean of -log p(label) in nats, in [0, inf]; infinite if one label has probability 0.

    Takes log-probabilities because a float32 softmax underflows to 0 where its logarithm is still exact.
    """
    return float(example_negative_log_likelihood(log_probs, labels).mean())


def example_brier(probs: Float[Host, "n k"], labels: Integer[Host, " n"]) -> Float64[np.ndarray, " n"]:
    """sum_j (p_j - 1[j = label])^2 for each example, in [0, 2]."""
    values, truth = _checked(probs, labels)
    own = np.take_along_axis(values, truth[:, None], axis=1)[:, 0]
    return np.square(values).sum(axis=1) - np.square(own) + np.square(1 - own)


def brier(probs: Float[Host, "n k"], labels: Integer[Host, " n"]) -> float:
    """Brier score, mean over examples of the *sum* over classes of (p_j - 1[j = label])^2, in [0, 2].

    Brier's original form (1950). For two classes it is twice the one-column form; some codebases divide by k.
    """
    return float(example_brier(probs, labels).mean())


def per_class_error(probs: Float[Host, "n k"], labels: Integer[Host, " n"]) -> Float64[np.ndarray, " k"]:
    """Share of wrong predictions among the examples of each true class; NaN for a class with no example.

    NaN rather than 0 or 1, because the share is undefined there; `summarize` writes it as None.
    """
    counts = confusion_matrix(probs, labels)
    total = counts.sum(axis=1)
    shares = np.full(len(total), np.nan)
    present = total > 0
    shares[present] = 1 - np.diag(counts)[present] / total[present]
    return shares


def confusion_matrix(probs: Float[Host, "n k"], labels: Integer[Host, " n"]) -> Int64[np.ndarray, "k k"]:
    """Counts of (true class, predicted class): rows are the truth, columns the prediction; the sum is n."""
    values, truth = _checked(probs, labels)
    classes = values.shape[1]
    pairs = truth * classes + values.argmax(axis=1)
    return np.bincount(pairs, minlength=classes * classes).astype(np.int64).reshape(classes, classes)


def _checked(
    probs: Float[Host, "n k"], labels: Integer[Host, " n"]
) -> tuple[Float64[np.ndarray, "n k"], Int64[np.ndarray, " n"]]:
    """Probabilities in float64 and labels in int64."""
    values = inputs.probabilities(probs)
    return values, inputs.class_labels(labels, values, "probs")
