"""The end of a run: results.json, the report and the table on the terminal."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

import mollax
from mollax import evaluators, keys, models, mollify, objectives, preparation, report, synthetic
from mollax.evaluators import ClassificationEvaluator
from mollax.experiment import Experiment
from mollax.image import unstandardize
from mollax.logbook import write_json
from mollax.state import TrainState

# Of results.json: what says how a run went, not what came out; and, at any depth, how the names of times end.
UNCOMPARED, TIMES = ("mollax", "run"), "seconds"
MAX_CHANGES = 20  # lines of what differs


def write_outcome(
    config: ConfigDict,
    run: Experiment,
    state: TrainState,
    evaluator: ClassificationEvaluator,
    found: dict[str, Any],
    history: Sequence[Mapping[str, Any]],
    workdir: Path,
    how: Mapping[str, Any],
    *,
    trained: bool,
) -> dict[str, Any]:
    """Puts an evaluation into results.json and report.html, prints the table, and returns the results.

    After a mere evaluation the block "run" (device, time, speed) stays that of the training, it is logged whether the
    numbers are those that were there, and config.json becomes the config of this evaluation, as results.json is its.
    """
    clean_logits = found.pop("clean_logits")
    transforms = found["invariance"].pop("pictures") if "invariance" in found else None
    results = {
        "mollax": mollax.__version__,
        "name": config.name,
        "step": int(state.step),
        "parameters": models.count_parameters(state.params),
        "data": _data_block(run),
        **found,
        "run": {"device": f"{jax.devices()[0].device_kind} x {jax.device_count()}", **how},
    }
    if jax.process_index() != 0:
        return results
    path = workdir / "results.json"
    if not trained and path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        results["run"] = before.get("run", results["run"])
        _log_agreement(before, results)
    if not trained:
        # What may differ from the training's config, such as `invariance.predict`, is what the new numbers are of.
        write_json(workdir / "config.json", config.to_dict())
    write_json(path, results)
    if run.detector is not None and run.detector.gan is not None and run.detector.gan.on == "pixels":
        synthetic.write_sheet(workdir / "negatives.png", run.detector.gan, state.extra["gan"])
    report.write_report(
        workdir / "report.html",
        config=config.to_dict(),
        results=results,
        history=history,
        samples=mollified_samples(config, run),
        mistakes=evaluator.mistakes(clean_logits),
        transforms=transforms,
    )
    console = Console(soft_wrap=True)
    console.print(report.terminal_table(results))
    for sentence in report.headline(results):
        console.print(sentence)
    if "ood" in results:
        console.print(report.detection_table(results))
    for sentence in (*report.detection_headline(results), *report.drift_headline(results)):
        console.print(sentence)
    console.print(f"Report: {workdir / 'report.html'}")
    return results


def _data_block(run: Experiment) -> dict[str, Any]:
    dataset = run.dataset
    return {
        "name": dataset.name,
        "sizes": {name: len(getattr(dataset, name)) for name in ("train", "validation", "test")},
        "image_shape": list(dataset.image_shape),
        "class_names": list(dataset.class_names),
        "mean": [float(v) for v in run.mean],
        "std": [float(v) for v in run.std],
        "notes": list(dataset.notes),
        "skipped": [{"where": skip.where, "reason": skip.reason} for skip in dataset.skipped],
    }


def _log_agreement(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Says whether an evaluation reproduced the one on file: every field of every block but those of time."""
    old, new = (_fields({k: v for k, v in results.items() if k not in UNCOMPARED}) for results in (before, now))
    changed = [_change(name, old[name], new[name]) for name in new if name in old and old[name] != new[name]]
    if changed:
        more = f"\n  and {len(changed) - MAX_CHANGES} more fields" if len(changed) > MAX_CHANGES else ""
        lines = "\n  ".join(changed[:MAX_CHANGES])
        logging.warning("These numbers differ from the results on file:\n  %s%s", lines, more)
    else:
        which = "All" if old.keys() == new.keys() else "All other"
        logging.info("%s numbers equal those of the results on file.", which)
    for what, here, there in (("not on file before", new, old), ("no longer there", old, new)):
        blocks = {name.partition(".")[0] for name in there}
        parts = [(name, name.partition(".")[0]) for name in here.keys() - there.keys()]
        names = sorted({name if block in blocks else block for name, block in parts})
        if names:
            more = f" and {len(names) - MAX_CHANGES} more" if len(names) > MAX_CHANGES else ""
            logging.info("These fields are %s: %s%s.", what, ", ".join(names[:MAX_CHANGES]), more)


def _fields(value: Any, name: str = "") -> dict[str, list[Any]]:
    """Nested results as {"evaluations.clean.error": its values in order}; places in lists are not part of a name."""
    if isinstance(value, Mapping):
        kept = {str(key): part for key, part in value.items() if not str(key).endswith(TIMES)}
        inside = [(f"{name}.{key}" if name else key, part) for key, part in kept.items()]
    elif isinstance(value, (list, tuple)):
        inside = [(name, part) for part in value]
    else:
        return {name: [value]}
    found: dict[str, list[Any]] = {}
    for inner, part in inside:
        for field, values in _fields(part, inner).items():
            found.setdefault(field, []).extend(values)
    return found


def _change(name: str, old: Sequence[Any], new: Sequence[Any]) -> str:
    """One line for a field: its first values that differ, and how many others do."""
    if len(old) != len(new):
        return f"{name}: {len(old)} values before, {len(new)} now"
    pairs = [pair for pair in zip(old, new, strict=True) if pair[0] != pair[1]]
    more = f" (and {len(pairs) - 1} of its {len(new)} values more)" if len(pairs) > 1 else ""
    return f"{name}: {pairs[0][0]} before, {pairs[0][1]} now{more}"


def mollified_samples(config: ConfigDict, run: Experiment, *, count: int = 24) -> dict[str, Any] | None:
    """Training images as the network saw them at step 0, beside the originals; None without mollification."""
    mollifier = preparation.create_mollifier(config)
    if mollifier is None:
        return None
    split = run.dataset.train
    chosen = np.linspace(0, len(split) - 1, min(count, len(split))).astype(np.int64)
    originals = evaluators.stack(split, chosen)
    prepared = objectives.prepare(
        keys.stream_key(config.seed, "samples"),
        jax.numpy.asarray(originals),
        jax.numpy.asarray(split.labels[chosen]),
        classes=len(run.dataset.class_names),
        mean=run.mean,
        std=run.std,
        augment=preparation.create_augment(config),
        mollifier=mollifier,
        mix=preparation.create_mix(config) if len(chosen) % objectives.MIX_GROUP == 0 else None,
    )
    weights = np.take_along_axis(np.asarray(prepared.labels), split.labels[chosen][:, None], axis=1)[:, 0]
    return {
        "images": np.clip(np.asarray(unstandardize(prepared.images, run.mean, run.std)), 0.0, 1.0),
        "original": originals.astype(np.float32) / 255.0,
        "t": np.asarray(prepared.t),
        "role": [mollify.ROLES[i] for i in np.asarray(prepared.role)],
        "weight": weights,
        "label": [run.dataset.class_names[i] for i in split.labels[chosen]],
    }
