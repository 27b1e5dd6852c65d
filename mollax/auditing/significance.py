"""The tests of an audit: excess, companion, what could have been detected, and others where they are wanted."""

from __future__ import annotations

from typing import Any

from mollax.auditing import measure
from mollax.auditing.material import Show
from mollax.auditing.prepare import Prepared
from mollax.auditing.scoring import Scored
from mollax.auditing.settings import Settings
from mollax.drift.detectable import detectable
from mollax.drift.entropy_aware import EntropyAware, entropy_aware
from mollax.drift.excess import excess
from mollax.drift.permutation import check_resolution
from mollax.report.drift_words import LEVEL

POWER = 0.8
FEWEST_FOR_BASELINES = 4  # images a side: the classifier learns from half of them


def both_groups(prepared: Prepared) -> dict[str, Any]:
    """The groups of held-out and new images as the tests take them; none unless both sides have them."""
    held, new = prepared.reference.held.groups, prepared.new_part.groups
    return {} if held is None or new is None else {"groups_held": held, "groups_new": new}


def check_enough(settings: Settings, prepared: Prepared, *, level: float) -> None:
    """Raises ValueError if so few images (or groups), or permutations, give no p-value of half the level.

    Two tests share the level, so that each is read at half of it.
    """
    groups = both_groups(prepared)
    sides = groups.values() or (range(len(prepared.reference.held)), range(len(prepared.new_part)))
    held, new = (len(set(side)) for side in sides)
    units = "groups of images" if groups else "images"
    check_resolution(held, new, permutations=settings.permutations, level=level / 2, units=units)


def tests(settings: Settings, prepared: Prepared, scored: Scored, show: Show, *, level: float) -> dict[str, Any]:
    """What was tested, as parts of the block of audit.json.

    Args:
      settings, prepared, scored, show: of the audit.
      level: the smallest that two p-values will share. What could have been detected is that at `LEVEL`, the verdict's.

    Raises:
      ValueError: as `check_enough`, or for other tests that are asked for with too few images.
    """
    held, new = prepared.reference.held, prepared.new_part
    groups = both_groups(prepared)
    shared: dict[str, Any] = {"seed": settings.seed, "permutations": settings.permutations}
    options = shared | groups | {"resamples": settings.resamples, "confidence": settings.confidence, "level": level / 2}
    show("tests", 0, 3)
    main = excess(scored.held_log, scored.new_log, **options)
    show("tests", 1, 3)
    companion, untested = _companion(scored, options)
    show("tests", 2, 3)
    wanted = settings.baselines
    if wanted is None:
        wanted = FEWEST_FOR_BASELINES <= min(len(held), len(new)) <= max(len(held), len(new)) <= measure.BASELINE_POINTS
    others = measure.baselines(scored.held, scored.new, **shared) if wanted else None
    show("tests", 3, 3)
    names = ("value", "low", "high", "p_value")
    least = detectable(scored.held_log, len(new), power=POWER, level=LEVEL / 2, groups=groups.get("groups_held"))
    return {
        "excess": {name: getattr(main, name) for name in (*names, "held", "new")}
        | {"per_dimension": main.value / scored.bank.shape[1], "confidence": settings.confidence},
        "effect": main.value / max(float(scored.held_log.std(ddof=1)), 1e-12),
        "entropy_aware": companion
        and {name: getattr(companion, name) for name in names} | {"points": len(companion.new_rows)},
        "untested": untested,
        "detectable": {"nats": least, "power": POWER, "level": LEVEL / 2},
        "baselines": others,
    }


def _companion(scored: Scored, options: dict[str, Any]) -> tuple[EntropyAware | None, list[str]]:
    """The companion, or None and why: it takes equally many of both sides, which may be too few where the excess,
    of all, is not."""
    try:
        return entropy_aware(scored.held, scored.new, scored.kernel, **options), []
    except ValueError as error:  # of the number of images: all else has been checked by the excess
        count = f"{len(scored.held):,} held-out and {len(scored.new):,} new images"
        reason = f"of {count} the entropy-aware companion takes about equally many, which is too few for it"
        return None, [f"{reason} ({error})"]
