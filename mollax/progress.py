"""The terminal: a progress bar with speed and time left, or plain lines where nobody watches."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Terminal:
    """One bar at a time on a terminal; elsewhere a log line every `every_seconds`. A context manager."""

    def __init__(self, *, enabled: bool = True, every_seconds: float = 10.0) -> None:
        self._live = enabled and sys.stderr.isatty()
        self._enabled, self._every, self._last = enabled, every_seconds, 0.0
        self._bar = Progress(
            TextColumn("[bold]{task.description:<12}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not self._live,
            transient=True,
        )
        self._task: TaskID | None = None
        self._description = ""

    def __enter__(self) -> Terminal:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, description: str, done: int, total: int, note: str = "") -> None:
        """Moves the bar called `description` to done / total; another name starts another bar."""
        if not self._enabled:
            return
        if description != self._description:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(description, total=total, note=note)
            self._description, self._last = description, 0.0
        assert self._task is not None  # Set above: a first call always starts a bar.
        self._bar.update(self._task, completed=done, total=total, note=note)
        now = time.monotonic()
        if not self._live and (now - self._last > self._every or done >= total):
            self._last = now
            logging.info("%s %d/%d %s", description, done, total, note)
