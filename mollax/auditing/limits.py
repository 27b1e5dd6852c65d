"""Limits that an audit may not break, for programs that act on its exit code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mollax import checks
from mollax.report.drift_words import LEVEL


@dataclass(frozen=True)
class Limits:
    """Each is off where it is None.

    Attributes:
      above: nats; broken if the interval of the excess lies above it.
      below: nats; broken if the interval lies below it, as of blurred, repeated or blank images.
      p: broken if the p-value of the excess or of its companion is at most half of it: two tests share the level.
      flagged_share: broken if more of the new images are flagged.

    Raises:
      ValueError: for a p not in (0, 1], a share not in [0, 1], or a limit that is not finite.
    """

    above: float | None = None
    below: float | None = None
    p: float | None = None
    flagged_share: float | None = None

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("--fail-above", self.above, None, None),
            ("--fail-below", self.below, None, None),
            ("--fail-flagged-share", self.flagged_share, 0.0, 1.0),
        ):
            if value is not None:
                checks.in_range(name, value, low, high)
        if self.p is not None:
            checks.in_range("--fail-p", self.p, 0.0, 1.0, open_low=True)

    @property
    def level(self) -> float:
        """The smallest level that both tests will share: the verdict's, or `p` below it."""
        return LEVEL if self.p is None else min(self.p, LEVEL)

    def check_permutations(self, permutations: int) -> None:
        """Raises ValueError where `level` could never be reached: no p-value is below 1 / (permutations + 1)."""
        least = 1 / (checks.positive_int("--permutations", permutations) + 1)
        if least > self.level / 2:
            what = f"The verdict's level of {LEVEL:g}" if self.level == LEVEL else f"--fail-p={self.p:g}"
            raise ValueError(
                f"{what} is shared by two tests, {self.level / 2:g} each, but {permutations:,} permutations give no "
                f"p-value below {least:.3g}: nothing could ever be found. Give --permutations="
                f"{math.ceil(2 / self.level - 1e-9) - 1} or more."
            )


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
