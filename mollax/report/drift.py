"""The page of a drift audit: one self-contained HTML file, from the block of audit.json and some pictures."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from mollax.report import drift_plots as plots
from mollax.report.drift_sections import (
    baselines_section,
    classes_section,
    data_section,
    folders_section,
    leakage_section,
)
from mollax.report.drift_words import Block, bounds, is_drift, nats, p_words, storage_words, verdict
from mollax.report.page import figure_block, page, write_page
from mollax.report.table import as_float, html_rows, percent

_INTRODUCTION = (
    "Augmenting every training image of the bank, by {kernel}, gives a distribution. How well it explains an image is "
    "its log-density; minus that is the image's contribution, in nats. Training images that were held out are "
    "explained by it as images of the same kind are. New images are compared with them."
)
_GLOSSARY = (
    (
        "Excess cross-entropy",
        "mean contribution of new images minus that of held-out ones. Above 0, new images are farther from the "
        "training images than others of their kind: noise, rotation and unknown things do this. Below 0 they are "
        "nearer to the middle of them: blur, low contrast, blank images, one class or copies do. Both are drift.",
    ),
    ("Interval", "how far the excess could move with other images of both kinds, at 95 %, the bank being what it is."),
    (
        "p",
        "how often images of one kind, dealt at random to both sides, would be as far apart. Small values say that "
        "there is a difference, not that it is large: with enough images every difference is found.",
    ),
    (
        "Spread",
        "the standard deviation of the contributions of single held-out images, the measure of what is large: an "
        "excess of a tenth of it goes unnoticed in one image.",
    ),
    (
        "Entropy-aware companion",
        "by how many nats other new images explain a new image better than as many held-out ones do. It also sees "
        "images that are merely crowded together, which the excess calls typical.",
    ),
    (
        "Flagged",
        "share of new images whose contribution is above that of 95 % of held-out ones. Without drift it is about 5 %.",
    ),
    (
        "Detectable",
        "the smallest excess that so many images show in four of five audits, at the level of the verdict (2.5 %, half "
        "of 5 % for each of two tests); smaller ones may stay unseen.",
    ),
)
_HISTOGRAM = (
    "How surprising single images are: blue held-out training images, orange new ones. What lies to the right of the "
    "dashed line is more surprising than 95 % of held-out images. Heights are shares of images and grow with their "
    "square root, so that small ones are seen; the outermost bars hold all that lies beyond."
)
_CURVES = (
    "The same audit with other strengths of the augmentation. Where both lines run together the two kinds of images "
    "cannot be told apart: the stronger the augmentation, the more counts as in distribution. Dots are computed on "
    "{points}."
)
_CONFUSED = (
    " Right: the share of held-out images that lie denser among images of another class than of their own; where it "
    "climbs, the augmentation is too strong and blurs classes."
)
_MOST = (
    "The new images with the largest contributions, above the training image that is nearest to each{where}. Look for "
    "what the pairs do not share: these images drive the divergence."
)
_LEAST = (
    "The new images with the smallest contributions. Plain, blank, blurred or repeated ones here pull the excess down; "
    "a pair of equals is a copy."
)


def write_audit(
    path: str | Path, block: Block, *, most: Mapping[str, Any] | None = None, least: Mapping[str, Any] | None = None
) -> None:
    """Writes `audit_html(...)` to `path` in one move.

    Raises:
      FileNotFoundError: if the folder of `path` does not exist.
    """
    write_page(path, audit_html(block, most=most, least=least))


def audit_html(block: Block, *, most: Mapping[str, Any] | None = None, least: Mapping[str, Any] | None = None) -> str:
    """The page as a string; the same input gives the same bytes.

    Args:
      block: the content of audit.json.
      most, least: the most and the least surprising images, as `drift_plots.image_pairs` takes them, or None.
    """
    new, reference = block["new"], block["reference"]
    title = f"Drift of {new['name']} from {reference['name']}"
    parts = [
        f"<header><h1>{escape(title)}</h1><p class='sub'>{escape(_subtitle(block))}</p></header>",
        _storage(block),
        f"<p class='lead'>{escape(verdict(block).replace(' %', chr(160) + '%'))}</p>",
        _cards(block),
        f"<p>{escape(_INTRODUCTION.format(kernel=block['kernel']['text']))}</p>",
        _glossary(),
        figure_block("contributions", plots.contribution_histogram(block), "Contributions", _HISTOGRAM),
    ]
    if curve := block.get("curve"):
        caption = _CURVES.format(points=curve["points"]) + _CONFUSED * bool(curve.get("confused"))
        parts.append(figure_block("theta", plots.theta_curves(block), "Strengths of the augmentation", caption))
    for name, heading, pictures, caption in (
        ("most", "The images to blame", most, _MOST),
        ("least", "The most typical images", least, _LEAST),
    ):
        if pictures is not None and len(pictures["names"]):
            where = " in the network's features" * (block["space"]["kind"] == "features")
            shown = plots.image_pairs(pictures)
            parts += [f"<h2>{heading}</h2>", figure_block(name, shown, heading, caption.format(where=where))]
    parts += [
        *folders_section(block),
        *classes_section(block),
        *leakage_section(block),
        *baselines_section(block),
        *data_section(block),
    ]
    version = escape(str(block.get("mollax", "")))
    footer = f"Written by mollax {version}. Every number here is in audit.json beside this page."
    return page(f"{title} \u2013 mollax audit", parts, footer)


def _subtitle(block: Block) -> str:
    reference, new = block["reference"], block["new"]
    space = block["space"]
    where = "pixels" if space["kind"] == "pixels" else f"features of {space['run']}"
    return (
        f"{int(new['images']):,} new images against {int(reference['bank']):,} training images and "
        f"{int(reference['held_out']):,} held out · {int(space['dimensions']):,} {where}"
    )


def _storage(block: Block) -> str:
    """How the two collections are stored: the first thing to know."""
    rows = block.get("storage") or ()
    differs = any(row["differs"] for row in rows)
    color = "orange" if differs or not rows else "green"
    sentence = escape(storage_words(block))
    cells = [
        [
            escape(row["what"]) + (" <b style='color:var(--orange)'>differs</b>" if row["differs"] else ""),
            escape(row["reference"]),
            escape(row["new"]),
        ]
        for row in rows
    ]
    table = f"<div class='scroll'>{html_rows(('as stored', 'reference', 'new'), cells)}</div>" if cells else ""
    return f"<div class='panel' style='border-left:4px solid var(--{color})'><p>{sentence}</p>{table}</div>"


def _cards(block: Block) -> str:
    excess, companion = block["excess"], block.get("entropy_aware") or {}
    by_excess, by_companion = is_drift(block)
    interval = f"{bounds(excess)}\n{p_words(excess['p_value'])}"
    cards = [
        ("Excess cross-entropy", f"{nats(excess['value'], sign=True)} nats", interval),
        ("Per dimension", nats(excess["per_dimension"], sign=True), f"nats, of {int(block['space']['dimensions']):,}"),
        ("In spreads", f"{as_float(block['effect']):+.2f}".replace("-", "\u2212"), "of single images"),
        ("Companion", f"{nats(companion.get('value'), sign=True)} nats", p_words(companion.get("p_value"))),
        ("Flagged", f"{percent(block['flagged'], 1)} %", "5 % expected"),
    ]
    marks = (by_excess, by_excess, by_excess, by_companion, False)
    blocks = (
        f"<div class='card'><span class='small'>{escape(label)}</span>"
        f"<b{' style=color:var(--orange)' if mark else ''}>{escape(value)}</b>"
        f"<span class='small'>{escape(note).replace(chr(10), '<br>')}</span></div>"
        for (label, value, note), mark in zip(cards, marks, strict=True)
    )
    return f"<div class='cards'>{''.join(blocks)}</div>"


def _glossary() -> str:
    terms = "".join(f"<dt>{term}</dt><dd>{meaning}</dd>" for term, meaning in _GLOSSARY)
    return f"<details class='panel'><summary>What these words mean</summary><dl>{terms}</dl></details>"
