"""Results of runs made by hand, for the tests that compare them."""

from __future__ import annotations

from typing import Any

from mollax import corrupt
from mollax.evaluators.corruption import aggregate


def results(level: float, names: tuple[str, ...] = corrupt.NAMES, *, corruptions: bool = True) -> dict[str, Any]:
    """A results.json: `level` on clean images; corruption i at severity s errs on level + s / 100 + i / 1000."""
    clean = {"error": level, "nll": 2 * level, "ece": level / 2}
    found: dict[str, Any] = {
        "mollax": "0.1.0",
        "name": "run",
        "data": {"name": "digits"},
        "evaluations": {"clean": {**clean, "n": 100}, "contrast:0.3": {**clean, "error": 3 * level, "n": 100}},
    }
    if corruptions:
        cells = {}
        for name in names:
            i = (*corrupt.NAMES, *corrupt.EXTRA_NAMES).index(name)
            errors = [level + severity / 100 + i / 1000 for severity in range(1, 6)]
            cells[name] = [{"error": error, "nll": 2 * error, "ece": error / 2} for error in errors]
        found["corruptions"] = {"images": 100, "clean": clean, "cells": cells, **aggregate(cells)}
    return found
