"""Durations written as people think of them: "2000 steps", "30 epochs" or "5 %", turned into steps in one place."""

from __future__ import annotations

import re

_PATTERN = re.compile(r"\s*([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*(steps?|epochs?|%|percent)\s*", re.IGNORECASE)


def to_steps(name: str, duration: str, *, steps_per_epoch: float, total: int | None = None) -> int:
    """Number of steps that `duration` means, rounded to the nearest; at least 1 unless it is written as 0.

    Args:
      name: of the config field, for messages.
      duration: a number with one unit: "steps", "epochs", or "%" / "percent" of `total`.
      steps_per_epoch: training examples / batch size; need not be whole.
      total: steps of the whole run; None where a percentage makes no sense (the run's own length).

    Raises:
      ValueError: if the text is not one number with one unit, or a percentage has nothing to refer to.
    """
    match = _PATTERN.fullmatch(duration)
    if match is None:
        raise ValueError(
            f'{name} must be one number with one unit, such as "2000 steps", "30 epochs" or "5 %"; got {duration!r}.'
        )
    number, unit = float(match[1]), match[2].lower()
    if unit.startswith("step"):
        if number != int(number):
            raise ValueError(f"{name} must be a whole number of steps; got {duration!r}.")
        return int(number)
    if unit.startswith("epoch"):
        steps = number * steps_per_epoch
    elif total is None:
        raise ValueError(
            f"{name} cannot be a percentage: it sets the length that percentages refer to; got {duration!r}."
        )
    elif number > 100:
        raise ValueError(f"{name} is more than the whole run; got {duration!r}.")
    else:
        steps = number / 100 * total
    return 0 if number == 0 else max(1, round(steps))
