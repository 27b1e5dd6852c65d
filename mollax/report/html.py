"""One self-contained HTML page about a run: what came out, how to read it, and how to get it again.

Figures are inline SVG whose images are embedded; style is inline; there is no script and a content policy
forbids every request, so the page can be mailed, archived and opened offline. All text that comes from
outside (names, paths, notes, config) is escaped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from mollax.report import corruptions, plots
from mollax.report.detection import detection_headline, detection_section
from mollax.report.drift_table import drift_headline, drift_section
from mollax.report.invariance import invariance_section
from mollax.report.page import figure_block, page, write_page
from mollax.report.table import (
    as_float,
    decimal,
    evaluations_of,
    headline,
    html_class_table,
    html_rows,
    html_table,
    interval,
    main_evaluation,
    percent,
)

MAX_SKIPPED = 200
MAX_RELIABILITY = 9

_GLOSSARY = (
    ("Error", "share of images whose most probable class is the wrong one."),
    (
        "NLL",
        "negative log-likelihood, in nats: minus the mean logarithm of the probability given to the true "
        "class. "
        "A confident mistake costs most; lower is better.",
    ),
    (
        "Brier",
        "mean squared distance between the stated probabilities and the truth: 1 for the true class, else 0.",
    ),
    (
        "ECE",
        "expected calibration error: group images by stated confidence, compare each group's confidence "
        "with the share it got right, and average the gaps by group size. 0 means that of all answers given "
        "with 80 % "
        "confidence, 80 % are right.",
    ),
    ("Adaptive ECE", "the same with groups of equal size in place of equal width."),
    (
        "Temperature scaling",
        "dividing all logits by one number T, chosen on validation images. It never changes the error, only "
        "how "
        "sure the classifier says it is: T above 1 makes it more modest.",
    ),
    (
        "95 % interval",
        "how far the number could move if other test images of the same kind had been drawn; "
        "it does not cover another training run.",
    ),
)


def write_report(
    path: str | Path,
    *,
    config: Mapping[str, Any],
    results: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    samples: Mapping[str, Any] | None = None,
    mistakes: Mapping[str, Any] | None = None,
    transforms: Mapping[str, Any] | None = None,
) -> None:
    """Writes `report_html(...)` to `path` in one move: readers see the old page or the new one, never half.

    Raises:
      FileNotFoundError: if the folder of `path` does not exist.
      ValueError: if `results` holds no evaluation.
    """
    pictures = {"samples": samples, "mistakes": mistakes, "transforms": transforms}
    write_page(path, report_html(config=config, results=results, history=history, **pictures))


def report_html(
    *,
    config: Mapping[str, Any],
    results: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    samples: Mapping[str, Any] | None = None,
    mistakes: Mapping[str, Any] | None = None,
    transforms: Mapping[str, Any] | None = None,
) -> str:
    """The page as a string; the same input gives the same bytes.

    Args:
      config: the run's configuration as nested plain dicts.
      results: the content of `results.json`; "evaluations" must not be empty, the rest may be missing.
      history: the rows of `metrics.jsonl`.
      samples: what `plots.mollified_grid` takes; None leaves the figure out.
      mistakes: what `plots.mistake_grid` takes; None leaves the figure out.
      transforms: pictures of learned invariance, see `invariance_section`; None leaves them out.

    Raises:
      ValueError: if `results` holds no evaluation.
    """
    evaluations = evaluations_of(results)
    main_name, _ = main_evaluation(results)
    title = str(results.get("name", "run"))
    sentences = [*headline(results), *detection_headline(results), *drift_headline(results)]
    lead = " ".join(sentences).replace(" %", "\u00a0%").replace(" = ", "\u00a0=\u00a0")
    body = [
        f"<header><h1>{escape(title)}</h1><p class='sub'>{escape(_subtitle(results))}</p></header>",
        f"<p class='lead'>{escape(lead)}</p>",
        _cards(results),
        "<h2>Results</h2>",
        f"<div class='panel'><div class='scroll'>{html_table(results)}</div>{_TABLE_NOTE}</div>",
        _glossary(),
        figure_block("stress", plots.stress_bars(evaluations), "Error, NLL and ECE of every test", _STRESS_CAPTION),
        *_corruptions(results.get("corruptions")),
        *invariance_section(results, history, transforms),
        *detection_section(results),
        *drift_section(results),
        "<h2>Can its confidence be trusted?</h2>",
        _reliability(evaluations, main_name),
    ]
    if mistakes is not None:
        figure = plots.mistake_grid(mistakes)
        body += ["<h2>What it gets wrong</h2>"]
        body += [figure_block("mistakes", figure, "Misclassified images", _MISTAKE_CAPTION)]
    if classes := html_class_table(results):
        body += [f"<h2>Class by class</h2><div class='panel scroll'>{classes}</div>"]
    body += ["<h2>Training</h2>"]
    if samples is not None:
        body += [figure_block("samples", plots.mollified_grid(samples), "Mollified images", _SAMPLE_CAPTION)]
    body += [figure_block("training", plots.training_curves(history), "Training curves", _TRAINING_CAPTION)]
    body += [_data(results), _run(config, results)]
    footer = (
        f"Written by mollax {escape(str(results.get('mollax', '')))}. Every number here is in results.json and "
        "metrics.jsonl beside this page."
    )
    return page(f"{title} – mollax report", body, footer)


def _corruptions(block: Mapping[str, Any] | None) -> list[str]:
    """The section on the corruption benchmark, where it was run."""
    if not block:
        return []
    parts = ["<h2>Corruptions</h2>"]
    parts += [figure_block("severities", corruptions.severity_curves(block), "Severity curves", _SEVERITY_CAPTION)]
    if len(corruptions.benchmark_names(block)) >= 3:
        figure = corruptions.corruption_polygon({"this run": block})
        parts += [figure_block("polygon", figure, "Every corruption", _POLYGON_CAPTION)]
    table = corruptions.corruption_table(block)
    sentences = [f"{int(block['images']):,} test images, {block['source']}.", block.get("note", "")]
    if block["source"].startswith("generated"):
        sentences.append(_FROST)
    small = escape(" ".join(filter(None, sentences)))
    return [*parts, f"<div class='panel'><div class='scroll'>{table}</div><p class='small'>{small}</p></div>"]


_SEVERITY_CAPTION = (
    "How error, NLL and calibration suffer as corruptions grow; severity 0 is the same images untouched. Groups are "
    "noise, blur, weather and digital. The flatter, the better."
)
_POLYGON_CAPTION = (
    "The mean over five severities of each corruption; the smaller the shape, the better. The dotted circle is the "
    "value on the same images untouched."
)
_FROST = "Frost is drawn by mollax, so that its row and the means are close to, not equal to, published ones."
_TABLE_NOTE = "<p class='small'>Lower is better in every column but n. Small print: 95 % intervals.</p>"
_STRESS_CAPTION = (
    "Shorter bars are better. The bar is the value on all images of a test, the thin stroke its 95 % "
    "interval, and the ring the value after temperature scaling (the error does not change). A classifier "
    "that copes with noise and blur keeps the lower bars close to the first."
)
_RELIABILITY_CAPTION = (
    "Images are grouped by how sure the classifier said it was (horizontal). The blue bar is the share of "
    "the group it got right; the dashed diagonal is where that share equals the stated confidence. The "
    "orange stroke is the gap between the two: reaching up from the bar means too sure, reaching down "
    "into it too modest. Pale: fewer than 10 images, mostly chance. Below, the share of images in each "
    "group. Before temperature scaling."
)
_MISTAKE_CAPTION = (
    "Test images that were misclassified, the most confident mistakes first: what each is, what the "
    "classifier said, and how sure it was. Look for wrong labels and for classes that a person would "
    "confuse too."
)
_SAMPLE_CAPTION = (
    "What the network sees while it learns. Each training image gets one role: left as it is, noise, or "
    "blur, of a strength t between 0 and 1. The less is left to recognize, the less of the label stays "
    "on the true class (blue bar); the rest is spread over the classes (tempered labels drop it), so "
    "that doubt in the image becomes doubt in the answer."
)
_TRAINING_CAPTION = (
    "Values against training steps. Training values are measured on mollified images with softened labels "
    "and usually lie above the validation values, which are measured on images as they are. In long "
    "runs a line is the mean of a block of steps and the band its range."
)


def _subtitle(results: Mapping[str, Any]) -> str:
    data = results.get("data") or {}
    parts = [f"data {data['name']}"] if data.get("name") else []
    if data.get("class_names"):
        parts.append(f"{len(data['class_names']):,} classes")
    if results.get("parameters") is not None:
        parts.append(f"{int(results['parameters']):,} parameters")
    if results.get("step") is not None:
        parts.append(f"step {int(results['step']):,}")
    return " · ".join(parts)


def _cards(results: Mapping[str, Any]) -> str:
    name, main = main_evaluation(results)
    bounds, scaled = main.get("interval") or {}, main.get("scaled") or {}
    cards = [
        ("Error", f"{percent(main.get('error'))} %", interval(bounds.get("error"), scale=100.0)),
        ("NLL", decimal(main.get("nll"), 3), interval(bounds.get("nll"), digits=3)),
        ("ECE", f"{percent(main.get('ece'))} %", interval(bounds.get("ece"), scale=100.0)),
    ]
    if scaled:
        cards.append(
            (
                "ECE after scaling",
                f"{percent(scaled.get('ece'))} %",
                f"T = {decimal(scaled.get('temperature'))}",
            )
        )
    blocks = (
        f"<div class='card'><span class='small'>{escape(label)}, {escape(name)}</span><b>{value}</b>"
        f"<span class='small'>{note or '&nbsp;'}</span></div>"
        for label, value, note in cards
    )
    return f"<div class='cards'>{''.join(blocks)}</div>"


def _glossary() -> str:
    terms = "".join(f"<dt>{term}</dt><dd>{meaning}</dd>" for term, meaning in _GLOSSARY)
    return f"<details class='panel'><summary>What these words mean</summary><dl>{terms}</dl></details>"


def _reliability(evaluations: Mapping[str, Mapping[str, Any]], main_name: str) -> str:
    bins = {name: value["reliability"] for name, value in evaluations.items() if value.get("reliability")}
    if not bins:
        return "<p class='small'>No reliability was recorded.</p>"
    shown = dict(sorted(bins.items(), key=lambda item: item[0] != main_name)[:MAX_RELIABILITY])
    caption = _RELIABILITY_CAPTION
    if len(shown) < len(bins):
        caption += f" The first {len(shown)} of {len(bins)} tests."
    return figure_block("reliability", plots.reliability_diagram(shown), "Reliability diagrams", caption)


def _data(results: Mapping[str, Any]) -> str:
    data = results.get("data")
    if not data:
        return ""
    facts = [("name", data.get("name"))]
    facts += [(f"{split} images", f"{int(size):,}") for split, size in (data.get("sizes") or {}).items()]
    if data.get("image_shape"):
        facts.append(("image shape", " × ".join(str(side) for side in data["image_shape"])))
    if data.get("class_names"):
        facts.append(("classes", f"{len(data['class_names']):,}"))
    blocks = [_facts(facts)]
    if data.get("notes"):
        blocks.append("<ul>" + "".join(f"<li>{escape(str(note))}</li>" for note in data["notes"]) + "</ul>")
    skipped = data.get("skipped") or ()
    if skipped:
        rows = [[escape(str(skip["where"])), escape(str(skip["reason"]))] for skip in skipped[:MAX_SKIPPED]]
        rest = (
            f"<p class='small'>The first {MAX_SKIPPED} of {len(skipped):,}.</p>" if len(skipped) > MAX_SKIPPED else ""
        )
        blocks.append(
            f"<details><summary>{len(skipped):,} file{'s' * (len(skipped) != 1)} left out</summary>"
            f"<div class='scroll'>{html_rows(('where', 'why'), rows)}</div>{rest}</details>"
        )
    return f"<h2>Data</h2><div class='panel'>{''.join(blocks)}</div>"


def _run(config: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    run = results.get("run") or {}
    facts = [("device", run.get("device")), ("wall time", _duration(run.get("wall_seconds")))]
    facts += [("of which compilation", _duration(run.get("compile_seconds")))]
    if run.get("images_per_second") is not None:
        facts.append(("training speed", f"{as_float(run['images_per_second']):,.0f} images per second"))
    command = run.get("command")
    again = f"<p>To get this run again:</p><pre>{escape(str(command))}</pre>" if command else ""
    text = json.dumps(config, indent=2, default=str, ensure_ascii=False)
    return (
        f"<h2>Run</h2><div class='panel'>{_facts(facts)}{again}"
        f"<details><summary>Configuration</summary><pre>{escape(text)}</pre></details></div>"
    )


def _facts(facts: Iterable[tuple[str, Any]]) -> str:
    pairs = ((name, value) for name, value in facts if value not in (None, ""))
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in pairs) + "</dl>"


def _duration(seconds: Any) -> str:
    number = as_float(seconds)
    if not math.isfinite(number):
        return ""
    if number < 60:
        return f"{number:.1f} s"
    minutes, rest = divmod(round(number), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
