"""What the commands share: flags with mistakes, and errors that end in one line."""

import signal
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from mollax import command
from mollax.train import Interrupted


def test_config_path_is_found_in_both_spellings():
    assert command._config_path(["x", "--config=a/b.py:smoke"]) == Path("a/b.py")
    assert command._config_path(["x", "--config", "a/b.py"]) == Path("a/b.py")
    assert command._config_path(["x", "--workdir=w"]) is None


def test_a_missing_config_file_names_the_nearest(capsys):
    near = Path(__file__).parents[1] / "configs" / "digit.py"
    with pytest.raises(SystemExit):
        command.parse(["x", f"--config={near}"])
    assert "Did you mean" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error, code",
    [(ValueError("no such thing"), 2), (OSError("no such thing"), 2), (Interrupted(signal.SIGINT, 3), 130)],
)
def test_errors_that_can_be_mended_end_in_a_code_and_a_line(error, code, monkeypatch, capsys):
    monkeypatch.setattr(command, "DEBUG", type("Off", (), {"value": False}))

    def fail():
        raise error

    with pytest.raises(SystemExit) as stop:
        command.attempt(fail)
    assert stop.value.code == code
    assert capsys.readouterr().err == f"mollax: {error}\n"


def test_a_bug_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        command.attempt(lambda: 1 // 0)


@pytest.mark.parametrize(
    "argument, value",
    [
        ("--config.model.options.patch=4", 4),
        ("-config.model.options.patch=(2, 4)", (2, 4)),
        ("--config.model.options.relaxation=score", "score"),
        ("--config.model.options.final_norm=true", True),
        ("--config.model.options.period=5 %", "5 %"),
        ("--config.model.options.rate=8", 8.0),
    ],
)
def test_options_may_be_new(argument, value):
    config = ConfigDict({"model": {"options": {"rate": 0.5}}}).lock()
    match = command._OPTION.fullmatch(argument)
    command._set_option(config, match["path"], match["value"])
    found = config.model.options[match["path"].split(".")[-1]]
    assert found == value
    assert type(found) is type(value)
    assert config.is_locked
    assert config.model.options.is_locked


def test_an_option_that_is_there_keeps_its_type():
    config = ConfigDict({"options": {"rate": 0.5}}).lock()
    with pytest.raises(TypeError, match="rate"):
        command._set_option(config, "options.rate", "fast")


@pytest.mark.parametrize(
    "argument", ["--config.optim.lr=1", "--config.options=1", "--config=options.x", "--workdir=a.options.b=1"]
)
def test_other_flags_are_no_options(argument):
    assert command._OPTION.fullmatch(argument) is None
