"""Which evaluators a config asks for, and a whole run with an augmenter: trained, resumed, reported."""

import json

import numpy as np
import pytest
import tiny

from mollax import evaluation, experiment
from mollax.checkpoint import read_variables
from mollax.train import train_and_evaluate

ROTATIONS = {"eval__rotations__angles": (0, 90), "eval__rotations__images": 20, "eval__rotations__kl_degrees": 10.0}


def made(config):
    run = experiment.create(config, experiment.load_data(config))
    predictor = evaluation.create_evaluator(config, run).predictor
    return evaluation.create_further_evaluators(config, run, predictor)


def test_only_what_is_asked_for():
    assert made(tiny.config()) == {}
    assert set(made(tiny.flow_config())) == {"invariance"}
    assert set(made(tiny.config(**ROTATIONS))) == {"rotations"}
    assert set(made(tiny.config(eval__corruptions=("contrast",)))) == {"corruptions"}


def test_without_draws_nothing_is_averaged():
    asked = ROTATIONS | {"eval__transforms__aligned": 4}
    for draws, ways in ((0, {"as it is", "aligned"}), (2, {"as it is", "averaged", "aligned"})):
        found = made(tiny.flow_config(invariance__predict__draws=draws, **asked))["rotations"]
        assert set(found._predictors) == ways


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    config = tiny.flow_config(
        invariance__controller="pid",
        invariance__controller_options={"target": -0.5},
        eval__transforms__aligned=12,
        eval__rotations__kl_draws=2,
        **ROTATIONS,
    )
    return folder, config, train_and_evaluate(config, folder)


def test_results_and_report_have_the_new_blocks(run):
    folder, _, results = run
    assert results["invariance"]["augmenter"] == "flow"
    assert results["invariance"]["alignment"]["images"] == 12
    assert "pictures" not in results["invariance"]
    assert set(results["rotations"]["accuracy"]) == {"as it is", "averaged", "aligned"}
    assert json.loads((folder / "results.json").read_text())["rotations"] == results["rotations"]
    page = (folder / "report.html").read_text()
    assert "Learned invariance" in page
    assert "Rotated test images" in page
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert any("train/entropy" in row and "train/weight" in row for row in rows)


def test_a_stopped_run_goes_on_bit_for_bit(run, tmp_path, monkeypatch):
    """Both optimizers, the controller and the warm-up are in the checkpoint."""
    folder, config, _ = run
    tiny.stop_after_step_six(config, tmp_path, monkeypatch)
    tiny.train_only(config, tmp_path, monkeypatch)
    whole, parts = (tiny.last_state(where, config) for where in (folder, tmp_path))
    tiny.equal(whole, parts)
    assert int(whole.extra["invariance"]["step"]) == 8
    assert float(whole.extra["invariance"]["weight"]) != config.invariance.weight
    assert {"classifier", "augmenter"} == set(whole.params)


@pytest.mark.slow
def test_another_run_starts_from_its_classifier(run, tmp_path):
    folder = run[0]
    learned = read_variables(folder)["params"]["classifier"]
    changed = tiny.flow_config(init_from=str(folder), invariance__freeze_classifier=True, train__duration="2 steps")
    train_and_evaluate(changed, tmp_path)
    kept = read_variables(tmp_path)["params"]
    np.testing.assert_array_equal(kept["classifier"]["linear"]["kernel"], learned["linear"]["kernel"])
    other = tiny.flow_config(init_from=str(folder), model__options={"hidden": (8,)})
    with pytest.raises(ValueError, match="is another network: its parameters do not fit"):
        train_and_evaluate(other, tmp_path / "other")
    still = {"model__options": {"hidden": (16,)}, "optim__lr": 1e-12, "optim__weight_decay": 0.0}
    plain = tiny.config(init_from=str(folder), train__duration="2 steps", **still)
    train_and_evaluate(plain, tmp_path / "plain")
    np.testing.assert_array_equal(
        read_variables(tmp_path / "plain")["params"]["linear"]["kernel"], learned["linear"]["kernel"]
    )
    nowhere = tiny.flow_config(init_from=str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="There is no checkpoint in"):
        train_and_evaluate(nowhere, tmp_path / "third")
