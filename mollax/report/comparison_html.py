"""The page that compares runs: tables with means and deviations over seeds, and figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from mollax.report import comparison_plots as plots
from mollax.report.comparison import (
    METRICS,
    Results,
    Row,
    comparison_rows,
    lookup,
    parts_of,
    spread_words,
    uncommon_corruptions,
    value,
)
from mollax.report.page import figure_block, page, write_page
from mollax.report.table import corruption_words, html_rows

# Title as HTML, the metric, and how to find its spreads in a row: the keys one after the other.
Column = tuple[str, str, tuple[str, ...]]
DEEPEST = 0.75  # shade of the worst cell of a column; 1 would be full orange


def write_comparison(
    path: str | Path, groups: Mapping[str, Sequence[Results]], *, title: str = "", command: str = ""
) -> None:
    """Writes `comparison_html(...)` to `path` in one move.

    Raises:
      FileNotFoundError: if the folder of `path` does not exist.
      ValueError: as `comparison_rows`.
    """
    write_page(path, comparison_html(groups, title=title, command=command))


def comparison_html(groups: Mapping[str, Sequence[Results]], *, title: str = "", command: str = "") -> str:
    """One self-contained page about runs side by side, as a string; the same input gives the same bytes.

    Args:
      groups: {label: contents of results.json of its seeds}, in the order of the page.
      title: of the page; "" says how many runs are compared.
      command: what gets the runs again, shown where given.

    Raises:
      ValueError: as `comparison_rows`.
    """
    rows = comparison_rows(groups)
    title = title or ("1 run" if len(rows) == 1 else f"{len(rows)} runs side by side")
    seeds = sum(row["seeds"] for row in rows)
    body = [
        f"<header><h1>{escape(title)}</h1><p class='sub'>{escape(_subtitle(groups))}</p></header>",
        f"<p class='lead'>{escape(' '.join(findings(rows)))}</p>",
        "<h2>Results</h2>",
        _panel(_summary(rows), f"Mean ± standard deviation over seeds; {seeds} trainings in all. {_LOWER}"),
    ]
    if any("corrupted" in row for row in rows):
        body += _corruption_section(rows, groups)
    elif rows[0]["stress"]:
        columns = [(escape(name), "error", ("stress", name)) for name in rows[0]["stress"]]
        body += ["<h2>Stress tests</h2>", _panel(heat_table(rows, columns), f"Error in %. {_HEAT}")]
        body += [figure_block("bars", plots.comparison_bars(rows), "Errors of the runs", _BARS)]
    if command:
        body += [f"<h2>Again</h2><div class='panel'><p>To get these runs again:</p><pre>{escape(command)}</pre></div>"]
    versions = ", ".join(sorted({str(result.get("mollax", "")) for results in groups.values() for result in results}))
    return page(f"{title} – mollax", body, f"Written from results of mollax {escape(versions)}.")


def findings(rows: Sequence[Row]) -> list[str]:
    """What came out, in sentences: the best run on clean and on corrupted images, and its margin over the first."""
    sentences = []
    for part in parts_of(rows):
        known = [row for row in rows if math.isfinite(value(row, "error", part))]
        if not known:
            continue
        best = min(known, key=lambda row: value(row, "error", part))
        sentence = f"On {part} images “{best['label']}” errs least, on {spread_words(best[part], 'error')} %"
        if best is not rows[0] and rows[0] in known:
            sentence += f"; “{rows[0]['label']}” on {spread_words(rows[0][part], 'error')} %"
        sentences.append(sentence + ".")
    return sentences


def heat_table(rows: Sequence[Row], columns: Sequence[Column], *, shaded: bool = True) -> str:
    """A table in HTML, a line for each run: mean and deviation, the best of each column in bold.

    Args:
      rows: of `comparison_rows`.
      columns: title (HTML), metric, and the keys that lead to its spreads in a row.
      shaded: whether each column is colored from its best run (plain) to its worst.
    """
    lines = [[escape(row["label"])] for row in rows]
    for _, metric, keys in columns:
        words = [spread_words(lookup(row, keys), metric) for row in rows]
        values = [value(row, metric, *keys) for row in rows]
        known = [number for number in values if math.isfinite(number)]
        low, high = (min(known), max(known)) if known else (0.0, 0.0)
        best = words[values.index(low)].partition(" ± ")[0] if len(known) > 1 else ""
        for line, text, number in zip(lines, words, values, strict=True):
            mean, _, sd = text.partition(" ± ")
            cell = (f"<b>{mean}</b>" if mean == best else mean) + (f"<small>± {sd}</small>" if sd else "")
            shade = (number - low) / (high - low) if high > low and math.isfinite(number) else 0.0
            line.append(f"<td class='heat' style='--e:{DEEPEST * shade:.2f}'>{cell}</td>" if shaded else cell)
    return html_rows(["run", *(title for title, _, _ in columns)], lines)


def _summary(rows: Sequence[Row]) -> str:
    heads = {"error": "error %", "nll": "NLL", "ece": "ECE %"}
    columns = [(f"{part} {heads[metric]}", metric, (part,)) for part in parts_of(rows) for metric in METRICS]
    return heat_table(rows, columns, shaded=False)


def _corruption_section(rows: Sequence[Row], groups: Mapping[str, Sequence[Results]]) -> list[str]:
    first = next(row for row in rows if "corrupted" in row)
    by_group: list[Column] = [("clean", "error", ("clean",))]
    by_group += [
        (f"{escape(group)} ({len(block['names'])})", "error", ("groups", group))
        for group, block in first["groups"].items()
    ]
    by_group.append((f"mean of {len(first['corruptions'])}", "error", ("corrupted",)))
    singly: list[Column] = [
        (_head(name, group), "error", ("corruptions", name))
        for group, block in first["groups"].items()
        for name in block["names"]
    ]
    note = f"Error in % on clean test images and under corruption. {_HEAT}"
    if left_out := uncommon_corruptions(groups):
        words = ", ".join(corruption_words(name) for name in left_out)
        note += f" Left out, because not every run has them: {escape(words)}."
    every_note = f"Error in %, means over five severities. {_HEAT} {_FROST}"
    parts = [
        "<h2>Corruptions</h2>",
        _panel(heat_table(rows, by_group), note),
        figure_block("bars", plots.comparison_bars(rows), "Errors of the runs", _BARS),
        figure_block("slopes", plots.clean_corrupted_slopes(rows), "From clean to corrupted", _SLOPES),
        figure_block("severities", plots.severity_comparison(rows), "Severity curves", _SEVERITIES),
        "<h2>Every corruption</h2>",
        f"<div class='dense'>{_panel(heat_table(rows, singly), every_note)}</div>",
    ]
    if len(first["corruptions"]) >= 3:
        figure = plots.corruption_polygons(rows)
        parts.append(figure_block("polygons", figure, "Polygons of corruptions", _POLYGONS))
    if sum("corrupted" in row for row in rows) > 1:
        parts.append(figure_block("against", plots.severity_polygons(rows), "One run against others", _AGAINST))
    return parts


def _head(name: str, group: str) -> str:
    """ "Gaussian" over a small "noise": what tells a corruption apart, over its group."""
    return f"{escape(corruption_words(name).split()[0])}<small>{escape(group)}</small>"


def _panel(table: str, note: str) -> str:
    return f"<div class='panel'><div class='scroll'>{table}</div><p class='small'>{note}</p></div>"


def _subtitle(groups: Mapping[str, Sequence[Results]]) -> str:
    every = [result for results in groups.values() for result in results]
    names = sorted({str((result.get("data") or {}).get("name", "")) for result in every} - {""})
    counts = sorted({int(result["corruptions"]["images"]) for result in every if result.get("corruptions")})
    parts = [f"data {', '.join(names)}"] if names else []
    if counts:
        parts.append(f"corruptions on {' or '.join(f'{count:,}' for count in counts)} test images")
    return " · ".join(parts)


_LOWER = "Lower is better everywhere."
_HEAT = "Each column is shaded from its best to its worst run; the best is bold."
_BARS = (
    "Shorter is better; the best of each column is dark. Whiskers are one standard deviation over seeds: differences "
    "smaller than that may be chance."
)
_SLOPES = (
    "The left end of a line is the value on clean images, the right end on the same images corrupted, averaged over "
    "all test corruptions and severities. Flat lines are robust runs. Whiskers: one standard deviation over seeds."
)
_SEVERITIES = (
    "How error, NLL and calibration suffer as corruptions grow, averaged over all test corruptions and over each "
    "group; severity 0 is the same images untouched. Bands: one standard deviation over seeds."
)
_POLYGONS = "The mean over five severities of each corruption; the smaller the shape, the better the run."
_AGAINST = (
    "Each mark is one corruption at one severity: from triangles (severity 1) to heptagons (5). Marks below the dashed "
    "diagonal are where the run named at the left errs less than the one named below."
)
_FROST = "Frost is drawn by mollax, so that its column and the means are close to, not equal to, published ones."
