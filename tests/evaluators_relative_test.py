"""Relative corruption errors: ratios, and baselines that fit."""

import json

import pytest

from mollax import corrupt
from mollax.evaluators import read_baseline, relative_corruption_error
from mollax.evaluators.relative import ALEXNET_ON_IMAGENET_C

HERE = {"names": ("fog",), "data": "digits", "classes": 10, "published": False, "source": "seed 0"}


def run(folder, **changes):
    block = {"source": "seed 0", "corruptions": {"fog": {"error": 0.4}, "snow": {"error": 0.0}}, **changes}
    content = {"name": "plain", "data": {"name": "digits"}, "corruptions": block}
    (folder / "results.json").write_text(json.dumps(content))
    return str(folder)


def test_the_mean_is_of_ratios_of_test_corruptions():
    ratios = relative_corruption_error(
        {"fog": 0.3, "snow": 0.2, "saturate": 0.9}, {"fog": 0.6, "snow": 0.1, "saturate": 0.1}
    )
    assert ratios == pytest.approx({"fog": 0.5, "snow": 2.0, "saturate": 9.0, "mean": 1.25})
    assert "mean" not in relative_corruption_error({"saturate": 0.9}, {"saturate": 0.1})


def test_alexnet_relative_to_itself_is_the_mce_of_100_percent():
    found = read_baseline("alexnet", **{**HERE, "names": corrupt.NAMES, "classes": 1000, "published": True})
    assert relative_corruption_error(ALEXNET_ON_IMAGENET_C, found.errors)["mean"] == 1.0
    for wrong in ({"classes": 10}, {"published": False}):
        with pytest.raises(ValueError, match=r"eval\.baseline alexnet needs its 1,000 classes"):
            read_baseline("alexnet", **{**HERE, "classes": 1000, "published": True, **wrong})


def test_a_run_is_read_from_its_folder_or_file(tmp_path):
    folder = run(tmp_path)
    for text in (folder, f"{folder}/results.json"):
        found = read_baseline(text, **HERE)
        assert (found.name, found.errors["fog"]) == ("plain", 0.4)


def test_runs_that_do_not_fit_are_refused(tmp_path):
    folder = run(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"eval\.baseline: there is no .*nowhere"):
        read_baseline(str(tmp_path / "nowhere"), **HERE)
    for changes, message in (
        ({"names": ("fog", "frost")}, "has no errors for frost"),
        ({"names": ("snow",)}, "makes no error under snow"),
        ({"source": "seed 1"}, "There: digits, seed 0; here: digits, seed 1"),
        ({"data": "mnist"}, "There: digits, seed 0; here: mnist, seed 0"),
    ):
        with pytest.raises(ValueError, match=message):
            read_baseline(folder, **{**HERE, **changes})
    (tmp_path / "results.json").write_text(json.dumps({"name": "plain"}))
    with pytest.raises(ValueError, match=r"run without eval\.corruptions"):
        read_baseline(folder, **HERE)
