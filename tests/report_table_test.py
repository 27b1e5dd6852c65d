"""Numbers as words and tables: conversions by hand, gaps, markup, and wording that follows the numbers."""

from __future__ import annotations

import copy
import io
import math
from html.parser import HTMLParser
from typing import Any

import pytest
import rich.console
import rich.table

from mollax.report import headline, markdown_table, terminal_table
from mollax.report.table import (
    BEST_CLASSES,
    COLUMNS,
    MAX_CLASS_COLUMNS,
    WORST_CLASSES,
    decimal,
    html_class_table,
    html_table,
    interval,
    percent,
)

CLEAN: dict[str, Any] = {
    "n": 360,
    "error": 0.02778,
    "nll": 0.1234,
    "brier": 0.0456,
    "ece": 0.0191,
    "adaptive_ece": 0.0177,
    "per_class_error": [0.0, 0.5, None],
    "reliability": {
        "edges": [0, 0.5, 1],
        "confidence": [0.4, 0.95],
        "accuracy": [0.3, 0.9],
        "count": [10, 350],
    },
    "interval": {"error": [0.0111, 0.0444], "nll": [0.08, 0.17], "brier": [0.03, 0.06], "ece": [0.01, 0.03]},
    "scaled": {"temperature": 1.31, "nll": 0.11, "ece": 0.0123, "brier": 0.045, "adaptive_ece": 0.012},
}
RESULTS: dict[str, Any] = {
    "name": "digits",
    "step": 1600,
    "temperature": 1.31,
    "data": {"class_names": ["zero", "<script>one", "two"]},
    "evaluations": {
        "clean": CLEAN,
        "noise_t0.25": {**CLEAN, "error": 0.1, "per_class_error": [0.25, 0.125, None]},
        "contrast_0.3": {"n": None, "error": 0.4, "nll": None, "ece": math.nan},
    },
    "descriptions": {"clean": "test images as they are"},
}


