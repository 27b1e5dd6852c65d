"""Sections of a drift audit's page: what the drift comes from, copies, other tests, and the data themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from mollax.report import drift_plots as plots
from mollax.report.drift_words import Block, bounds, nats, p_words
from mollax.report.page import figure_block
from mollax.report.table import DASH, html_rows, percent

MAX_LISTED = 200

_FOLDERS = (
    "Excess of each sub-folder over all held-out images{alike}, with 95 % intervals (Welch's t; p-values corrected by "
    "Holm for the number of folders): which source, day or device the drift comes from."
)
_ALIKE = " of the same class"
_CLASSES = (
    "Excess of each class over held-out images of the same class, with 95 % intervals; p-values corrected by Holm."
)
_LEAKED = (
    "New images that are images of the reference, pixel for pixel at the size of this audit. Those of the bank look "
    "perfectly typical, those of the held-out part as its others do. A test set with such images overstates how good a "
    "classifier is. They are counted in all numbers here."
)


def _excess_rows(rows: Sequence[Mapping[str, Any]], more: Mapping[str, str]) -> str:
    head = ("", "images", "excess (nats)", "95 % interval", "p", *more.values())
    cells = [
        [
            escape(str(row["name"])),
            f"{int(row['images']):,}",
            nats(row["value"], sign=True),
            bounds(row) or DASH,
            p_words(row["p_value"]).removeprefix("p = "),
            *(f"{percent(row[key], 1)} %" for key in more),
        ]
        for row in rows
    ]
    return f"<div class='scroll'>{html_rows(head, cells)}</div>"


def _table(table: str) -> str:
    return f"<details class='panel'><summary>As a table</summary>{table}</details>"


def folders_section(block: Block) -> list[str]:
    """Excess of each sub-folder; nothing where there is one."""
    rows = block.get("folders")
    if not rows:
        return []
    caption = _FOLDERS.format(alike=_ALIKE * bool(block.get("folders_within_classes")))
    table = _table(_excess_rows(rows, {"flagged": "flagged"}))
    figure = figure_block("folders", plots.breakdown_bars(rows, "By sub-folder"), "Excess by sub-folder", caption)
    return ["<h2>Where it comes from</h2>", figure, table]


def classes_section(block: Block) -> list[str]:
    """Excess by class, label shift apart; nothing without labels on both sides."""
    classes = block.get("classes")
    if not classes:
        return []
    p = p_words(classes["shares_p_value"])
    if classes["label_shift"]:
        parts = [(name, classes[key]) for name, key in (("label shift", "label_shift"), ("within classes", "within"))]
        words = "; ".join(f"{name} {nats(row['value'], sign=True)} nats ({bounds(row)})" for name, row in parts)
        text = (
            f"Of {nats(classes['total'], sign=True)} nats: {words}. The first part is what other shares of the same "
            f"classes would give by themselves (equal shares: {p}), the second what is left when classes are compared "
            "with their own kind."
        )
    else:
        missing = ", ".join(map(str, classes["missing"][:10]))
        text = f"No held-out images of {missing}, so that label shift cannot be told from drift within classes."
    table = _excess_rows(classes["rows"], {"held_share": "share held-out", "new_share": "share new"})
    return [
        "<h2>Class by class</h2>",
        f"<p>{escape(text)}</p>",
        figure_block("classes", plots.breakdown_bars(classes["rows"], "By class"), "Excess by class", _CLASSES),
        _table(table),
    ]


def leakage_section(block: Block) -> list[str]:
    """Copies of bank and held-out images; nothing where there is none."""
    leakage = block.get("leakage") or {}
    if not leakage.get("count"):
        return []
    count = int(leakage["count"])
    rows = [
        [escape(pair["new"]), escape(pair["reference"]), escape(pair.get("part", "bank"))]
        for pair in leakage["pairs"][:MAX_LISTED]
    ]
    table = html_rows(("new image", "reference image", "of the"), rows)
    summary = f"{count:,} copies" + (f", the first {MAX_LISTED}" if count > MAX_LISTED else "")
    return [
        "<h2>Copies of reference images</h2>",
        f"<div class='panel'><p>{_LEAKED}</p><details><summary>{summary}</summary><div class='scroll'>{table}</div>"
        "</details></div>",
    ]


def baselines_section(block: Block) -> list[str]:
    """Other tests, where they were done."""
    baselines = block.get("baselines")
    if not baselines:
        return []
    left, short = "<td style='text-align:left'>", "<td style='white-space:nowrap'>"
    rows = [
        [
            escape(name),
            nats(row["value"]),
            f"{short}{p_words(row['p_value']).removeprefix('p = ')}</td>",
            f"{left}{escape(row['note'])}</td>",
        ]
        for name, row in baselines.items()
    ]
    text = "Two-sample tests that are widely used, on the same held-out and new images. They say whether, not how."
    table = html_rows(("test", "value", "p", "what it is"), rows)
    table = table.replace("<th scope='col'>what", "<th scope='col' style='text-align:left'>what")
    return ["<h2>Other tests</h2>", f"<div class='panel'><p>{text}</p><div class='scroll'>{table}</div></div>"]


def data_section(block: Block) -> list[str]:
    """Where all of it came from, what was done to it, and what was left out."""
    rows = []
    for side in ("reference", "new"):
        about = block[side]
        facts = (("path", about["path"]), ("read as", about["reader"]), ("split", about["split"]))
        rows += [(f"{side}: {name}", str(value)) for name, value in facts if value]
    rows += [("held-out part", str(block["reference"]["held_from"])), ("kernel", str(block["kernel"]["text"]))]
    rows += [("strength", str(block["kernel"]["how"]))]
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    notes = "".join(f"<li>{escape(str(note))}</li>" for note in block.get("notes") or ())
    body = f"<dl>{listed}</dl>" + (f"<ul>{notes}</ul>" if notes else "")
    if skipped := block.get("skipped"):
        cells = [[escape(str(skip["where"])), escape(str(skip["reason"]))] for skip in skipped[:MAX_LISTED]]
        body += (
            f"<details><summary>{len(skipped):,} file{'s' * (len(skipped) != 1)} left out</summary><div class='scroll'>"
            f"{html_rows(('where', 'why'), cells)}</div></details>"
        )
    command = (
        f"<p>To get this page again:</p><pre>{escape(str(block['command']))}</pre>" if block.get("command") else ""
    )
    return ["<h2>Data</h2>", f"<div class='panel'>{body}{command}</div>"]
