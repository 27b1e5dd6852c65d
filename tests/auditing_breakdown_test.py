"""Breakdowns of drift against formulas and hand-made shifts."""

import numpy as np
import pytest
import scipy.stats

from mollax.auditing.breakdown import MAX_FOLDERS, by_class, by_folder, holm, label_shift, less_class_means, welch


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_welch_by_formula(rng):
    new, held = rng.normal(1, 2, 40), rng.normal(0, 1, 90)
    row = welch(new, held)
    a, b = new.var(ddof=1) / 40, held.var(ddof=1) / 90
    freedom = (a + b) ** 2 / (a**2 / 39 + b**2 / 89)
    value, reach = new.mean() - held.mean(), scipy.stats.t.ppf(0.975, freedom) * np.sqrt(a + b)
    assert row["value"] == pytest.approx(value)
    assert (row["low"], row["high"]) == pytest.approx((value - reach, value + reach))
    assert row["p_value"] == pytest.approx(2 * scipy.stats.t.sf(abs(value) / np.sqrt(a + b), freedom))
    assert welch(new[:2], held)["p_value"] is None
    assert welch(np.ones(5), np.ones(5))["low"] is None


def test_the_shifted_folder_is_first(rng):
    held = rng.normal(size=500)
    new = rng.normal(size=300)
    folders = ["a/x"] * 100 + ["b"] * 100 + [""] * 100
    new[100:200] += 2
    rows = by_folder(new, folders, held, flags=new > 1.6)
    assert next(row["name"] for row in rows) == "b"
    assert {row["name"] for row in rows} == {"a/x", "b", "(top folder)"}
    assert rows[0]["p_value"] < 1e-6
    assert rows[0]["flagged"] > 0.5
    assert rows[0]["images"] == 100
    assert rows[1]["p_value"] > 0.01
    assert by_folder(new, ["same"] * 300, held, flags=new > 1) == []


def test_many_folders_are_cut_to_their_first_level(rng):
    folders = [f"{i % 3}/{i}" for i in range(200)]
    values, flags = rng.normal(size=200), np.zeros(200, bool)
    rows = by_folder(values, folders, values[:50], flags=flags)
    assert sorted(row["name"] for row in rows) == ["0", "1", "2"]
    assert MAX_FOLDERS < 200
    assert by_folder(values, [str(i) for i in range(200)], values[:50], flags=flags) == []


def test_pure_label_shift_has_nothing_within(rng):
    means = np.array([0.0, 5.0])
    held_labels = np.repeat([0, 1], [900, 100]).astype(np.int32)
    new_labels = np.repeat([0, 1], [500, 500]).astype(np.int32)
    held, new = (means[labels] + rng.normal(size=1000) for labels in (held_labels, new_labels))
    block = by_class(new, new_labels, held, held_labels, ("cat", "dog"), resamples=200)
    assert block["total"] == pytest.approx(new.mean() - held.mean())
    shift, within = block["label_shift"], block["within"]
    assert shift["value"] + within["value"] == pytest.approx(block["total"])
    assert shift["value"] == pytest.approx(0.4 * (held[900:].mean() - held[:900].mean()))
    assert shift["low"] < shift["value"] < shift["high"]
    assert abs(shift["value"] - 2) < 0.2
    assert within["low"] < within["value"] < within["high"]
    assert abs(within["value"]) < 0.2
    assert block["shares_p_value"] < 1e-6
    assert {row["name"]: round(row["new_share"], 2) for row in block["rows"]} == {"cat": 0.5, "dog": 0.5}
    assert label_shift(held, held_labels, held, held_labels, 2) == pytest.approx(0)


def test_a_class_that_was_not_held_out_leaves_the_total_alone(rng):
    labels = np.repeat([0, 1], 20).astype(np.int32)
    block = by_class(rng.normal(size=40), labels, rng.normal(size=20), labels[:20], ("a", "b"), resamples=3)
    assert block["missing"] == ["b"]
    assert block["label_shift"] is None
    with pytest.raises(ValueError, match="Labels must be below 1"):
        by_class(rng.normal(size=40), labels, rng.normal(size=20), labels[:20], ("a",), resamples=3)


def test_class_means_are_taken_out():
    held, labels = np.array([1.0, 3.0, 10.0, 14.0]), np.array([0, 0, 1, 1])
    new, rest = less_class_means(np.array([5.0, 11.0]), held, np.array([0, 1]), labels)
    np.testing.assert_allclose(new, [3.0, -1.0])
    np.testing.assert_allclose(rest, [-1, 1, -2, 2])
    with pytest.raises(ValueError, match="No held-out image is of class 2"):
        less_class_means(np.ones(1), held, np.array([2]), labels)
