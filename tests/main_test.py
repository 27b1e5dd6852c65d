"""What the command makes of its flags and of errors; whole command lines run in configs_test.py."""

from pathlib import Path

import pytest
from absl import flags

from mollax import main
from mollax.train import Interrupted

# ml_collections loads config files by a method that Python 3.12 removes.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module\\(\\) method is deprecated:DeprecationWarning")


@pytest.fixture
def parsed(monkeypatch, tmp_path):
    """Flags as a user would give them, set back afterwards."""
    config = Path(__file__).parents[1] / "configs" / "digits.py"
    flags.FLAGS([str(config), f"--config={config}:smoke", f"--workdir={tmp_path}"])
    yield tmp_path
    flags.FLAGS.unparse_flags()


def outcome_of(error, monkeypatch, capsys):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(main, "train_and_evaluate", fail)
    with pytest.raises(SystemExit) as stop:
        main.main([])
    return stop.value.code, capsys.readouterr().err


def test_a_mistake_ends_in_one_message_and_code_2(parsed, monkeypatch, capsys):
    code, text = outcome_of(ValueError("optim.lr must be positive"), monkeypatch, capsys)
    assert (code, text) == (2, "mollax: optim.lr must be positive\n")


def test_a_bug_keeps_its_traceback(parsed, monkeypatch, capsys):
    with pytest.raises(ZeroDivisionError):
        outcome_of(ZeroDivisionError(), monkeypatch, capsys)


def test_an_interruption_ends_with_the_signals_code(parsed, monkeypatch, capsys):
    code, text = outcome_of(Interrupted(15, 40), monkeypatch, capsys)
    assert code == 143
    assert "Stopped by SIGTERM after step 40; everything is saved" in text
