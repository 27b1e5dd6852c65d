"""The door of the metrics: upcast, checked, never repaired."""

import jax.numpy as jnp
import numpy as np
import pytest

from mollax.metrics import inputs

ROWS = np.array([[0.25, 0.75], [1.0, 0.0]])


@pytest.mark.parametrize("array", [ROWS.astype(np.float32), jnp.asarray(ROWS, jnp.bfloat16), ROWS])
def test_any_float_array_becomes_float64_unchanged(array):
    values = inputs.probabilities(array)
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, ROWS)


def test_log_of_zero_is_a_log_probability():
    with np.errstate(divide="ignore"):
        logs = np.log(ROWS)
    np.testing.assert_array_equal(inputs.log_probabilities(logs), logs)


@pytest.mark.parametrize(
    "check, rows, message",
    [
        (inputs.probabilities, [[0.5, 0.6]], r"must sum to 1 in every row; row 0 sums to 1\.1"),
        (inputs.probabilities, [[0.5, 0.5], [-0.5, 1.5]], r"must be in \[0, 1\]; row 1 spans \[-0\.5, 1\.5\]"),
        (inputs.finite, [[0.0, 1.0], [np.nan, 1.0]], r"must be finite; row 1 holds NaN or infinity \(1 of 2\)"),
        (inputs.log_probabilities, [[0.5, -1.0]], "must be at most 0 and not NaN; row 0"),
        (inputs.log_probabilities, [[-1.0, -1.0]], "must sum to 1"),
    ],
)
def test_rows_that_are_no_distribution_are_named(check, rows, message):
    arguments = (np.array(rows),) if check is not inputs.finite else ("logits", np.array(rows))
    with pytest.raises(ValueError, match=message):
        check(*arguments)


def test_empty_and_flat_arrays(unhooked):
    with pytest.raises(ValueError, match="at least one example and one class"):
        inputs.matrix("probs", np.zeros((0, 3)))
    with pytest.raises(ValueError, match=r"probs must have 2 axes \(examples, classes\)"):
        inputs.matrix("probs", np.zeros(3))


def test_labels(unhooked):
    np.testing.assert_array_equal(inputs.class_labels(np.array([1, 0], np.uint8), ROWS, "probs"), [1, 0])
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.1 for 2 classes; got 2 at row 1"):
        inputs.class_labels(np.array([0, 2]), ROWS, "probs")
    with pytest.raises(TypeError, match="not one-hot rows"):
        inputs.class_labels(np.array([0.0, 1.0]), ROWS, "probs")
    with pytest.raises(ValueError, match="probs has 2, labels has 1"):
        inputs.class_labels(np.array([0]), ROWS, "probs")
