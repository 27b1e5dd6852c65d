"""Fitted states of scores in one file, so that new images are scored without the training images."""

from __future__ import annotations

import os
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

SEPARATOR = "|"  # between a score's name, which may hold options, and the place of an array in its state


def save_states(path: str | Path, states: Mapping[str, Any]) -> None:
    """Writes the states of scores by name, such as {"knn:k=1": knn.fit(...)}, to an .npz file, in one move.

    Raises:
      ValueError: for a name with the separator in it.
    """
    arrays = {}
    for name, state in states.items():
        if SEPARATOR in name:
            raise ValueError(f"The name of a score must not hold {SEPARATOR!r}; got {name!r}.")
        for place, leaf in jax.tree_util.tree_flatten_with_path(state)[0]:
            arrays[name + SEPARATOR + jax.tree_util.keystr(place, simple=True, separator=".")] = np.asarray(leaf)
    path = Path(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def load_states(path: str | Path, kinds: Mapping[str, type]) -> dict[str, Any]:
    """The states in a file of `save_states`.

    Args:
      path: of the file.
      kinds: the `State` of each score in it, by name.

    Raises:
      FileNotFoundError: if there is no file.
      ValueError: if it lacks a state, or a state lacks an array.
    """
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return {name: _build(kind, name + SEPARATOR, arrays, name) for name, kind in kinds.items()}


def _build(kind: Any, prefix: str, arrays: Mapping[str, np.ndarray], name: str) -> Any:
    """A NamedTuple of arrays and of NamedTuples."""
    fields: dict[str, Any] = {}
    for field in kind._fields:
        place = prefix + field
        if place in arrays:
            fields[field] = jnp.asarray(arrays[place])
        elif any(key.startswith(place + ".") for key in arrays):
            fields[field] = _build(typing.get_type_hints(kind)[field], place + ".", arrays, name)
        else:
            raise ValueError(f"The file has no {field} of the score {name!r}; fit the score again.")
    return kind(**fields)
