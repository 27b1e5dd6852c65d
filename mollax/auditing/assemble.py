"""The audit of prepared sides: measures, and returns what audit.json and audit.html hold."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from mollax import __version__, checks
from mollax.auditing import breakdown, kernels, measure
from mollax.auditing.material import Show
from mollax.auditing.prepare import Prepared
from mollax.auditing.reference import Part, Reference
from mollax.auditing.settings import Settings
from mollax.data.dataset import Split
from mollax.data.duplicates import content_hashes
from mollax.data.inspect import differences
from mollax.drift.averaged_mollifier import AveragedMollifier, fit_nodes
from mollax.drift.detectable import detectable
from mollax.drift.entropy_aware import entropy_aware
from mollax.drift.excess import excess
from mollax.drift.kernels import Kernel
from mollax.experiment import channel_statistics
from mollax.report.drift_words import verdict

MAX_PAIRS = 1000  # copies listed in audit.json
NODE_POINTS = 64  # of each side, by which the nodes of an averaged kernel are counted
POWER, LEVEL = 0.8, 0.05


class Scored(NamedTuple):
    """Points as the kernel takes them, and their log-densities in nats of the space they are from."""

    bank: Float32[np.ndarray, "n d"]
    held: Float32[np.ndarray, "h d"]
    new: Float32[np.ndarray, "m d"]
    kernel: Kernel
    strength: float
    how: str
    offset: float
    held_log: Float64[np.ndarray, " h"]
    new_log: Float64[np.ndarray, " m"]


class Found(NamedTuple):
    """The block of audit.json, pictures for the page, and what was scored."""

    block: dict[str, Any]
    most: dict[str, Any]
    least: dict[str, Any]
    scored: Scored


def score(settings: Settings, prepared: Prepared, show: Show) -> Scored:
    """The kernel, its strength, and log-densities of held-out and new images.

    Raises:
      ValueError: for a bank of identical images, or points that are not finite.
    """
    reference, family = prepared.reference, prepared.family
    bank, held, new, offset = reference.bank.points, reference.held.points, prepared.new_part.points, 0.0
    if family.standardized:
        assert reference.bank.images is not None  # such kernels are for pixels
        mean, std = channel_statistics(Split(reference.bank.images, np.zeros(len(bank), np.int32)))
        (bank, held, new), offset = measure.standardized([bank, held, new], reference.form.shape, mean, std)
    strength, how = kernels.choose(
        family, bank, hashes=reference.hashes, groups=reference.bank.groups, seed=settings.seed, show=show
    )
    kernel = family.make(strength)
    if isinstance(kernel, AveragedMollifier):
        some = np.concatenate([held[:NODE_POINTS], new[:NODE_POINTS]])
        kernel = fit_nodes(some, bank, kernel)
    saved = reference.kernel == family.text and reference.strength == strength
    if saved and reference.held_log is not None:
        held_log, how = reference.held_log, "as saved with the reference"
    else:
        held_log = offset + measure.densities(held, bank, kernel, show=show, what="held-out images")
    new_log = offset + measure.densities(new, bank, kernel, show=show, what="new images")
    return Scored(bank, held, new, kernel, strength, how, offset, held_log, new_log)


def measure_all(settings: Settings, prepared: Prepared, show: Show) -> Found:
    """All numbers of an audit.

    Raises:
      ValueError: for a bank of identical images, too few images for a test, or points that are not finite.
    """
    top = checks.positive_int("--top", settings.top, minimum=0)
    scored = score(settings, prepared, show)
    threshold = float(np.quantile(-scored.held_log, 0.95))
    block = about(prepared, scored) | about_storage(prepared)
    block |= tests(settings, prepared, scored, show)
    block |= {
        "threshold": threshold,
        "flagged": float((-scored.new_log > threshold).mean()),
        "histogram": measure.histogram(-scored.held_log, -scored.new_log),
        "curve": measure.theta_curve(
            prepared.family,
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
    if (reference.held.groups is None) != (prepared.new_part.groups is None):
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
        "skipped": [*reference.skipped, *(asdict(skip) for skip in side.loaded.skipped)],
    }


def tests(settings: Settings, prepared: Prepared, scored: Scored, show: Show) -> dict[str, Any]:
    """Excess, companion, what could have been detected, and other tests where they are wanted."""
    held, new = prepared.reference.held, prepared.new_part
    groups: dict[str, Any] = {"groups_held": held.groups, "groups_new": new.groups}
    if held.groups is None or new.groups is None:
        groups = {}
    shared: dict[str, Any] = {"seed": settings.seed, "permutations": settings.permutations}
    intervals: dict[str, Any] = {"resamples": settings.resamples, "confidence": settings.confidence}
    show("tests", 0, 3)
    main = excess(scored.held_log, scored.new_log, **shared, **intervals, **groups)
    show("tests", 1, 3)
    companion = entropy_aware(scored.held, scored.new, scored.kernel, **shared, **intervals, **groups)
    show("tests", 2, 3)
    wanted = settings.baselines
    if wanted is None:
        wanted = max(len(held), len(new)) <= measure.BASELINE_POINTS
    others = measure.baselines(scored.held, scored.new, **shared) if wanted else None
    show("tests", 3, 3)
    names = ("value", "low", "high", "p_value")
    least = detectable(scored.held_log, len(new), power=POWER, level=LEVEL, groups=groups.get("groups_held"))
    return {
        "excess": {name: getattr(main, name) for name in (*names, "held", "new")}
        | {"per_dimension": main.value / scored.bank.shape[1], "confidence": settings.confidence},
        "effect": main.value / max(float(scored.held_log.std(ddof=1)), 1e-12),
        "entropy_aware": {name: getattr(companion, name) for name in names} | {"points": len(companion.new_rows)},
        "detectable": {"nats": least, "power": POWER, "level": LEVEL},
        "baselines": others,
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
    """New images that are in the bank, pixel for pixel, and which ones these are."""
    assert new.images is not None  # they were read
    places: dict[bytes, int] = {}
    for i, value in enumerate(reference.hashes):
        places.setdefault(value, i)
    hashes = content_hashes(new.images)
    shared = [i for i, value in enumerate(hashes) if value in places]
    if shared:
        logging.info("note: %s new images are training images, pixel for pixel", f"{len(shared):,}")
    pairs = [{"new": new.files[i], "reference": reference.bank.files[places[hashes[i]]]} for i in shared[:MAX_PAIRS]]
    return {"count": len(shared), "pairs": pairs}


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
