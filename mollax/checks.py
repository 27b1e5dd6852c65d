"""Checks at the door: every message says what was given, what was expected and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any


def one_of(name: str, value: Any, allowed: Iterable[str]) -> str:
    """Returns `value` if it is among `allowed`; raises ValueError naming the nearest allowed word otherwise."""
    allowed = tuple(allowed)
    if value in allowed:
        return str(value)
    nearest = difflib.get_close_matches(str(value), allowed, n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}; got {value!r}.{hint}")


def in_range(
    name: str,
    value: float,
    low: float | None = None,
    high: float | None = None,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """Returns `value` if it is a finite number in the interval; raises TypeError or ValueError otherwise.

    `None` leaves a side unbounded; `open_low` and `open_high` exclude the end points.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {value!r} of type {type(value).__name__}.")
    above = low is None or (value > low if open_low else value >= low)
    below = high is None or (value < high if open_high else value <= high)
    if value != value or value in (float("inf"), float("-inf")) or not (above and below):
        left = "(-inf" if low is None else f"{'(' if open_low else '['}{low:g}"
        right = "inf)" if high is None else f"{high:g}{')' if open_high else ']'}"
        raise ValueError(f"{name} must be in {left}, {right}; got {value!r}.")
    return value


def positive_int(name: str, value: int, *, minimum: int = 1) -> int:
    """Returns `value` if it is an integer of at least `minimum`; raises TypeError or ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, got {value!r} of type {type(value).__name__}.")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}; got {value}.")
    return value


def rank(name: str, array: Any, ndim: int, meaning: str) -> None:
    """Raises ValueError unless `array` has `ndim` axes; `meaning` names them, such as "(height, width, channels)"."""
    if getattr(array, "ndim", None) != ndim:
        raise ValueError(f"{name} must have {ndim} axes {meaning}; got shape {getattr(array, 'shape', None)}.")


def same_length(names: Sequence[str], arrays: Sequence[Any]) -> int:
    """Returns the common length of `arrays` along their first axis; raises ValueError if they differ."""
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:
        pairs = ", ".join(f"{name} has {length}" for name, length in zip(names, lengths, strict=True))
        raise ValueError(f"Arrays must have the same length, but {pairs}.")
    return lengths[0]
