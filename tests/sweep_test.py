"""Sweeps: which runs, in which order and folders, what is done again, and the one table."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny

from mollax import experiment, grid, preparation, sweep
from mollax.train import NonFiniteLossError

SETTINGS = {"FCR + mollified": {}, "plain": {"mollify.enabled": False}}
CHANGES = {"eval__stress": (), "eval__every": "0 steps", "checkpoint__every": "0 steps", "train__duration": "2 steps"}


def test_all_settings_of_a_seed_come_before_the_next(tmp_path):
    runs = sweep.plan(tiny.config(), SETTINGS, [4, 5], tmp_path)
    assert [(str(run.folder.relative_to(tmp_path)), run.config.seed) for run in runs] == [
        ("FCR-mollified/seed-4", 4),
        ("plain/seed-4", 4),
        ("FCR-mollified/seed-5", 5),
        ("plain/seed-5", 5),
    ]
    assert [run.config.mollify.enabled for run in runs] == [True, False] * 2
    assert runs[0].config.name == "FCR + mollified"


def test_settings_that_share_a_folder_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"would share .*give their settings other labels"):
        sweep.plan(tiny.config(), {"a/b": {}, "a b": {}}, [0], tmp_path)


def test_a_sweep_goes_on_where_it_stopped_and_makes_one_table(tmp_path, monkeypatch):
    tiny.without_page(monkeypatch)
    runs = sweep.plan(tiny.config(**CHANGES), {"FCR + mollified": {}}, [0, 1], tmp_path)
    assert sweep.sweep(runs[:1], tmp_path) == []
    done = (runs[0].folder / "results.json").stat().st_mtime_ns
    reads = []
    load = experiment.load_data
    monkeypatch.setattr(experiment, "load_data", lambda config: reads.append(1) or load(config))
    assert sweep.sweep(runs, tmp_path, words="again") == []
    assert (runs[0].folder / "results.json").stat().st_mtime_ns == done
    assert len(reads) == 1, "data are read once"

    table = json.loads((tmp_path / "sweep.json").read_text())
    assert table["command"] == "again"
    assert set(table["runs"]) == {str(run.folder.relative_to(tmp_path)) for run in runs}
    for row in table["rows"]:
        found = [run.results()["evaluations"]["clean"]["error"] for run in runs if run.label == row["label"]]
        assert row["seeds"] == 2
        assert row["clean"]["error"]["mean"] == pytest.approx(np.mean(found))
        assert row["clean"]["error"]["sd"] == pytest.approx(np.std(found, ddof=1))
    assert "FCR + mollified" in (tmp_path / "sweep.html").read_text()

    with pytest.raises(ValueError, match=r"has the results of other settings:\n  optim\.lr: 0\.01 saved, 0\.5 now"):
        sweep.plan(tiny.config(**CHANGES, optim__lr=0.5), {"FCR + mollified": {}}, [0], tmp_path)
    with pytest.raises(ValueError, match=r"other settings:\n  evaluation\.bins: 15 saved, 10 now"):
        sweep.plan(tiny.config(**CHANGES, eval__bins=10), {"FCR + mollified": {}}, [0], tmp_path)
    sweep.plan(tiny.config(**CHANGES, eval__corruption_cache="elsewhere"), {"FCR + mollified": {}}, [0], tmp_path)


def test_a_run_that_fails_is_passed_over(tmp_path, monkeypatch):
    runs = sweep.plan(tiny.config(), SETTINGS, [0], tmp_path)
    tried = []

    def fail(config, folder, **_):
        tried.append(folder)
        raise NonFiniteLossError("The loss is nan at step 3.")

    monkeypatch.setattr(sweep, "train_and_evaluate", fail)
    failures = sweep.sweep(runs, tmp_path)
    assert failures == [f"{run.label}, seed 0: The loss is nan at step 3." for run in runs]
    assert tried == [run.folder for run in runs]


@pytest.mark.parametrize(
    "file", sorted((Path(__file__).parents[1] / "configs" / "grids").glob("*.py")), ids=lambda f: f.stem
)
def test_the_projects_grids_fit_its_configs(file, tmp_path):
    words = {"policies": ["", "more", "all"], "ablations": ["", "roles", "beta", "powers", "labels"]}[file.stem]
    counts = []
    for word in words:
        settings = grid.read(f"{file}:{word}")
        for run in sweep.plan(tiny.config(train__batch_size=8 * jax.device_count()), settings, [0], tmp_path):
            preparation.create_augment(run.config)
            preparation.create_mix(run.config)
            preparation.create_mollifier(run.config)
        counts.append(len(settings))
    assert counts == {"policies": [8, 8, 16], "ablations": [15, 3, 3, 9, 3]}[file.stem]
    with pytest.raises(ValueError, match="knows the words"):
        grid.read(f"{file}:nonsense")
