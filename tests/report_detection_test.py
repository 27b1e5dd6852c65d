"""The report's section on out-of-distribution detection: its tables, sentences and notes, and missing parts."""

from __future__ import annotations

import copy
import json
import re
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from report_html_test import EVIL, Page, report

from mollax import metrics
from mollax.evaluators import SCORES
from mollax.evaluators.detection import TPR, DetectionEvaluator
from mollax.report import detection, report_html
from mollax.report.detection import detection_headline, detection_section, detection_table

# How far apart scores and sets are, in standard deviations of known images.
STRENGTHS = {
    "msp": 0.7,
    "energy": 0.9,
    "odin": 0.8,
    "mahalanobis:shrinkage=0.01": 0.5,
    "knn": 1.0,
    "ash:variant=s,negative=clip": 0.85,
    "rankfeat": 0.1,
    "tv": 1.2,
    "tv:variant=extra": 1.1,
}
SETS = {"digits 6-9": ("near", 1.3), "fashion": ("far", 2.6), "noise": ("far", 4.5), "fog:3": ("shifted", 0.4)}
NOTE = "60 images that training holds too are left out"
NEEDS = {"odin": "images", "rankfeat": "feature_maps", "tv": "critic"}


@cache
def detected(scores: int = 9, sets: int = 4, images: int = 400, resamples: int = 40) -> dict[str, Any]:
    """The block of results.json as `DetectionEvaluator` makes it, of scores drawn from normal distributions."""
    rng = np.random.default_rng(0)
    chosen = list(STRENGTHS)[:scores]
    groups = dict(list(SETS.items())[:sets]) | {f"more {i}": ("far", 2.0) for i in range(len(SETS), sets)}
    strange = {name: rng.normal(size=images // 2 + 10 * i) for i, name in enumerate(groups)}
    known, validation = rng.normal(size=images), rng.normal(size=images // 4)
    values, rows = {}, []
    for text in chosen:
        scale = 10.0 if text.startswith("mahalanobis") else 1.0

        def noisy(base: np.ndarray, scale: float = scale) -> np.ndarray:
            return (scale * (base + 0.4 * rng.normal(size=len(base)))).astype(np.float32)

        values[text] = {"validation": noisy(validation), "test": noisy(known)}
        for name, (_, far) in groups.items():
            values[text][f"set {name}"] = noisy(strange[name] + far * STRENGTHS[text])
        threshold = metrics.accept_threshold(values[text]["validation"], share=TPR)
        rows.append(
            {
                "name": text,
                "needs": NEEDS.get(text.partition(":")[0], "features"),
                "chosen": {"epsilon": 0.0014} if text == "odin" else {},
                "threshold": threshold,
                "accepted": float((values[text]["test"] <= threshold).mean()),
                "microseconds": 250.0 if text == "odin" else 1.24,
            }
        )
    evaluator: Any = SimpleNamespace(
        _sets=strange,
        _groups={name: group for name, (group, _) in groups.items()},
        _notes={name: (NOTE,) if name == "fashion" else () for name in groups},
        _train=range(3000),
        _test=known,
        _dataset=SimpleNamespace(validation=validation),
        _resamples=resamples,
    )
    left_out = {"vim": "features span 3 < 10 dimensions"}
    return {**DetectionEvaluator._block(evaluator, rows, values), "left_out": left_out}


def block(**options: Any) -> dict[str, Any]:
    """A copy that a test may change."""
    return copy.deepcopy(detected(**options))


def results(**options: Any) -> dict[str, Any]:
    return {"ood": block(**options)}


def page_of(found: dict[str, Any]) -> str:
    return "".join(detection_section({"ood": found}))


@pytest.fixture(scope="module")
def source() -> str:
    """The section of the usual block."""
    return page_of(block())


def lines_of(table: str) -> list[list[str]]:
    """Text of the cells of every line of a table."""
    lines = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    return [
        [re.sub(r"<[^>]+>", "|", cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", line)] for line in lines
    ]


def main_table(source: str) -> list[list[str]]:
    return lines_of(source[source.index("<div class='panel dense'>") :].partition("</table>")[0])


def test_the_main_table_has_the_numbers_of_the_block(source):
    found = block()
    rows = main_table(source)
    assert [cell.strip("|") for cell in rows[0][2:]] == [
        "mean of 2 far sets",
        *(f"{name}|{group}" for name, (group, _) in SETS.items()),
    ]
    assert rows[1][2:4] == ["FPR95", "AUROC"]
    assert len(rows[2]) == 2 + 2 * 5
    cell = found["table"]["tv"]["digits 6-9"]
    assert rows[2][0] == "tv"
    assert rows[2][4].replace("|", " ").split() == [
        f"{100 * cell['fpr_at_tpr_id']:.1f}",
        "▲",
        "{:.1f}–{:.1f}".format(*(100 * bound for bound in cell["intervals"]["fpr_at_tpr"])),
    ]
    assert rows[2][5].replace("|", " ").split()[0] == f"{100 * cell['auroc']:.1f}"
    far = [found["table"]["tv"][name]["fpr_at_tpr_id"] for name in ("fashion", "noise")]
    assert rows[2][2].strip("|") == f"{50 * sum(far):.1f}"
    by_name = {row[0].split("|")[0]: row for row in rows[2:]}
    assert by_name["odin"][1] == "250.0"
    assert "epsilon 0.0014 chosen on validation; with its own passes" in by_name["odin"][0]
    assert "the first: the reference" in by_name["msp"][0]
    assert by_name["rankfeat"][5].replace("|", " ").split()[1] == "▼"
    assert not any(mark in cell for cell in by_name["msp"] for mark in "▲▼")


def test_the_best_number_of_every_column_is_bold(source):
    table = source[source.index("<div class='panel dense'>") :].partition("</table>")[0]
    lines = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)[2:]
    cells = [line.split("<td>")[3:] for line in lines]
    for column, line in enumerate(zip(*cells, strict=True)):
        shown = [float(re.sub("<[^>]+>", " ", cell).split()[0]) for cell in line]
        top = max(shown) if column % 2 else min(shown)  # FPR95 and AUROC by turns
        assert ["<b>" in cell for cell in line] == [number == top for number in shown]
    assert "<b>" not in page_of(block(scores=1, sets=1)).partition("<details")[0]


def test_words_say_what_is_positive_and_what_the_sets_are(source):
    page = Page(source)
    for words in (
        "known images are the positives",
        "FPR95: the share of a set that is accepted where 95 % of the known test images are",
        "Known are 400 test images",
        "fitted on 3,000 training images",
        "from 100 validation images",
        NOTE,
        "vim could not be fitted and is left out: features span 3 < 10 dimensions",
        "▲ and ▼: better or worse than msp",
        "plain softmax",
    ):
        assert words in page.text, words
    assert "vim" not in page.text.partition("What the scores look at")[2]
    assert set(detection.MEANINGS) == set(SCORES), "every score is explained"


def test_folded_tables_have_thresholds_and_both_precisions(source):
    found = block()
    folded = source.partition("<details")[2]
    stored, near = (lines_of(table) for table in folded.split("</table>")[:2])
    row, cell = found["scores"][-2], found["table"]["tv"]["digits 6-9"]
    assert row["name"] == "tv"
    shares = [f"{100 * share:.1f}" for share in (row["accepted"], cell["flagged"])]
    assert stored[1][:4] == ["tv", f"{row['threshold']:.4g}", *shares]
    keys = ("aupr_id", "aupr_ood", "adjusted_aupr_id", "adjusted_aupr_ood", "fpr_at_tpr_ood")
    assert [words.strip("|") for words in near[1]] == ["tv", *(f"{100 * cell[key]:.1f}" for key in keys)]
    assert near[0][0].strip("|") == "digits 6-9"
    assert folded.count("</table>") == 1 + len(SETS)


def test_the_headline_names_the_best_score_and_what_it_lets_pass():
    found = block()
    tv, cells = found["scores"][-2], found["table"]["tv"]
    area = 100 * np.mean([cells[name]["auroc"] for name in list(SETS)[:3]])
    first = 100 * np.mean([found["table"]["msp"][name]["auroc"] for name in list(SETS)[:3]])
    near = 100 * (1 - cells["digits 6-9"]["flagged"])
    far = 100 * (1 - np.mean([cells[name]["flagged"] for name in ("fashion", "noise")]))
    assert detection_headline({"ood": found}) == [
        f"Of 9 scores tv tells unknown from known images best: mean AUROC {area:.1f} % over 3 sets; at its threshold, "
        f"which accepts {100 * tv['accepted']:.0f} % of known test images, {near:.0f} % of near and {far:.0f} % of far "
        "images still pass.",
        f"The first score, msp, has {first:.1f} %; tv is better by more than noise on 3 of 3 sets.",
    ]
    (alone,) = detection_headline(results(scores=1, sets=1))
    assert alone.startswith("The score msp tells unknown from known images: AUROC ")
    assert "on digits 6-9" in alone
    for score in found["table"].values():
        for cell in score.values():
            cell["auroc"] = None
    assert detection_headline({"ood": found}) == []


def test_the_terminal_gets_a_table():
    found = block()
    text = detection_table({"ood": found}, tty=False)
    assert isinstance(text, str)
    title, head, _, *rows = text.splitlines()
    assert title == "Detection: FPR95 / AUROC in %, known images positive"
    assert re.split(r"\s{2,}", head) == ["score", *SETS, "mean"]
    assert len(rows) == 9
    cell = found["table"]["tv"]["fashion"]
    assert re.split(r"\s{2,}", rows[0])[2] == f"{100 * cell['fpr_at_tpr_id']:.1f} / {100 * cell['auroc']:.1f}"
    rich = detection_table({"ood": found}, tty=True)
    assert [str(column.header) for column in rich.columns] == ["score", *SETS, "mean"]
    assert [str(cell) for cell in rich.columns[0].cells][:2] == ["tv", "tv: variant=extra"]
    assert "mean" not in detection_table(results(scores=2, sets=1), tty=False)
    with pytest.raises(ValueError, match="no block 'ood'"):
        detection_table({})


@pytest.mark.parametrize("found", [None, {}, {"scores": [], "sets": []}])
def test_without_the_block_nothing_is_said(found):
    given = {} if found is None else {"ood": found}
    assert detection_section(given) == []
    assert detection_headline(given) == []


def test_missing_parts_are_dashes_and_their_figures_left_out():
    found = block(scores=3, resamples=0)
    del found["left_out"], found["bank"]
    for row in found["scores"]:
        for key in ("histogram", "accepted", "microseconds", "chosen", "needs"):
            del row[key]
        row["threshold"] = None
    for cells in found["table"].values():
        for cell in cells.values():
            del cell["curve"], cell["flagged"], cell["aupr_ood"]
        cells["noise"] = None
    page = Page(page_of(found))
    assert page.tags.count("figure") == 1
    assert "▲" not in page.text
    assert "fitted on – training images" in page.text
    assert "nan" not in page.text.lower()
    (headline, _) = detection_headline({"ood": found | {"sets": found["sets"][:2]}})
    assert headline.endswith(" over 2 sets.")
    assert "– / –" in detection_table({"ood": found}, tty=False)


def test_names_are_shown_as_they_are_and_cannot_break_the_page():
    found = json.loads(
        json.dumps(block()).replace("digits 6-9", EVIL).replace("fashion", "$x_1$ [bold]").replace('"knn"', '"k<n>n"')
    )
    whole = report()
    whole["results"]["ood"] = found
    source = report_html(**whole)
    page = Page(source)
    assert "script" not in page.tags
    assert source.index("Can it say") < source.index("Can its confidence be trusted?")
    assert "Of 9 scores tv tells" in page.text.partition("Results")[0].replace("\u00a0", " ")
    assert "$x_1$ [bold]" in page.text
    assert "k<n>n" in page.text
    assert len(page.ids) == len(set(page.ids))
    assert "$x_1$ [bold]" in detection_table({"ood": found}, tty=False)


def test_many_sets_and_one_score_make_a_page():
    many = page_of(block(sets=12, scores=2, resamples=0))
    assert "The first 8 of 12 sets." in many
    assert len(main_table(many)[2]) == 2 + 2 * (1 + 12)
    assert page_of(block(scores=1, sets=1)).count("<figure>") == 2, "no dots for a single number"
