"""The program end to end on a few digits: what it writes, how it resumes, how it stops."""

import json
import logging
import shutil

import jax
import numpy as np
import pytest
import tiny

from mollax import train
from mollax.checkpoint import Checkpointer, CheckpointMismatchError


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A workdir with a finished run of 8 steps, and its results."""
    workdir = tmp_path_factory.mktemp("finished")
    return workdir, train.train_and_evaluate(tiny.config(), workdir, command="python -m mollax.main ...")


def test_a_run_writes_everything(finished):
    workdir, results = finished
    for name in (
        "config.json",
        "metrics.jsonl",
        "results.json",
        "report.html",
        "train.log",
        "tensorboard",
        "checkpoints",
    ):
        assert (workdir / name).exists(), name
    on_file = json.loads((workdir / "results.json").read_text())
    assert on_file == json.loads(json.dumps(results))
    assert on_file["step"] == 8
    assert set(on_file["evaluations"]) == {"clean", "noise:0.3", "contrast:0.3"}
    assert on_file["evaluations"]["clean"]["n"] == 60
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "train/loss" in row] == [2, 4, 6, 8]
    assert [row["step"] for row in rows if "validation/error" in row] == [4, 8]
    assert Checkpointer(workdir / "checkpoints", config=tiny.config().to_dict()).steps == [4, 8]


def test_training_reduces_the_loss(finished, tmp_path, monkeypatch):
    tiny.without_page(monkeypatch)
    results = train.train_and_evaluate(
        tiny.config(train__duration="60 steps", mollify__enabled=False, log__every="10 steps", eval__every="0 steps"),
        tmp_path,
    )
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["train/loss"] < rows[0]["train/loss"]
    assert results["evaluations"]["clean"]["error"] < finished[1]["evaluations"]["clean"]["error"]


def test_evaluation_alone_reproduces_the_results(finished, caplog, monkeypatch):
    tiny.without_page(monkeypatch)
    workdir, results = finished
    with caplog.at_level(logging.INFO):
        again = train.evaluate(tiny.config(), workdir)
    assert "All numbers equal those of the results on file" in caplog.text
    assert again["evaluations"] == results["evaluations"]
    assert again["run"] == json.loads(json.dumps(results["run"]))


def test_the_config_on_file_is_that_of_the_results(finished, tmp_path, caplog, monkeypatch):
    tiny.without_page(monkeypatch)
    workdir = tmp_path / "copy"
    shutil.copytree(finished[0], workdir)
    with caplog.at_level(logging.INFO):
        found = train.evaluate(tiny.config(eval__bins=5), workdir)
    assert json.loads((workdir / "config.json").read_text())["eval"]["bins"] == 5
    assert json.loads((workdir / "results.json").read_text())["evaluations"] == found["evaluations"]
    assert "evaluations.clean.ece:" in caplog.text
    assert "numbers equal" not in caplog.text


def test_a_stopped_run_goes_on_bit_for_bit(finished, tmp_path, monkeypatch):
    tiny.without_page(monkeypatch)
    config = tiny.config()
    tiny.stop_after_step_six(config, tmp_path, monkeypatch)
    assert Checkpointer(tmp_path / "checkpoints", config=config.to_dict()).steps == [4, 6]
    train.train_and_evaluate(config, tmp_path)
    tiny.equal(tiny.last_state(finished[0], config), tiny.last_state(tmp_path, config))
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "train/loss" in row] == [2, 4, 6, 8]


def test_several_steps_in_a_dispatch_change_nothing_but_rounding(finished, tmp_path, monkeypatch):
    config = tiny.config(train__steps_per_dispatch=4, log__every="4 steps")
    tiny.train_only(config, tmp_path, monkeypatch)
    tiny.close(tiny.last_state(finished[0], tiny.config()), tiny.last_state(tmp_path, config), 1e-5)


def test_streamed_data_train_the_same_model(finished, tmp_path):
    config = tiny.config(data__memory="stream")
    train.train_and_evaluate(config, tmp_path)
    tiny.close(tiny.last_state(finished[0], tiny.config()), tiny.last_state(tmp_path, config), 1e-5)


def test_a_loss_that_is_not_finite_stops_with_step_value_and_checkpoint(tmp_path):
    config = tiny.config(
        optim__lr=1e3, optim__schedule="constant", checkpoint__every="1 steps", train__duration="50 steps"
    )
    with pytest.raises(
        train.NonFiniteLossError,
        match=r"The (loss|grad_norm|param_norm) is (nan|inf) at step \d+. The last good checkpoint is step \d",
    ):
        train.train_and_evaluate(config, tmp_path)
    good = Checkpointer(tmp_path / "checkpoints", config=config.to_dict())
    for leaf in jax.tree.leaves(tiny.last_state(tmp_path, config).params):
        assert np.isfinite(leaf).all()
    assert good.steps


def test_another_config_in_the_same_folder_is_refused(finished):
    with pytest.raises(CheckpointMismatchError, match=r"optim.lr: 0.01 saved, 0.02 now"):
        train.train_and_evaluate(tiny.config(optim__lr=0.02), finished[0])


def test_nothing_to_evaluate(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no run to evaluate"):
        train.evaluate(tiny.config(), tmp_path / "nowhere")
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(FileNotFoundError, match="There is no checkpoint in"):
        train.evaluate(tiny.config(), tmp_path)
