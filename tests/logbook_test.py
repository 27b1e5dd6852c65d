"""Rows, events and JSON files; what a resumed run drops."""

import json
import logging

import pytest

from mollax.logbook import Logbook, open_log, read_history, write_json


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_rows_are_written_at_once_and_nan_becomes_null(tmp_path):
    book = Logbook(tmp_path, start_step=0)
    book.write(5, {"train/loss": 1.5})
    book.write(6, {"train/loss": float("nan")})
    assert rows(tmp_path) == [{"step": 5, "train/loss": 1.5}, {"step": 6, "train/loss": None}]
    book.close()
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))


def test_names_of_classes_are_no_trouble_to_tensorboard(tmp_path, caplog):
    name = "validation/range/sprout upright (ß, 1)"
    with caplog.at_level(logging.INFO):
        book = Logbook(tmp_path, start_step=0)
        book.write(1, {name: 1.0})
        book.close()
    assert not caplog.text
    assert rows(tmp_path) == [{"step": 1, name: 1.0}]
    (events,) = (tmp_path / "tensorboard").glob("events.out.tfevents.*")
    assert b"validation/range/sprout_upright__" in events.read_bytes()


def test_a_resumed_run_drops_rows_of_lost_work_and_half_lines(tmp_path, caplog):
    book = Logbook(tmp_path, start_step=0)
    for step in (2, 4, 6):
        book.write(step, {"train/loss": float(step)})
    book.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "train/lo')
    resumed = Logbook(tmp_path, start_step=4)
    assert "incomplete line" in caplog.text
    resumed.write(6, {"train/loss": 60.0})
    resumed.close()
    assert [row["train/loss"] for row in rows(tmp_path)] == [2.0, 4.0, 60.0]
    assert [row["step"] for row in resumed.history] == [2, 4, 6]
    assert read_history(tmp_path / "metrics.jsonl") == resumed.history
    assert read_history(tmp_path / "none.jsonl") == []


def test_secondary_processes_write_nothing(tmp_path):
    book = Logbook(tmp_path, start_step=0, primary=False)
    book.write(1, {"train/loss": 1.0})
    book.close()
    assert list(tmp_path.iterdir()) == []


def test_json_is_replaced_in_one_move_and_refuses_nan(tmp_path):
    path = tmp_path / "results.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}


def test_log_file_grows_over_restarts(tmp_path):
    for text in ("first", "second"):
        with open_log(tmp_path):
            logging.getLogger().warning(text)
    logging.getLogger().warning("after")
    lines = (tmp_path / "train.log").read_text().splitlines()
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["first", "second"]
