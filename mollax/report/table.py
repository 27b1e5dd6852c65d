"""The numbers of an evaluation as words and tables: for the terminal, for Markdown, and for the HTML report.

Errors, ECE and Brier scores arrive as fractions in [0, 1]; tables show errors and ECE in percent. NLL is in
nats. A number that is missing (None or NaN) is shown as a dash, never as zero.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from rich.table import Table
from rich.text import Text

DASH = "–"
WORST_CLASSES, BEST_CLASSES, MAX_CLASS_COLUMNS = 20, 5, 6
COLUMNS = ("evaluation", "error %", "NLL", "Brier", "ECE %", "ECE % scaled", "n")


def as_float(value: Any) -> float:
    """`value` as a float, with NaN for None."""
    return math.nan if value is None else float(value)


def decimal(value: Any, digits: int = 2) -> str:
    """`value` with a fixed number of decimals, or a dash where there is none."""
    number = as_float(value)
    return DASH if math.isnan(number) else f"{number:.{digits}f}"


def percent(value: Any, digits: int = 2) -> str:
    """A fraction in percent, without the sign: 0.028 is "2.80"."""
    return decimal(100 * as_float(value), digits)


def interval(bounds: Any, *, scale: float = 1.0, digits: int = 2) -> str:
    """A pair (low, high) times `scale` as "1.11 to 4.44", or "" where a bound is missing."""
    if bounds is None or len(bounds) != 2 or any(math.isnan(as_float(bound)) for bound in bounds):
        return ""
    low, high = (scale * float(bound) for bound in bounds)
    return f"{low:.{digits}f} to {high:.{digits}f}"


def evaluations_of(results: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """The evaluations by name; raises ValueError if there are none, for then there is nothing to report."""
    evaluations = results.get("evaluations")
    if not evaluations:
        raise ValueError(
            "results['evaluations'] must hold at least one evaluation by name, such as 'clean'; "
            f"got {evaluations!r}. Evaluate before reporting."
        )
    return evaluations


def main_evaluation(results: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Name and numbers of the evaluation that leads the report: "clean", or the first one without it."""
    evaluations = evaluations_of(results)
    name = "clean" if "clean" in evaluations else next(iter(evaluations))
    return name, evaluations[name]


def _row(name: str, evaluation: Mapping[str, Any]) -> tuple[str, ...]:
    scaled = evaluation.get("scaled") or {}
    count = evaluation.get("n")
    return (
        name,
        percent(evaluation.get("error")),
        decimal(evaluation.get("nll"), 3),
        decimal(evaluation.get("brier"), 3),
        percent(evaluation.get("ece")),
        percent(scaled.get("ece")),
        DASH if count is None else f"{int(count):,}",
    )


