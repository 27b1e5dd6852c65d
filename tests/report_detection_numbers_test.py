"""Numbers of a detection read from results.json: means, order, and what is more than noise."""

import math

import numpy as np
import pytest
from report_detection_test import SETS, block

from mollax.report import detection_numbers as numbers


def test_scores_are_ordered_by_their_mean_over_near_and_far_sets():
    found = block()
    means = {
        score: np.mean([found["table"][score][name]["auroc"] for name in list(SETS)[:3]]) for score in found["table"]
    }
    assert numbers.ranked(found) == sorted(means, key=lambda score: -means[score])
    assert numbers.mean(found, "msp", "auroc") == pytest.approx(means["msp"])
    assert numbers.mean(found, "msp", "auroc", "near") == found["table"]["msp"]["digits 6-9"]["auroc"]
    assert math.isnan(numbers.mean(found, "msp", "auroc", "none"))
    found["table"]["tv"]["noise"]["auroc"] = None
    assert numbers.ranked(found)[-1] == "tv"
    only = block()
    only["sets"] = only["sets"][3:]
    assert numbers.counted_sets(only) == ["fog:3"]


def test_what_differs_from_the_first_is_told_by_an_interval_without_zero():
    found = block()
    cell = found["table"]["knn"]["noise"]
    for pair, key, sign in (
        ([0.01, 0.02], "auroc", 1),
        ([-0.02, -0.01], "auroc", -1),
        ([-0.02, 0.01], "auroc", 0),
        ([0.0, 0.01], "auroc", 0),
        ([None, 0.01], "auroc", 0),
        ([-0.02, -0.01], "fpr_at_tpr", 1),
        ([0.01, 0.02], "fpr_at_tpr", -1),
    ):
        cell["against_first"] = {key: pair}
        full = {"fpr_at_tpr": numbers.FPR}.get(key, key)
        assert numbers.against_first(found, "knn", "noise", full) == sign, (pair, key)
    assert numbers.against_first(found, "msp", "noise", numbers.AUROC) == 0


def test_labels_are_short_but_never_the_same():
    assert numbers.labels(["msp", "ash:variant=s,negative=clip", "tv", "tv:variant=extra"]) == {
        "msp": "msp",
        "ash:variant=s,negative=clip": "ash",
        "tv": "tv",
        "tv:variant=extra": "tv: variant=extra",
    }
