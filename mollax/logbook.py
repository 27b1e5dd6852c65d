"""What a run writes down as it goes: metrics.jsonl, TensorBoard events, JSON files, train.log, and lines to read."""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def quiet_libraries() -> None:
    """Shows our log as plain lines, and of noisy libraries warnings only."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    for noisy in ("absl", "jax", "orbax"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON in one move, so that a reader never sees half a file. NaN is refused: it is not JSON."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    draft.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    draft.replace(path)


def read_history(path: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics.jsonl, {"step": ..., name: value or None}; a line cut off by a kill is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            logging.warning("%s: skipped an incomplete line: %.60s", path, line)
    return rows


class Logbook:
    """Scalars by step. Only the primary process writes; on others every call does nothing."""

    def __init__(self, workdir: Path, *, start_step: int, primary: bool = True) -> None:
        """Opens the files; rows after `start_step` come from work that is lost and will be done again."""
        self._path, self._primary = workdir / "metrics.jsonl", primary
        self.history = [row for row in read_history(self._path) if row["step"] <= start_step]
        if not primary:
            return
        draft = self._path.with_suffix(".tmp")
        draft.write_text("".join(json.dumps(row) + "\n" for row in self.history), encoding="utf-8")
        draft.replace(self._path)
        self._file = self._path.open("a", encoding="utf-8")
        # Imported here, for it imports torch where there is one, which takes seconds of every command's start.
        from tensorboardX import SummaryWriter

        # TensorBoard drops events at and after this step, for the same reason.
        self._events = SummaryWriter(str(workdir / "tensorboard"), purge_step=start_step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds one row; NaN and infinities are written as null."""
        row = {"step": step} | {name: float(v) if math.isfinite(v) else None for name, v in values.items()}
        self.history.append(row)
        if not self._primary:
            return
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        for name, value in values.items():
            # Class names may hold what TensorBoard's tags may not, of which it would warn every time.
            self._events.add_scalar(re.sub(r"[^-/\w.]", "_", name), value, step)

    def close(self) -> None:
        """Flushes and closes the files."""
        if self._primary:
            self._file.close()
            self._events.close()


@contextmanager
def open_log(workdir: Path) -> Iterator[None]:
    """Inside, the log goes, with times, to workdir/train.log as well, which grows over restarts."""
    handler = logging.FileHandler(workdir / "train.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