class Cells(HTMLParser):
    """Collects the text of a table's cells, row by row, whatever the number of tables."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


def changed(**changes: Any) -> dict[str, Any]:
    """RESULTS with other numbers for "clean", alone."""
    results = copy.deepcopy(RESULTS)
    results["evaluations"] = {"clean": {**CLEAN, **changes}}
    return results


@pytest.mark.parametrize("missing", [None, math.nan])
def test_missing_numbers_are_dashes(missing: float | None) -> None:
    assert decimal(missing) == percent(missing) == "–"
    assert interval([missing, 1.0]) == interval(None) == interval([]) == ""


def test_numbers_by_hand() -> None:
    assert percent(0.02778) == "2.78"
    assert percent(0.5, 0) == "50"
    assert decimal(1.2345, 3) == "1.234"
    assert interval([0.0111, 0.0444], scale=100.0) == "1.11 to 4.44"


def test_plain_table_is_aligned_and_free_of_control_codes() -> None:
    text = terminal_table(RESULTS, tty=False)
    assert isinstance(text, str)
    assert all(line.isprintable() for line in text.splitlines())
    title, head, rule, *rows = text.splitlines()
    assert title == "digits at step 1,600, temperature 1.31"
    assert head.split("  ")[0] == "evaluation"
    assert set(rule) == {"-", " "}
    assert rows[0].split() == ["clean", "2.78", "0.123", "0.046", "1.91", "1.23", "360"]
    assert rows[2].split() == ["contrast_0.3", "40.00", "–", "–", "–", "–", "–"]
    assert len({len(line) for line in (head, rule, *rows)}) == 1


def test_terminal_table_keeps_square_brackets_and_fits_eighty_columns() -> None:
    results = copy.deepcopy(RESULTS)
    results["evaluations"]["[red]odd[/red]"] = CLEAN
    table = terminal_table(results, tty=True)
    assert isinstance(table, rich.table.Table)
    buffer = io.StringIO()
    console = rich.console.Console(file=buffer, width=80, no_color=True)
    console.print(table)
    printed = buffer.getvalue()
    for words in ("[red]odd[/red]", "contrast_0.3", "2.78", "ECE % scaled"):
        assert words in printed


def test_output_that_is_no_terminal_gets_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(terminal_table(RESULTS), str)


def test_markdown_table_by_hand() -> None:
    results = {"evaluations": {"a|b\n": CLEAN}}
    assert markdown_table(results) == (
        "| evaluation | error % | NLL | Brier | ECE % | ECE % scaled | n |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        "| a\\|b | 2.78 | 0.123 | 0.046 | 1.91 | 1.23 | 360 |\n"
    )
    assert len(COLUMNS) == 7


def test_headline_says_error_calibration_and_stress() -> None:
    first, second, third = headline(RESULTS)
    assert first == "On 360 test images the classifier errs on 2.8 % (95 % interval 1.1 to 4.4 %)."
    assert second == (
        "Its stated confidence is off by 1.9 points on average (ECE), mostly by being too sure; "
        "one temperature, T = 1.31, fitted on validation, brings this to 1.2 points."
    )
    assert third == ("Under 2 stress tests the error runs from 10.0 % (noise_t0.25) to 40.0 % (contrast_0.3).")


@pytest.mark.parametrize(
    "after, words",
    [
        (0.0123, "brings this to 1.2"),
        (0.0192, "leaves this at 1.9"),
        (0.03, "does not help here and makes this 3.0"),
    ],
)
def test_headline_judges_temperature_scaling_by_its_outcome(after: float, words: str) -> None:
    assert words in headline(changed(scaled={"temperature": 1.31, "ece": after}))[1]


@pytest.mark.parametrize(
    "confidence, accuracy, words",
    [
        ([0.4, 0.9], [0.3, 0.8], ", mostly by being too sure;"),
        ([0.3, 0.8], [0.4, 0.9], ", mostly by being too modest;"),
        ([0.3, 0.9], [0.4, 0.8], "(ECE);"),
        ([None, None], [None, None], "(ECE);"),
    ],
)
def test_headline_leaning(confidence: list[float | None], accuracy: list[float | None], words: str) -> None:
    bins = {"edges": [0, 0.5, 1], "confidence": confidence, "accuracy": accuracy, "count": [50, 50]}
    assert words in headline(changed(reliability=bins))[1]


def test_headline_leaves_out_what_is_not_known() -> None:
    bare = {"evaluations": {"stress": {"error": 0.25}}}
    assert headline(bare) == ["On the test images (stress) the classifier errs on 25.0 %."]
    alone = headline(changed(scaled=None))
    assert len(alone) == 2
    assert alone[1].endswith("too sure.")
    one = {"evaluations": {"clean": CLEAN, "blur": {"error": 0.5}}}
    assert headline(one)[2] == "Under the stress test blur the error is 50.0 %."


@pytest.mark.parametrize("results", [{}, {"evaluations": {}}, {"evaluations": None}])
def test_no_evaluation_is_an_error(results: dict[str, Any]) -> None:
    for function in (terminal_table, markdown_table, headline, html_table, html_class_table):
        with pytest.raises(ValueError, match="at least one evaluation"):
            function(results)


def test_html_table_has_every_number() -> None:
    head, clean, _, contrast = Cells(html_table(RESULTS)).rows
    assert len(head) == len(clean) == len(contrast) == 9
    assert clean == [
        "cleantest images as they are",
        "2.781.11 to 4.44",
        "0.1230.080 to 0.170",
        "0.0460.030 to 0.060",
        "1.911.00 to 3.00",
        "1.77",
        "0.110",
        "1.23",
        "360",
    ]
    assert contrast == ["contrast_0.3", "40.00", *["–"] * 7]


def test_class_table_is_ordered_escaped_and_has_dashes() -> None:
    html = html_class_table(RESULTS)
    assert "<script>" not in html
    assert Cells(html).rows == [
        ["class", "clean", "noise_t0.25"],
        ["<script>one", "50.0", "12.5"],
        ["zero", "0.0", "25.0"],
        ["two", "–", "–"],
    ]
    assert "--e:0.50" in html


def test_class_table_of_200_classes_shows_worst_best_and_all() -> None:
    errors = [i / 200 for i in range(199)] + [None]
    results = {"evaluations": {f"e{i}": {"per_class_error": errors} for i in range(9)}}
    html = html_class_table(results)
    rows = [row for row in Cells(html).rows if row[0] != "class"]
    names = [row[0] for row in rows]
    assert names[:WORST_CLASSES] == [f"class {i}" for i in range(198, 198 - WORST_CLASSES, -1)]
    assert names[WORST_CLASSES : WORST_CLASSES + BEST_CLASSES] == [f"class {i}" for i in (4, 3, 2, 1, 0)]
    assert len(names) == WORST_CLASSES + BEST_CLASSES + 200
    assert names[-1] == "class 199", "a class without test images comes last"
    assert {len(row) for row in rows} == {1 + MAX_CLASS_COLUMNS}
    assert "<summary>All 200 classes</summary>" in html


def test_class_table_of_one_class_and_of_none() -> None:
    assert Cells(html_class_table(changed(per_class_error=[0.0]))).rows[1:] == [["zero", "0.0"]]
    assert html_class_table(changed(per_class_error=None)) == ""


def test_headline_applies_no_temperature_that_validation_does_not_determine():
    sentence = headline({**RESULTS, "temperature": 1.0, "temperature_fit": "lower bound"})[1]
    assert sentence.endswith("the validation images do not determine a temperature (lower bound), so none is applied.")
    assert "T = 1.31" in headline({**RESULTS, "temperature_fit": "interior"})[1]
