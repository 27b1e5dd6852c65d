"""The command: flags to `train_and_evaluate(config, workdir)`.

python -m mollax.main --config=configs/digits.py --workdir=runs/digits [--config.optim.lr=0.05]
"""

from __future__ import annotations

import difflib
import logging
import re
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import jax
from absl import app, flags
from ml_collections import config_flags

from mollax import host
from mollax.train import Interrupted, evaluate, train_and_evaluate

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "A config file, such as configs/digits.py:smoke.", lock_config=True
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run: checkpoints, results and report.")
_MODE = flags.DEFINE_enum(
    "mode", "train_and_evaluate", ["train_and_evaluate", "evaluate"], "Train (or go on), or evaluate only."
)
_COORDINATOR = flags.DEFINE_string("coordinator", "", "Several hosts: address:port of process 0; empty for one host.")
_PROCESSES = flags.DEFINE_integer("processes", 1, "Several hosts: number of processes.")
_PROCESS = flags.DEFINE_integer("process", 0, "Several hosts: number of this process.")
_DEBUG = flags.DEFINE_bool("debug", False, "Show the traceback of an error.")


def _config_path(arguments: Sequence[str]) -> Path | None:
    """The file in --config=FILE:words or --config FILE:words, or None."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        flag, equals, value = argument.partition("=")
        if flag in ("--config", "-config"):
            return Path((value if equals else following).partition(":")[0])
    return None


def _reason(error: Exception) -> str:
    """What went wrong, without the traceback that ml_collections wraps around a config's own message."""
    if "Error whilst parsing config file" in str(error):
        while error.__context__ is not None and isinstance(error.__context__, Exception):
            error = error.__context__
    # ml_collections raises AttributeError(KeyError(message)); a KeyError prints as the repr of its message.
    while error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    unknown = re.fullmatch(r"'(\w+)'\s*(Did you mean .*)?", text, re.DOTALL)
    return f"there is no config field {unknown[1]!r}. {unknown[2] or ''}".strip() if unknown else text


def _parse(arguments: Sequence[str]) -> list[str]:
    """Parses flags; a misspelt file, flag, field or word ends in one line instead of a traceback."""
    path = _config_path(arguments)
    if path is not None and not path.is_file():
        near = difflib.get_close_matches(path.name, [file.name for file in path.parent.glob("*.py")], n=1)
        _stop(f"there is no config file {path}." + (f" Did you mean {path.parent / near[0]}?" if near else ""))
    try:
        rest = list(flags.FLAGS(arguments))
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        _stop(f"{_reason(error)}\nSee --help for the flags and mollax/recipes.py for every config field.")
    if len(rest) > 1:
        _stop(f"{rest[1]!r} is not a flag; flags begin with --, such as --config.optim.lr=0.05.")
    return rest


def _stop(message: str) -> NoReturn:
    """Ends the program with one message and exit code 2: something that the user can mend."""
    print(f"mollax: {message}", file=sys.stderr)
    sys.exit(2)


def main(_: Sequence[str]) -> None:
    """Runs the program; errors that a user can mend end in one message and exit code 2."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    for noisy in ("absl", "jax", "orbax"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if _CONFIG.value is None or not _WORKDIR.value:
        _stop("give --config=FILE and --workdir=FOLDER, such as configs/digits.py and runs/digits.")
    host.keep_freed_memory()
    if _COORDINATOR.value:
        jax.distributed.initialize(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    else:
        host.spread_over_cores(batch_size=_CONFIG.value.train.batch_size, accumulate=_CONFIG.value.optim.accumulate)
    command = "python -m mollax.main " + shlex.join(sys.argv[1:])
    action = evaluate if _MODE.value == "evaluate" else train_and_evaluate
    try:
        action(_CONFIG.value, Path(_WORKDIR.value), command=command)
    except Interrupted as stop:
        print(f"mollax: {stop}", file=sys.stderr)
        sys.exit(128 + stop.number)
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        if _DEBUG.value:
            traceback.print_exc()
        _stop(str(error))


def run() -> None:
    """Entry point of the `mollax` command."""
    app.run(main, flags_parser=_parse)


if __name__ == "__main__":
    run()
