"""Means and deviations over seeds, against numbers worked out by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from comparison_results import results

from mollax import corrupt
from mollax.report import comparison_rows, comparison_text
from mollax.report.comparison import common_corruptions, deviation, lookup, spread_words, uncommon_corruptions, value


def test_mean_and_deviation_over_seeds():
    (row,) = comparison_rows({"FCR": [results(0.1), results(0.2), results(0.6)]})
    assert (row["label"], row["seeds"]) == ("FCR", 3)
    sd = np.std([0.1, 0.2, 0.6], ddof=1)
    assert row["clean"]["error"] == pytest.approx({"mean": 0.3, "sd": sd})
    assert row["clean"]["nll"] == pytest.approx({"mean": 0.6, "sd": 2 * sd})
    assert row["stress"]["contrast:0.3"]["error"]["mean"] == pytest.approx(0.9)
    # Over severities 0.03 is added, over corruptions 0 to 14 thousandths.
    assert row["corrupted"]["error"] == pytest.approx({"mean": 0.3 + 0.03 + 0.007, "sd": sd})
    assert row["groups"]["noise"]["names"] == list(corrupt.GROUPS["noise"])
    assert row["groups"]["noise"]["ece"]["mean"] == pytest.approx((0.3 + 0.03 + 0.001) / 2)
    assert row["corruptions"]["jpeg_compression"]["error"]["mean"] == pytest.approx(0.3 + 0.03 + 0.014)
    curve = row["curves"]["mean"]["error"]
    np.testing.assert_allclose(curve["mean"], [0.3, *(0.307 + s / 100 for s in range(1, 6))])
    np.testing.assert_allclose(curve["sd"], sd)
    assert set(row["curves"]) == {"mean", *corrupt.GROUPS, *corrupt.NAMES}
    json.dumps(row, allow_nan=False)


def test_the_mean_is_that_of_the_evaluator():
    found = results(0.2)
    (row,) = comparison_rows({"run": [found]})
    assert row["corrupted"]["nll"]["mean"] == pytest.approx(found["corruptions"]["mean"]["nll"])
    for group, means in found["corruptions"]["groups"].items():
        assert row["groups"][group]["error"]["mean"] == pytest.approx(means["error"])


def test_one_seed_has_no_deviation():
    (row,) = comparison_rows({"run": [results(0.25)]})
    assert row["clean"]["error"] == {"mean": 0.25, "sd": None}
    assert spread_words(row["clean"], "error") == "25.0"
    assert value(row, "error", "clean") == 25.0
    assert math.isnan(deviation(row, "error", "clean"))


def test_runs_without_corruptions_have_clean_and_stress_only():
    rows = comparison_rows({"a": [results(0.1, corruptions=False)], "b": [results(0.2)]})
    assert "corrupted" not in rows[0]
    assert "corrupted" in rows[1]
    assert math.isnan(value(rows[0], "error", "groups", "noise"))
    assert lookup(rows[0], ("groups", "noise")) is None
    assert spread_words(lookup(rows[0], ("corrupted",)), "error") == "–"
    lines = comparison_text(rows).splitlines()
    assert lines[0].split("  ")[0] == "run"
    assert lines[2].split() == ["a", "1", "10.0", "0.20", "5.0", "–", "–", "–"]
    assert "corrupted" not in comparison_text(rows[:1])


def test_a_value_that_a_seed_lacks_is_left_out():
    lacking = results(0.1, corruptions=False)
    lacking["evaluations"]["clean"]["nll"] = None
    (row,) = comparison_rows({"run": [lacking, results(0.2)]})
    assert row["clean"]["nll"] == {"mean": 0.4, "sd": None}
    assert row["corrupted"]["error"]["mean"] == pytest.approx(0.2 + 0.037)  # of the one seed that has it


def test_means_are_over_common_corruptions():
    groups = {"a": [results(0.1)], "b": [results(0.1, ("fog", "snow", "shot_noise", "saturate"))]}
    assert common_corruptions(groups) == {"noise": ["shot_noise"], "weather": ["snow", "fog"]}
    assert uncommon_corruptions(groups) == sorted(set(corrupt.NAMES) - {"fog", "snow", "shot_noise"})
    first, second = comparison_rows(groups)
    assert first["corrupted"] == second["corrupted"]
    assert list(first["corruptions"]) == ["shot_noise", "snow", "fog"]
    disjoint = comparison_rows({"a": [results(0.1, ("fog",))], "b": [results(0.1, ("snow",))]})
    assert not any("corrupted" in row for row in disjoint)


def test_stresses_are_those_of_every_run():
    lacking = results(0.1)
    del lacking["evaluations"]["contrast:0.3"]
    assert comparison_rows({"a": [results(0.1)], "b": [lacking]})[0]["stress"] == {}


@pytest.mark.parametrize("groups, words", [({}, "labels with the results"), ({"a": []}, r"got none for \['a'\]")])
def test_nothing_to_compare_is_an_error(groups, words):
    with pytest.raises(ValueError, match=words):
        comparison_rows(groups)
    with pytest.raises(ValueError, match="at least one evaluation"):
        comparison_rows({"a": [{}]})
