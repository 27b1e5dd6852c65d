"""What the commands share: flags whose mistakes end in one line, quiet libraries, exit codes."""

from __future__ import annotations

import difflib
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from absl import flags
from ml_collections import config_flags

from mollax.train import Interrupted

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "A config file, such as configs/digits.py:smoke.", lock_config=True
)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder for all that is written, such as runs/digits.")
DEBUG = flags.DEFINE_bool("debug", False, "Show the traceback of an error.")


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


def parse(arguments: Sequence[str]) -> list[str]:
    """Parses flags; a misspelt file, flag, field or word ends in one line instead of a traceback."""
    path = _config_path(arguments)
    if path is not None and not path.is_file():
        near = difflib.get_close_matches(path.name, [file.name for file in path.parent.glob("*.py")], n=1)
        stop(f"there is no config file {path}." + (f" Did you mean {path.parent / near[0]}?" if near else ""))
    try:
        rest = list(flags.FLAGS(arguments))
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        stop(f"{_reason(error)}\nSee --help for the flags and mollax/recipes.py for every config field.")
    if len(rest) > 1:
        stop(f"{rest[1]!r} is not a flag; flags begin with --, such as --config.optim.lr=0.05.")
    return rest


def stop(message: str) -> NoReturn:
    """Ends the program with one message and exit code 2: something that the user can mend."""
    print(f"mollax: {message}", file=sys.stderr)
    sys.exit(2)


def attempt(action: Callable[[], Any]) -> None:
    """Runs it; errors that a user can mend end in one message and exit code 2, signals in 128 + their number."""
    try:
        action()
    except Interrupted as interruption:
        print(f"mollax: {interruption}", file=sys.stderr)
        sys.exit(128 + interruption.number)
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        if DEBUG.value:
            traceback.print_exc()
        stop(str(error))
