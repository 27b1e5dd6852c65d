"""A drift audit in words: the verdict, what is stored differently, and the summary on a terminal.

All from the block that audit.json holds. Nats and p-values are of `mollax.drift`; "surprising" is the contribution
-log p of an image, "spread" the standard deviation of the contributions of single held-out images.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from mollax.report.table import DASH, _aligned, as_float, percent

Block = Mapping[str, Any]
LEVEL = 0.05  # of an alarm by either of two tests, each of which has half of it
# Of the excess in units of the spread, as Cohen's for a difference of means.
SIZES = ((0.1, "very small"), (0.35, "small"), (0.65, "moderate"), (math.inf, "large"))


def nats(value: Any, *, sign: bool = False) -> str:
    """A number of nats with about three digits, such as "1,234", "12.3" or "-0.0123"."""
    number = as_float(value)
    if math.isnan(number):
        return DASH
    size = abs(number)
    if size == 0:
        return "0"
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    text = f"{number:,.3g}" if size < 0.01 else f"{number:,.{digits}f}"
    text = text.replace("-", "\u2212")
    return f"+{text}" if sign and number > 0 else text


def p_words(value: Any) -> str:
    """ "p = 0.013"; with three digits, or two significant ones."""
    number = as_float(value)
    return f"p = {DASH}" if math.isnan(number) else f"p = {number:.3f}" if number >= 0.001 else f"p = {number:.2g}"


def bounds(row: Mapping[str, Any], *, scale: float = 1.0) -> str:
    """The interval of a row in words; "" without."""
    low, high = (scale * as_float(row.get(name)) for name in ("low", "high"))
    return "" if math.isnan(low) or math.isnan(high) else f"{nats(low)} to {nats(high)}"


def is_drift(block: Block) -> tuple[bool, bool]:
    """Whether the excess, and whether its companion, is beyond chance; at half the level each, as there are two."""
    tests = block["excess"], block.get("entropy_aware") or {}
    first, second = (as_float(row.get("p_value")) <= LEVEL / 2 for row in tests)
    return first, second


def size_words(block: Block) -> str:
    """How large the excess is beside the spread among single held-out images."""
    effect = abs(as_float(block.get("effect")))
    return next(word for limit, word in SIZES if effect < limit or limit == math.inf)


def copied(block: Block) -> int:
    """How many new images are reference images, pixel for pixel, if most of them are; else 0."""
    count = int((block.get("leakage") or {}).get("count", 0))
    return count if 2 * count > int(block["new"]["images"]) else 0


def verdict(block: Block) -> str:
    """What was found, with significance and size kept apart; copies first, if most new images are."""
    words = _difference(block)
    if count := copied(block):
        of = f"{count:,} of {int(block['new']['images']):,} new images are reference images, pixel for pixel"
        words = f"Copies: {of}, so that what follows says little of other images. {words}"
    return words if block.get("entropy_aware") else f"{words} Its companion was not tested, with so few images."


def _difference(block: Block) -> str:
    """The sentence on both tests."""
    excess, companion = block["excess"], block.get("entropy_aware") or {}
    by_excess, by_companion = is_drift(block)
    value = as_float(excess["value"])
    p = p_words(excess["p_value"])
    interval = f"95 % interval {bounds(excess)}" if bounds(excess) else "no interval"
    flagged = f"{percent(block.get('flagged'), 1)} % of them are more surprising than 95 % of the held-out ones"
    least = nats((block.get("detectable") or {}).get("nats"))
    if by_excess:
        effect = f"{abs(as_float(block.get('effect'))):.2g} of the spread among single images, {size_words(block)}"
        if value > 0:
            return (
                f"Different beyond chance ({p}), by {nats(value)} nats an image ({interval}; {effect}): new images are "
                f"less typical than held-out training images; {flagged}."
            )
        alike = "copies are" if copied(block) else "blurred, faded or repeated images and single classes are"
        return (
            f"Different beyond chance ({p}), by {nats(value)} nats an image ({interval}; {effect}): new images are "
            f"more typical than held-out training images, as {alike}."
        )
    if by_companion:
        return (
            f"Different beyond chance by the entropy-aware companion ({p_words(companion['p_value'])}, "
            f"{nats(companion['value'])} nats an image), not by how typical single images are ({p}, "
            f"{nats(value, sign=True)} nats): new images lie elsewhere, or closer together, but not farther out."
        )
    return (
        f"No difference beyond chance ({p}): {nats(value, sign=True)} nats an image ({interval}). With so many images "
        f"a difference of {least} nats would have been found four times out of five; smaller ones may be there."
    )


def storage_words(block: Block) -> str:
    """What is stored differently, and what was done about it."""
    differing = [row for row in block.get("storage") or () if row["differs"]]
    space = block["space"]
    side = space["image_shape"][0]
    jpeg = f" and through JPEG of quality {space['jpeg_quality']}" if space.get("jpeg_quality") else ""
    done = f"All images were brought to {side} \u00d7 {side} pixels{jpeg}"
    if not block.get("storage"):
        return "How the reference was stored is not known, so that differences of storage cannot be told from drift."
    if not differing:
        return f"Both collections are stored alike. {done}."
    words = "; ".join(f"{row['what']} {row['reference']} against {row['new']}" for row in differing)
    left = "but what an earlier resolution or codec left is in them, and may be part of the drift"
    return f"Stored differently: {words}. {done}, {left}."


def rows(block: Block) -> list[tuple[str, str, str]]:
    """The summary: what, its value, and a note."""
    excess, space = block["excess"], block["space"]
    interval = f"{bounds(excess)}, {p_words(excess['p_value'])}"
    by_dimension = f"{int(space['dimensions']):,} dimensions of {space['kind']}"
    found = [
        ("excess cross-entropy", f"{nats(excess['value'], sign=True)} nats", interval),
        ("per dimension", f"{nats(excess['per_dimension'], sign=True)} nats", by_dimension),
        ("cross-entropy, held-out", f"{nats(excess['held'])} nats", f"{int(block['reference']['held_out']):,} images"),
        ("cross-entropy, new", f"{nats(excess['new'])} nats", f"{int(block['new']['images']):,} images"),
    ]
    if companion := block.get("entropy_aware"):
        note = f"{p_words(companion['p_value'])}, {int(companion['points']):,} images a side"
        found.append(("entropy-aware companion", f"{nats(companion['value'], sign=True)} nats", note))
    found.append(("flagged", f"{percent(block['flagged'], 1)} %", "of new images, where 5 % of held-out ones are"))
    least = block.get("detectable") or {}
    if least:
        found.append(("detectable", f"{nats(least['nats'])} nats", "four times out of five with so many images"))
    for name, row in (block.get("baselines") or {}).items():
        found.append((name, nats(row["value"]), p_words(row["p_value"])))
    if leaked := (block.get("leakage") or {}).get("count"):
        found.append(("copies of reference images", f"{int(leaked):,}", "among the new ones; counted above"))
    if block.get("skipped"):
        found.append(("skipped", f"{len(block['skipped']):,}", "files that cannot be read"))
    return found


def audit_summary(block: Block, *, tty: bool | None = None) -> Table | str:
    """The summary: a `rich` table on a terminal, else aligned text; `tty` None asks standard output."""
    columns = ("drift audit", "value", "")
    if not (sys.stdout.isatty() if tty is None else tty):
        return _aligned([columns, *rows(block)])
    table = Table(header_style="bold")
    for i, column in enumerate(columns):
        table.add_column(Text(column), justify="right" if i == 1 else "left")
    for row in rows(block):
        table.add_row(*(Text(cell) for cell in row))
    return table
