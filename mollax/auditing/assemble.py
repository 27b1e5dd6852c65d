"""The audit of prepared sides: measures, and returns what audit.json and audit.html hold."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mollax import __version__, checks
from mollax.auditing import breakdown, measure
from mollax.auditing.material import Show
from mollax.auditing.prepare import Prepared
from mollax.auditing.reference import Part, Reference
from mollax.auditing.scoring import Scored, score
from mollax.auditing.settings import Settings
from mollax.auditing.significance import both_groups, check_enough, tests
from mollax.data.duplicates import content_hashes
from mollax.data.inspect import differences
from mollax.report.drift_words import LEVEL, verdict

MAX_PAIRS = 1000  # copies listed in audit.json


class Found(NamedTuple):
    """The block of audit.json, pictures for the page, and what was scored."""

    block: dict[str, Any]
    most: dict[str, Any]
    least: dict[str, Any]
    scored: Scored


def measure_all(settings: Settings, prepared: Prepared, show: Show, *, level: float = LEVEL) -> Found:
    """All numbers of an audit.

    Args:
      settings, prepared, show: what to do, with what, and where to tell of it.
      level: the smallest that the two tests will share; the verdict's, or that of a limit.

    Raises:
      ValueError: for a bank of identical images, too few images for a test, or points that are not finite.
    """
    top = checks.positive_int("--top", settings.top, minimum=0)
    check_enough(settings, prepared, level=level)
    scored = score(settings, prepared, show)
    threshold = float(np.quantile(-scored.held_log, 0.95))
    block = about(prepared, scored) | about_storage(prepared)
    block |= tests(settings, prepared, scored, show, level=level)
    block["notes"] += block.pop("untested")
    block |= {
        "threshold": threshold,
        "flagged": float((-scored.new_log > threshold).mean()),
        "histogram": measure.histogram(-scored.held_log, -scored.new_log),
        "curve": measure.theta_curve(
            scored.family,
            scored.strength,
            (prepared.reference.bank, scored.bank),
            (prepared.reference.held, scored.held),
            scored.new,
            offset=scored.offset,
            show=show,
        ),
    }
    block |= parts(settings, prepared, scored, threshold)
    block["leakage"] = leakage(prepared.reference, prepared.new_part)
    block["verdict"] = verdict(block)
    order = np.argsort(scored.new_log, kind="stable")
    bank, new = prepared.reference.bank, prepared.new_part
    most, least = (pictures(bank, new, -scored.new_log, rows) for rows in (order[:top], order[::-1][:top]))
    return Found(block, most, least, scored)


def about_storage(prepared: Prepared) -> dict[str, Any]:
    """How both sides are stored, and what they were brought to: known before anything is measured."""
    reference, side = prepared.reference, prepared.new
    storage = []
    if reference.storage is not None and side.storage is not None:
        storage = [asdict(one) for one in differences(reference.storage, side.storage)]
    shape = {"image_shape": list(reference.form.shape), "jpeg_quality": reference.form.jpeg_quality}
    dimensions = {"dimensions": reference.bank.points.shape[1]}
    return {"storage": storage, "space": prepared.space.about() | dimensions | shape}


def about(prepared: Prepared, scored: Scored) -> dict[str, Any]:
    """What was compared and how, and what was skipped."""
    reference, side, family = prepared.reference, prepared.new, prepared.family
    named = ((reference.about["name"], reference.notes), (side.about["name"], side.loaded.notes))
    notes = [f"{name}: {note}" for name, words in named for note in words]
    skipped = [*reference.skipped, *(asdict(skip) for skip in side.loaded.skipped)]
    if prepared.deployment is not None:
        notes += prepared.deployment.notes
        skipped += prepared.deployment.skipped
    if not both_groups(prepared) and not (reference.held.groups is prepared.new_part.groups is None):
        notes.append("groups are known on one side only: images were compared one by one")
    return {
        "mollax": __version__,
        "kernel": {
            "name": family.name,
            "text": family.words(scored.strength),
            "value": scored.strength,
            "how": scored.how,
        },
        "reference": reference.about | {"bank": len(reference.bank), "held_out": len(reference.held)},
        "new": side.about,
        "notes": notes,
        "skipped": skipped,
    }


def parts(settings: Settings, prepared: Prepared, scored: Scored, threshold: float) -> dict[str, Any]:
    """The breakdown by class, where labels are known on both sides, and by folder."""
    held, new, names = prepared.reference.held, prepared.new_part, prepared.reference.class_names
    sides, folders = (-scored.new_log, -scored.held_log), prepared.new.loaded.folders
    flags = sides[0] > threshold
    if new.labels is None or held.labels is None:
        return {"classes": None, "folders": breakdown.by_folder(sides[0], folders, sides[1], flags=flags)}
    classes = breakdown.by_class(sides[0], new.labels, sides[1], held.labels, names, seed=settings.seed)
    if classes["missing"]:
        return {"classes": classes, "folders": breakdown.by_folder(sides[0], folders, sides[1], flags=flags)}
    # Classes differ in how typical they are: folders are compared within them, by what is below the class folder.
    below = [folder.partition("/")[2] for folder in folders]
    within = breakdown.less_class_means(*sides, new.labels, held.labels)
    rows = breakdown.by_folder(within[0], below, within[1], flags=flags)
    return {"classes": classes, "folders": rows, "folders_within_classes": bool(rows)}


def leakage(reference: Reference, new: Part) -> dict[str, Any]:
    """New images that are in the bank or the held-out part, pixel for pixel, and which ones these are."""
    assert new.images is not None  # they were read
    places: dict[bytes, tuple[str, str]] = {}
    for name, part, hashes in (
        ("held-out", reference.held, reference.held_hashes),
        ("bank", reference.bank, reference.hashes),
    ):
        places |= {value: (part.files[i], name) for i, value in reversed(list(enumerate(hashes)))}
    found = [(file, places.get(value)) for file, value in zip(new.files, content_hashes(new.images), strict=True)]
    pairs = [{"new": file, "reference": place[0], "part": place[1]} for file, place in found if place is not None]
    if pairs:
        logging.info("note: %s new images are reference images, pixel for pixel", f"{len(pairs):,}")
    held = sum(pair["part"] == "held-out" for pair in pairs)
    return {"count": len(pairs), "held_out": held, "pairs": pairs[:MAX_PAIRS]}


def pictures(
    bank: Part, new: Part, contributions: Float[np.ndarray, " m"], rows: Int[np.ndarray, " k"]
) -> dict[str, Any]:
    """What `report.drift_plots.image_pairs` takes, for some of the new images; with the file of each one's nearest."""
    assert new.images is not None  # they were read
    places = measure.nearest(new.points[rows], bank.points)
    return {
        "images": new.images[rows] / 255.0,
        "nearest": None if bank.images is None else bank.images[places] / 255.0,
        "names": [new.files[i] for i in rows],
        "nearest_names": [bank.files[i] for i in places],
        "contributions": contributions[rows].tolist(),
    }