def table_rows(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One row of strings for each evaluation, under `COLUMNS`."""
    return [_row(name, evaluation) for name, evaluation in evaluations_of(results).items()]


def table_title(results: Mapping[str, Any]) -> str:
    """What was evaluated, such as "digits at step 600, temperature 1.30"."""
    words = str(results.get("name", "evaluation"))
    if results.get("step") is not None:
        words += f" at step {int(results['step']):,}"
    if not math.isnan(as_float(results.get("temperature"))):
        words += f", temperature {decimal(results['temperature'])}"
    return words


def terminal_table(results: Mapping[str, Any], *, tty: bool | None = None) -> Table | str:
    """The closing table of a run: a `rich` table on a terminal, aligned plain text elsewhere (a log, a pipe).

    Args:
      results: the content of `results.json`.
      tty: whether the reader is a terminal; None asks standard output.

    Raises:
      ValueError: if there is no evaluation.
    """
    rows = table_rows(results)
    if not (sys.stdout.isatty() if tty is None else tty):
        return f"{table_title(results)}\n{_aligned([COLUMNS, *rows])}"
    table = Table(title=Text(table_title(results)), title_justify="left", header_style="bold")
    for column in COLUMNS:
        table.add_column(Text(column), justify="left" if column == "evaluation" else "right")
    main, _ = main_evaluation(results)
    for row in rows:
        # Text, not str: square brackets in a name are no markup.
        table.add_row(*(Text(cell) for cell in row), style="bold" if row[0] == main else None)
    return table


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def markdown_table(results: Mapping[str, Any]) -> str:
    """The same table in Markdown, for a README or an issue; ends with a newline.

    Raises:
      ValueError: if there is no evaluation.
    """
    lines = [COLUMNS, ("---", *["---:"] * (len(COLUMNS) - 1)), *table_rows(results)]
    return "".join("| " + " | ".join(_one_line(cell) for cell in line) + " |\n" for line in lines)


def _one_line(cell: str) -> str:
    return " ".join(cell.replace("\\", "\\\\").replace("|", "\\|").split())


def headline(results: Mapping[str, Any]) -> list[str]:
    """The outcome in plain sentences: error and interval, calibration before and after scaling, stress range.

    Raises:
      ValueError: if there is no evaluation.
    """
    name, main = main_evaluation(results)
    images = f"{int(main['n']):,} test images" if main.get("n") is not None else "the test images"
    if name != "clean":
        images += f" ({name})"
    bounds = interval((main.get("interval") or {}).get("error"), scale=100.0, digits=1)
    sentences = [
        f"On {images} the classifier errs on {percent(main.get('error'), 1)} %"
        + (f" (95 % interval {bounds} %)." if bounds else ".")
    ]
    if not math.isnan(as_float(main.get("ece"))):
        sentences.append(_calibration_sentence(main, results.get("temperature"), results.get("temperature_fit")))
    stresses = {
        key: as_float(value.get("error"))
        for key, value in evaluations_of(results).items()
        if key != name and not math.isnan(as_float(value.get("error")))
    }
    if stresses:
        sentences.append(_stress_sentence(stresses))
    if "mean" in (results.get("corruptions") or {}):
        sentences.append(_corruption_sentence(results["corruptions"]))
    return sentences


def corruption_words(name: str) -> str:
    """ "Gaussian noise" for "gaussian_noise"; JPEG stays in capitals."""
    return name.replace("_", " ").capitalize().replace("Jpeg", "JPEG")


def benchmark_names(block: Mapping[str, Any]) -> list[str]:
    """The test corruptions that the block "corruptions" of results.json has, in the order of the benchmark."""
    return [name for group in block["groups"].values() for name in group["names"]]


def _corruption_sentence(block: Mapping[str, Any]) -> str:
    errors = {name: as_float(block["corruptions"][name]["error"]) for name in benchmark_names(block)}
    worst = max(errors, key=errors.__getitem__)
    mean, relative = block["mean"], block.get("relative")
    sentence = (
        f"Over {len(errors)} corruptions at 5 severities the error is {percent(mean['error'], 1)} % on average and the "
        f"ECE {percent(mean['ece'], 1)} %; the worst is {corruption_words(worst)} with {percent(errors[worst], 1)} %."
    )
    if relative is None:
        return sentence
    what = "the mCE" if relative["baseline"] == "alexnet" and len(errors) == 15 else "that is"
    return f"{sentence} Relative to {relative['baseline']}, {what} {percent(relative['mean'], 1)} %."


def _stress_sentence(stresses: Mapping[str, float]) -> str:
    mild, hard = min(stresses, key=stresses.__getitem__), max(stresses, key=stresses.__getitem__)
    if len(stresses) == 1:
        return f"Under the stress test {mild} the error is {percent(stresses[mild], 1)} %."
    return (
        f"Under {len(stresses)} stress tests the error runs from {percent(stresses[mild], 1)} % ({mild}) "
        f"to {percent(stresses[hard], 1)} % ({hard})."
    )


def _calibration_sentence(evaluation: Mapping[str, Any], temperature: Any, fit: Any) -> str:
    ece = as_float(evaluation["ece"])
    words = f"Its stated confidence is off by {percent(ece, 1)} points on average (ECE){_leaning(evaluation)}"
    scaled = evaluation.get("scaled") or {}
    after = as_float(scaled.get("ece"))
    heat = as_float(temperature if temperature is not None else scaled.get("temperature"))
    if math.isnan(after) or math.isnan(heat):
        return words + "."
    if fit not in (None, "interior"):
        return f"{words}; the validation images do not determine a temperature ({fit}), so none is applied."
    if percent(after, 1) == percent(ece, 1):
        verb = "leaves this at"
    else:
        verb = "brings this to" if after < ece else "does not help here and makes this"
    return f"{words}; one temperature, T = {heat:.2f}, fitted on validation, {verb} {percent(after, 1)} points."


def _leaning(evaluation: Mapping[str, Any]) -> str:
    """Over- or under-confidence, said only where it makes up most of the ECE."""
    bins = evaluation.get("reliability") or {}
    total, lean, gap = 0.0, 0.0, 0.0
    for count, confidence, accuracy in zip(
        bins.get("count", ()), bins.get("confidence", ()), bins.get("accuracy", ()), strict=True
    ):
        difference = as_float(confidence) - as_float(accuracy)
        if count and not math.isnan(difference):
            total, lean, gap = total + count, lean + count * difference, gap + count * abs(difference)
    if total == 0 or gap == 0 or abs(lean) < 0.6 * gap:
        return ""
    return ", mostly by being too sure" if lean > 0 else ", mostly by being too modest"


def html_table(results: Mapping[str, Any]) -> str:
    """The results as an HTML table: one evaluation a row with its description, 95 % intervals in small print.

    Raises:
      ValueError: if there is no evaluation.
    """
    head = (
        "evaluation",
        "error %",
        "NLL",
        "Brier",
        "ECE %",
        "adaptive ECE %",
        "NLL scaled",
        "ECE % scaled",
        "n",
    )
    descriptions = results.get("descriptions") or {}
    rows = []
    for name, evaluation in evaluations_of(results).items():
        bounds, scaled = evaluation.get("interval") or {}, evaluation.get("scaled") or {}
        measured = (
            percent(evaluation.get(key)) + _small(interval(bounds.get(key), scale=100.0))
            if key in ("error", "ece")
            else decimal(evaluation.get(key), 3) + _small(interval(bounds.get(key), digits=3))
            for key in ("error", "nll", "brier", "ece")
        )
        rows.append(
            (
                escape(name) + _small(escape(str(descriptions.get(name, "")))),
                *measured,
                percent(evaluation.get("adaptive_ece")),
                decimal(scaled.get("nll"), 3),
                percent(scaled.get("ece")),
                DASH if evaluation.get("n") is None else f"{int(evaluation['n']):,}",
            )
        )
    return html_rows(head, rows)


def html_class_table(results: Mapping[str, Any]) -> str:
    """Error per class and evaluation in HTML, worst first; "" where no class errors are known.

    More than `WORST_CLASSES` + `BEST_CLASSES` classes are shown as the worst, the best and a folded full
    list; of the evaluations the first `MAX_CLASS_COLUMNS`. Classes without a test image come last.

    Raises:
      ValueError: if there is no evaluation.
    """
    name, main = main_evaluation(results)
    errors = [as_float(error) for error in main.get("per_class_error") or ()]
    if not errors:
        return ""
    names = [str(word) for word in (results.get("data") or {}).get("class_names") or ()]
    names += [f"class {i}" for i in range(len(names), len(errors))]
    columns = {
        key: evaluation["per_class_error"]
        for key, evaluation in evaluations_of(results).items()
        if len(evaluation.get("per_class_error") or ()) == len(errors)
    }
    columns = dict(list(columns.items())[:MAX_CLASS_COLUMNS])
    known = sorted((i for i, error in enumerate(errors) if not math.isnan(error)), key=lambda i: (-errors[i], i))
    order = known + [i for i, error in enumerate(errors) if math.isnan(error)]

    def table(chosen: Iterable[int]) -> str:
        rows = [[escape(names[i]), *(heat_cell(values[i]) for values in columns.values())] for i in chosen]
        return html_rows(["class", *map(escape, columns)], rows)

    if len(errors) <= WORST_CLASSES + BEST_CLASSES:
        intro = f"Error in %, ordered by the error on {escape(name)}, the worst class first."
        return f"<p class='small'>{intro}</p>{table(order)}"
    return (
        f"<p class='small'>Error in %. The {WORST_CLASSES} classes that fare worst on {escape(name)}:</p>"
        f"{table(order[:WORST_CLASSES])}"
        f"<p class='small'>The {BEST_CLASSES} that fare best:</p>{table(known[-BEST_CLASSES:])}"
        f"<details><summary>All {len(errors):,} classes</summary>{table(order)}</details>"
    )


def html_rows(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """An HTML table of cells that are HTML already (escape first); a cell may bring its own `<td`."""
    titles = "".join(f"<th scope='col'>{cell}</th>" for cell in head)
    lines = (
        "<tr>" + "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in row) + "</tr>\n"
        for row in rows
    )
    return f"<table><thead><tr>{titles}</tr></thead><tbody>\n{''.join(lines)}</tbody></table>"


def _small(text: str) -> str:
    return f"<small>{text}</small>" if text else ""


def heat_cell(error: Any) -> str:
    """A cell the more deeply colored, the higher the error."""
    number = as_float(error)
    if math.isnan(number):
        return DASH
    return f"<td class='heat' style='--e:{min(max(number, 0.0), 1.0):.2f}'>{percent(number, 1)}</td>"
