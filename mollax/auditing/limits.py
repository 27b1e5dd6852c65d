"""Limits that an audit may not break, for programs that act on its exit code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mollax import checks


@dataclass(frozen=True)
class Limits:
    """Each is off where it is None.

    Attributes:
      above: nats; broken if the interval of the excess lies above it.
      below: nats; broken if the interval lies below it, as of blurred, repeated or blank images.
      p: broken if the p-value of the excess or of its companion is at most half of it: two tests share the level.
      flagged_share: broken if more of the new images are flagged.

    Raises:
      ValueError: for a p or a share not in [0, 1], or a limit that is not finite.
    """

    above: float | None = None
    below: float | None = None
    p: float | None = None
    flagged_share: float | None = None

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("--fail-above", self.above, None, None),
            ("--fail-below", self.below, None, None),
            ("--fail-p", self.p, 0.0, 1.0),
            ("--fail-flagged-share", self.flagged_share, 0.0, 1.0),
        ):
            if value is not None:
                checks.in_range(name, value, low, high)


def broken(block: Mapping[str, Any], limits: Limits) -> list[str]:
    """Which limits the audit in `block` breaks, in words."""
    excess, companion = block["excess"], block.get("entropy_aware") or {}
    found = []
    if limits.above is not None and excess["low"] > limits.above:
        found.append(f"the interval of the excess begins at {excess['low']:.4g} nats, above {limits.above:g}")
    if limits.below is not None and excess["high"] < limits.below:
        found.append(f"the interval of the excess ends at {excess['high']:.4g} nats, below {limits.below:g}")
    if limits.p is not None:
        least = min(excess["p_value"], companion.get("p_value", 1.0))
        if least <= limits.p / 2:
            found.append(f"the smaller of two p-values is {least:.3g}, at most half of {limits.p:g}")
    if limits.flagged_share is not None and block["flagged"] > limits.flagged_share:
        found.append(
            f"{100 * block['flagged']:.1f} % of new images are flagged, above {100 * limits.flagged_share:g} %"
        )
    return found
