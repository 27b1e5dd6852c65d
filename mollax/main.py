"""The command: flags to `train_and_evaluate(config, workdir)`.

python -m mollax.main --config=configs/digits.py --workdir=runs/digits [--config.optim.lr=0.05]
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
from absl import app, flags

from mollax import command, host
from mollax.logbook import quiet_libraries
from mollax.train import evaluate, train_and_evaluate

_MODE = flags.DEFINE_enum(
    "mode", "train_and_evaluate", ["train_and_evaluate", "evaluate"], "Train (or go on), or evaluate only."
)
_COORDINATOR = flags.DEFINE_string("coordinator", "", "Several hosts: address:port of process 0; empty for one host.")
_PROCESSES = flags.DEFINE_integer("processes", 1, "Several hosts: number of processes.")
_PROCESS = flags.DEFINE_integer("process", 0, "Several hosts: number of this process.")


def main(_: Sequence[str]) -> None:
    """Runs the program; errors that a user can mend end in one message and exit code 2."""
    quiet_libraries()
    if command.CONFIG.value is None or not command.WORKDIR.value:
        command.stop("give --config=FILE and --workdir=FOLDER, such as configs/digits.py and runs/digits.")
    config, workdir = command.CONFIG.value, Path(command.WORKDIR.value)
    host.keep_freed_memory()
    if _COORDINATOR.value:
        jax.distributed.initialize(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    else:
        host.spread_over_cores(batch_size=config.train.batch_size, accumulate=config.optim.accumulate)
    words = "python -m mollax.main " + shlex.join(sys.argv[1:])
    action = evaluate if _MODE.value == "evaluate" else train_and_evaluate
    command.attempt(lambda: action(config, workdir, command=words))


def run() -> None:
    """Entry point of the `mollax` command."""
    app.run(main, flags_parser=command.parse)


if __name__ == "__main__":
    run()
