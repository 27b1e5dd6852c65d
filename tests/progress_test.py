"""The bar where somebody watches, lines where nobody does, nothing where it is off."""

import io
import logging

from mollax.progress import Terminal


class FakeTerminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_gets_lines_with_the_note(caplog, monkeypatch):
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with caplog.at_level(logging.INFO), Terminal(every_seconds=1000) as terminal:
        for done in range(1, 11):
            terminal.show("train", done, 10, f"loss {done}")
    assert caplog.messages == ["train 1/10 loss 1", "train 10/10 loss 10"]


def test_a_terminal_gets_a_bar_and_no_lines(caplog, monkeypatch):
    screen = FakeTerminal()
    monkeypatch.setattr("sys.stderr", screen)
    with caplog.at_level(logging.INFO), Terminal() as terminal:
        terminal.show("train", 5, 10, "loss 1.25")
        terminal._bar.refresh()
        terminal.show("clean", 1, 2)
    assert caplog.messages == []
    assert "train" in screen.getvalue()
    assert "loss 1.25" in screen.getvalue()
    assert "50%" in screen.getvalue()


def test_switched_off_it_is_silent(caplog):
    with caplog.at_level(logging.INFO), Terminal(enabled=False) as terminal:
        terminal.show("train", 10, 10)
    assert caplog.messages == []
