"""What every score refuses to be fitted on, by message."""

import numpy as np
import pytest

from mollax.ood.head import Head
from mollax.ood.scores.inputs import check_fit


def good():
    rng = np.random.default_rng(0)
    return {
        "features": rng.normal(size=(6, 4)).astype(np.float32),
        "logits": rng.normal(size=(6, 3)).astype(np.float32),
        "labels": np.array([0, 1, 2, 0, 1, 2], np.int32),
        "head": Head(np.zeros((4, 3), np.float32), np.zeros(3, np.float32)),
    }


def test_what_belongs_together_passes():
    check_fit(**good())
    check_fit(**{**good(), "head": None})


@pytest.mark.parametrize(
    "change, message",
    [
        ({"features": np.zeros((5, 4), np.float32)}, "features has 5, logits has 6"),
        ({"features": np.zeros((6, 4, 1), np.float32)}, "features must have 2 axes"),
        ({"labels": np.array([0, 1, 2, 0, 1, 3], np.int32)}, r"labels must be in 0 \.\. 2.*got 0 \.\. 3"),
        ({"labels": np.array([0, 1, 2, 0, 1, -1], np.int32)}, r"got -1 \.\. 2"),
        ({"head": Head(np.zeros((5, 3), np.float32), np.zeros(3, np.float32))}, "maps 5 features to 3 logits"),
        ({"features": np.full((6, 4), np.nan, np.float32)}, "features of 6 examples are not finite"),
        ({"logits": np.full((6, 3), np.inf, np.float32)}, "logits of 6 examples are not finite, the first is number 0"),
    ],
)
def test_bad_input(unhooked, change, message):
    with pytest.raises(ValueError, match=message):
        check_fit(**{**good(), **change})


def test_nothing_at_all(unhooked):
    with pytest.raises(ValueError, match="needs examples to be fitted on; got none"):
        check_fit(np.zeros((0, 4)), np.zeros((0, 3)), np.zeros(0, np.int32), None)
