"""The report's section on drift: how far test images and other sets are from the training images, set by set."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from mollax.report.drift_words import Block, bounds, is_drift, nats, p_words
from mollax.report.table import html_rows, percent

_INTRODUCTION = (
    "Excess: by how many nats an image of the set is less typical of the training images than a validation image is, "
    "as seen in the network's features; below 0 it is more typical, as images of a single class are. Companion: by how "
    "many nats other images of the set explain it better than validation images do. p: how often images of one kind, "
    "dealt at random to both sides, would be as far apart; it says that there is a difference, not that it is large. "
    "Spread: the excess in standard deviations of single validation images. Flagged: share of images more surprising "
    "than 95 % of validation images."
)


def drift_section(results: Mapping[str, Any]) -> list[str]:
    """The section as parts of the page; none where a run has no block "drift"."""
    block = results.get("drift")
    if not block:
        return []
    title = "<h2>How far is other data from the training data?</h2>"
    if "failed" in block:
        return [title, f"<p>It could not be measured: {escape(block['failed'])}</p>"]
    head = ("set", "images", "excess, nats", "p", "spread", "companion, nats", "p", "flagged %", "detectable, nats")
    table = html_rows(head, [_row(row) for row in block["sets"] if "failed" not in row])
    failed = [f"{row['name']}: {row['failed']}" for row in block["sets"] if "failed" in row]
    about = (
        f"<p>{escape(_INTRODUCTION)} The bank: {block['bank']:,} training images, {block['dimensions']} features, "
        f"Gaussian kernels of scale {block['sigma']:.3g}; {block['held']:,} validation images.</p>"
    )
    more = "<p>Your own images: <code>python -m mollax.audit</code>, which also shows which are to blame.</p>"
    missing = [f"<p>Not measured: {escape(words)}</p>" for words in failed]
    return [title, about, f"<div class='panel scroll'>{table}</div>", *missing, more]


def drift_headline(results: Mapping[str, Any]) -> list[str]:
    """A sentence on the test images, the one set that should not have drifted: by the excess or by its companion."""
    rows = [
        row for row in (results.get("drift") or {}).get("sets", ()) if row["name"] == "test" and "failed" not in row
    ]
    if not rows:
        return []
    excess, companion = rows[0]["excess"], rows[0]["companion"]
    by_excess, by_companion = is_drift({"excess": excess, "entropy_aware": companion})
    first, second = (
        f"{nats(part['value'], sign=True)} nats an image, {p_words(part['p_value'])}" for part in (excess, companion)
    )
    if by_excess:
        return [f"Test images have drifted from the training images beyond chance ({first})."]
    if by_companion:
        return [
            "Test images have drifted from the training images beyond chance by the entropy-aware companion "
            f"({second}), not by how typical single images are ({first})."
        ]
    return [f"Test images have not drifted from the training images beyond chance ({first}; companion: {second})."]


def _row(row: Block) -> list[str]:
    cells = [escape(row["name"]), f"{row['images']:,}"]
    for name in ("excess", "companion"):
        part = row[name]
        cells += [f"{nats(part['value'], sign=True)}<small>{bounds(part)}</small>", p_words(part["p_value"])[4:]]
        if name == "excess":
            cells.append(f"{row['effect']:+.2f}".replace("-", "\u2212"))
    return [*cells, percent(row["flagged"], 1), nats(row["detectable"])]
