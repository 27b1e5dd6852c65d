"""What the commands share: flags whose mistakes end in one line, quiet libraries, exit codes."""

from __future__ import annotations

import ast
import difflib
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from absl import flags
from ml_collections import ConfigDict, config_flags

from mollax.train import Interrupted

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "A config file, such as configs/digits.py:smoke.", lock_config=True
)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder for all that is written, such as runs/digits.")
DEBUG = flags.DEFINE_bool("debug", False, "Show the traceback of an error.")

_OPTION = re.compile(r"--?config\.(?P<path>(\w+\.)*\w*options\.\w+)=(?P<value>.*)", re.DOTALL)


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


def _without_options(arguments: Sequence[str]) -> list[str]:
    return [argument for argument in arguments if not _OPTION.fullmatch(argument)]


def _literal(text: str) -> Any:
    """A number, tuple or truth value; anything else is text."""
    try:
        return ast.literal_eval(text.capitalize() if text in ("true", "false") else text)
    except (SyntaxError, ValueError):
        return text


def _set_option(config: ConfigDict, path: str, text: str) -> None:
    """Gives a value to a field below `options`, which need not be there: what owns them knows which there are."""
    *sections, name = path.split(".")
    section = config
    for part in sections:
        section = section[part]
    with section.unlocked():
        section[name] = _literal(text)


def parse(arguments: Sequence[str]) -> list[str]:
    """Parses flags; a misspelt file, flag, field or word ends in one line instead of a traceback.

    ml_collections only takes fields that a config has. Those below `options` may be new, such as
    `--config.invariance.options.start=0.1`; whoever they are for refuses unknown ones.
    """
    path = _config_path(arguments)
    if path is not None and not path.is_file():
        near = difflib.get_close_matches(path.name, [file.name for file in path.parent.glob("*.py")], n=1)
        stop(f"there is no config file {path}." + (f" Did you mean {path.parent / near[0]}?" if near else ""))
    given = sys.argv
    sys.argv = _without_options(sys.argv)  # ml_collections looks there for fields
    try:
        rest = list(flags.FLAGS(_without_options(arguments)))
        for match in map(_OPTION.fullmatch, arguments):
            if match and CONFIG.value is not None:
                _set_option(CONFIG.value, match["path"], match["value"])
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        stop(f"{_reason(error)}\nSee --help for the flags and mollax/recipes.py for every config field.")
    finally:
        sys.argv = given
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
