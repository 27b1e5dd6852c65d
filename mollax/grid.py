"""Grids of settings: labels, each with the config fields that make it differ."""

from __future__ import annotations

import ast
import itertools
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mollax import checks

Overrides = Mapping[str, Any]
Grid = Mapping[str, Overrides]


def product(*axes: Grid, join: str = " + ") -> dict[str, dict[str, Any]]:
    """Every combination of one setting from each axis; labels are joined, an empty one adds nothing.

    Raises:
      ValueError: if two axes set the same field, or two combinations get the same label.
    """
    grid: dict[str, dict[str, Any]] = {}
    for combination in itertools.product(*(axis.items() for axis in axes)):
        label = join.join(name for name, _ in combination if name)
        merged: dict[str, Any] = {}
        for _, overrides in combination:
            if twice := sorted(set(merged) & set(overrides)):
                raise ValueError(f"Two axes of the grid set {', '.join(twice)}.")
            merged |= overrides
        if label in grid:
            raise ValueError(f"Two combinations of the grid are called {label!r}.")
        grid[label] = merged
    return grid


def read(text: str) -> dict[str, dict[str, Any]]:
    """The grid of a file or of a line.

    Args:
      text: FILE.py or FILE.py:WORD, whose get_grid(WORD) returns {label: {field: value}}; or axes
        "field=value,value;field=value", whose values are Python literals or plain words.

    Raises:
      ValueError: for a file without a grid, a line that is none, or a bad word for the file.
      FileNotFoundError: if there is no such file.
    """
    name, _, word = text.partition(":")
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise FileNotFoundError(f"There is no grid file {name}.")
        get_grid = runpy.run_path(name).get("get_grid")
        if get_grid is None:
            raise ValueError(f"{name} has no function get_grid(word), so it is not a grid; see configs/grids.")
        return {label: dict(overrides) for label, overrides in get_grid(word).items()}
    return product(*(_axis(part) for part in text.split(";") if part.strip()), join=", ")


def _axis(text: str) -> dict[str, dict[str, Any]]:
    field, equals, values = text.strip().partition("=")
    if not equals or not field or not values:
        raise ValueError(
            f"A grid is a file or 'field=value,value;field=value', such as 'optim.lr=0.01,0.1'; got {text!r}."
        )
    return {f"{field}={value.strip()}": {field: _literal(value.strip())} for value in _split(values)}


def _split(values: str) -> list[str]:
    """At commas that are not inside brackets or quotes."""
    parts, depth, quote = [""], 0, ""
    for sign in values:
        quote = "" if sign == quote else sign if not quote and sign in "\"'" else quote
        depth += 0 if quote else (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def apply(config: ConfigDict, overrides: Overrides) -> ConfigDict:
    """A copy of the config with fields changed; a field that holds a dict is replaced as a whole.

    Raises:
      ValueError: for a field that there is not (the nearest is named), or a value of another type.
    """
    changed = ConfigDict(config.to_dict())
    fields = dict(_fields(config))
    for field, value in overrides.items():
        checks.one_of("field of the grid", field, fields)
        parent, _, name = field.rpartition(".")
        section = _section(changed, parent) if parent else changed
        try:
            section[name] = ConfigDict(dict(value)) if isinstance(value, Mapping) else value
        except TypeError as error:
            raise ValueError(f"{field} cannot be {value!r}: {error}") from error
    return changed.lock()


def _section(config: ConfigDict, dotted: str) -> ConfigDict:
    for name in dotted.split("."):
        config = config[name]
    return config


def _fields(config: ConfigDict, prefix: str = "") -> list[tuple[str, Any]]:
    """Dotted names of fields; an empty section is a field itself, such as model.options."""
    found: list[tuple[str, Any]] = []
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            found.append((prefix + name, value))
            found += _fields(value, f"{prefix}{name}.")
        else:
            found.append((prefix + name, value))
    return found
