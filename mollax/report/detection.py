"""The report's section on out-of-distribution detection, its sentences and its table on the terminal.

All from the block "ood" of results.json, in plain words; see `mollax.report.detection_numbers` for what is counted as
what. The figures are those of `mollax.report.detection_plots`. What was not measured is a dash.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from rich.table import Table
from rich.text import Text

from mollax.report import detection_numbers as numbers
from mollax.report import detection_plots as plots
from mollax.report.detection_numbers import AUROC, FPR, Block
from mollax.report.page import figure_block
from mollax.report.table import DASH, _aligned, as_float, decimal, html_rows, interval, percent

# What a score looks at, for each that mollax has.
MEANINGS = {
    "msp": "how little probability the predicted class gets; plain softmax, what all others should beat.",
    "max_logit": "how small the largest logit is, before the softmax hides its size.",
    "energy": "minus the log-sum-exp of the logits: all of them count, the largest most.",
    "odin": "softmax at a high temperature, after a small step of the pixels that makes the network surer.",
    "generalized_odin": "the confidence part of a head that is split in two, after such a step of the pixels.",
    "mahalanobis": "how far the features are from the nearest class mean, measured in the spread of a class.",
    "relative_mahalanobis": "the same, less how far they are from the mean of all images.",
    "knn": "how far the features are from those of the k-th most similar training image.",
    "ash": "energy after the weak features of the image are pruned and the rest rescaled.",
    "vim": "how much of the features lies where training images have next to nothing, against the logits.",
    "react": "energy after features that are too strong are cut to a common height.",
    "bfact": "energy after strong features are damped smoothly.",
    "rankfeat": "energy after the strongest pattern is taken out of the feature maps.",
    "gradnorm": "how weakly the image would pull the last layer away from even predictions.",
    "drift": "how little of the distribution of training features, each blurred a little, lies where the image's are.",
    "tv": "what a second head says that learned to tell known images from outliers.",
}
_COSTS = {"images": ", with its own passes through the network", "feature_maps": ", with a pass of its own"}
_BETTER, _WORSE = "▲", "▼"

_INTRODUCTION = (
    "A classifier puts every image into one of its classes, even an image that shows none of them. A detection score "
    "says how strange an image looks: low for images like those it learned from (known, or in distribution: ID), high "
    "for others (unknown, or out of distribution: OOD). What lies above a threshold is flagged, the rest accepted."
)
_GROUPS = (
    "Near sets show other things in a similar way and are hard; far ones look altogether different; shifted sets show "
    "known classes, changed, and are in no mean: whether they should be flagged depends on the task."
)
_HISTOGRAMS = (
    "How strange the known test images (blue) and those of a set (orange) look to a score: the less they overlap, the "
    "better. Images to the right of the dashed threshold are flagged; it lets {share} % of validation images pass. "
    "Heights are shares of images and grow with their square root, so that small ones are seen; the outermost bars "
    "hold all that lies beyond. Units differ between scores and mean nothing by themselves."
)
_CURVES = (
    "ROC curves: let the threshold rise, and more known images pass, but more unknown ones too. A good "
    "score goes up the left edge; the dotted diagonal is a coin toss. Dots: where {share} % of known images pass "
    "(dotted line), the part of the unknown that passes is FPR{share}. The area below is the AUROC. Precision curves: "
    "of all that pass, how many are known; dotted, if everything passed. It depends on how many images a set has."
)
_DOTS = (
    "Every score on every set, the best on top (by mean AUROC). Thin strokes are 95 % intervals, shapes tell the "
    "groups apart: diamonds near, circles far, triangles shifted. The dotted line at an AUROC of 50 % is a coin toss."
)
_NOTE = (
    "In percent; known images are the positives. FPR{share}: the share of a set that is accepted where {share} % of "
    "the known test images are; 0 is best. AUROC: the chance that an image of the set looks stranger than a known one; "
    "100 is best, 50 a coin toss. Bold: best of a column. Small print: 95 % intervals over images, not over "
    "training runs. µs: microseconds an image on this machine, after the pass through the network that all share. "
    "Rows are ordered by the mean AUROC on these very sets; to choose a score, trust large differences only."
)
_MARKS = (
    " {better} and {worse}: better or worse than {first} by more than the noise of these images (the 95 % interval of "
    "the difference on the same images is without 0)."
)
_THRESHOLDS = (
    "At the threshold that is stored with a score. It lets {share} % of validation images pass; if the share of test "
    "images that pass is far from this, the two differ. Flagged: share of a set above it."
)
_PRECISION = (
    "AUPR: area under the curve of precision against recall, in percent; higher is better. It depends on which side is "
    "called positive and on how many images each has. Adjusted: as if half of all images were known. FPR{share} with "
    "unknown positive: the share of known images flagged where {share} % of the set are; lower is better."
)


def detection_section(results: Mapping[str, Any]) -> list[str]:
    """The section as parts of the page; none where a run has no block "ood" with a score and a set.

    Raises:
      ValueError: if lists that belong together differ in length.
    """
    block = _block(results)
    if block is None:
        return []
    share = percent(block.get("tpr"), 0)
    parts = ["<h2>Can it say “I don’t know this”?</h2>", f"<p>{_INTRODUCTION}</p>", _sets(block), _main_table(block)]
    first = numbers.score_names(block)[0]
    if len(numbers.score_names(block)) > 1 or len(numbers.set_names(block)) > 1:
        parts.append(figure_block("ood-dots", plots.detection_dots(block), _means_label(block), _DOTS))
    more = len(numbers.set_names(block)) - plots.MAX_PANELS
    rest = f" The first {plots.MAX_PANELS} of {len(numbers.set_names(block))} sets." if more > 0 else ""
    if scores := plots.histogram_scores(block):
        label = f"Histograms of {', '.join(scores)} over known images and each set"
        caption = _HISTOGRAMS.format(share=share) + rest
        parts.append(figure_block("ood-histograms", plots.score_histograms(block), label, caption))
    if scores := plots.curve_scores(block):
        label = f"ROC and precision-recall curves of {', '.join(scores)}"
        caption = _CURVES.format(share=share) + rest
        if len(scores) < len(numbers.score_names(block)):
            caption += f" The best scores and {first}; the others are in the table."
        parts.append(figure_block("ood-curves", plots.detection_curves(block), label, caption))
    return [*parts, _further_tables(block), _meanings(block)]


def _block(results: Mapping[str, Any]) -> Block | None:
    block = results.get("ood") or {}
    return block if numbers.score_names(block) and numbers.set_names(block) else None


def _sets(block: Block) -> str:
    """What was detected, and by what means."""
    left = "style='text-align:left'"
    rows = []
    for row in block["sets"]:
        notes = escape("; ".join(map(str, row.get("notes") or ())) or DASH)
        name, group = (escape(str(row.get(key, DASH))) for key in ("name", "group"))
        rows.append([name, group, _count(row.get("images")), f"<td {left}>{notes}</td>"])
    fitted = (
        f"Known are {_count(block.get('images'))} test images. All scores come from the same trained network; they are "
        f"fitted on {_count(block.get('bank'))} training images and get their thresholds from "
        f"{_count(block.get('validation'))} validation images. The sets below have no part in this. {_GROUPS}"
    )
    table = html_rows(("set", "group", "images", "notes"), rows).replace("<th scope='col'>notes", f"<th {left}>notes")
    return f"<p>{fitted}</p><div class='panel'><div class='scroll'>{table}</div></div>"


def _count(number: Any) -> str:
    return DASH if number is None else f"{int(number):,}"


def _main_table(block: Block) -> str:
    """FPR95 and AUROC by score and set, means of near and far sets, costs, and why scores were left out."""
    scores, first, share = numbers.ranked(block), numbers.score_names(block)[0], percent(block.get("tpr"), 0)
    groups = numbers.set_groups(block)
    columns: list[tuple[str, str, str]] = []
    for group in ("near", "far"):
        count = list(groups.values()).count(group)
        columns += [("", group, f"mean of {count} {group} sets")] * (count > 1)
    columns += [(name, group, "") for name, group in groups.items()]
    costs = {score: decimal(numbers.score_row(block, score).get("microseconds"), 1) for score in scores}
    rows = {score: [_score_cell(block, score), costs[score]] for score in scores}
    for name, group, title in columns:
        for key in (FPR, AUROC):
            column = [
                numbers.mean(block, score, key, group) if title else numbers.value(block, score, name, key)
                for score in scores
            ]
            top = numbers.best(column, high=numbers.HIGH_IS_GOOD[key])
            for score, number in zip(scores, column, strict=True):
                words = _bold(number, top, len(scores))
                rows[score].append(words if title else words + _uncertainty(block, score, name, key))
    over = [title or f"{escape(name)}<small>{escape(group)}</small>" for name, group, title in columns]
    above = "".join(f"<th colspan='2' style='text-align:center'>{words}</th>" for words in over)
    head = ("score", "µs<small>an image</small>", *(f"FPR{share}", "AUROC") * len(columns))
    table = html_rows(head, rows.values())
    table = table.replace("<thead>", f"<thead><tr><th></th><th></th>{above}</tr>", 1)
    note = _NOTE.format(share=share)
    keys = (FPR, AUROC)
    if any(numbers.against_first(block, score, name, key) for score in scores for name in groups for key in keys):
        note += _MARKS.format(better=_BETTER, worse=_WORSE, first=first)
    left_out = "".join(
        f"<p class='small'>{escape(str(score))} could not be fitted and is left out: {escape(str(reason))}</p>"
        for score, reason in (block.get("left_out") or {}).items()
    )
    return (
        f"<div class='panel dense'><div class='scroll'>{table}</div><p class='small'>{escape(note)}</p>{left_out}</div>"
    )


def _score_cell(block: Block, score: str) -> str:
    """A score's name, its options, what was chosen for it and what it costs beyond the shared pass."""
    family, _, options = score.partition(":")
    row = numbers.score_row(block, score)
    words = [options.replace(",", ", ")] if options else []
    words += [f"{name} {as_float(chosen):g} chosen on validation" for name, chosen in (row.get("chosen") or {}).items()]
    if score == numbers.score_names(block)[0] and len(numbers.score_names(block)) > 1:
        words.append("the first: the reference")
    if extra := _COSTS.get(str(row.get("needs"))):
        words.append(extra.removeprefix(", "))
    return escape(family) + (f"<small>{escape('; '.join(words))}</small>" if words else "")


def _bold(number: float, top: float, count: int) -> str:
    """A fraction in percent, bold if it reads like the best of several."""
    words = percent(number, 1)
    return f"<b>{words}</b>" if count > 1 and words == percent(top, 1) and words != DASH else words


def _uncertainty(block: Block, score: str, name: str, key: str) -> str:
    """A mark for what differs from the first score, and the interval in small print."""
    sign = numbers.against_first(block, score, name, key)
    mark, color = {1: (_BETTER, "green"), -1: (_WORSE, "orange"), 0: ("", "muted")}[sign]
    small = interval(numbers.bounds(block, score, name, key), scale=100.0, digits=1).replace(" to ", "–")
    space = f"<span style='display:inline-block;width:1.1em;color:var(--{color})'>{mark}</span>"
    return space + (f"<small>{small}</small>" if small else "")


def _means_label(block: Block) -> str:
    names = numbers.labels(numbers.score_names(block))
    means = (f"{names[score]} {percent(numbers.mean(block, score, AUROC), 1)} %" for score in numbers.ranked(block))
    return f"Mean AUROC of each score: {', '.join(means)}"


def _further_tables(block: Block) -> str:
    """Folded: what happens at the stored thresholds, and areas under precision-recall curves."""
    scores, sets, share = numbers.ranked(block), numbers.set_names(block), percent(block.get("tpr"), 0)
    names = numbers.labels(numbers.score_names(block))
    stored = []
    for score in scores:
        row = numbers.score_row(block, score)
        flagged = (percent(numbers.value(block, score, name, "flagged"), 1) for name in sets)
        threshold = as_float(row.get("threshold"))
        words = DASH if math.isnan(threshold) else f"{threshold:.4g}"
        stored.append([escape(names[score]), words, percent(row.get("accepted"), 1), *flagged])
    head = ("score", "threshold", "% of test accepted", *(f"% of {escape(name)} flagged" for name in sets))
    parts = [f"<p class='small'>{_THRESHOLDS.format(share=share)}</p>", _dense(html_rows(head, stored))]
    columns: dict[str, tuple[str, bool]] = {
        "AUPR<small>known positive</small>": ("aupr_id", True),
        "AUPR<small>unknown positive</small>": ("aupr_ood", True),
        "adjusted AUPR<small>known positive</small>": ("adjusted_aupr_id", True),
        "adjusted AUPR<small>unknown positive</small>": ("adjusted_aupr_ood", True),
        f"FPR{share}<small>unknown positive</small>": ("fpr_at_tpr_ood", False),
    }
    parts.append(f"<p class='small'>{_PRECISION.format(share=share)}</p>")
    for name in sets:
        cells = [[numbers.value(block, score, name, key) for score in scores] for key, _ in columns.values()]
        tops = [numbers.best(cell, high=high) for cell, (_, high) in zip(cells, columns.values(), strict=True)]
        rows = [
            [escape(names[score]), *(_bold(cell[i], top, len(scores)) for cell, top in zip(cells, tops, strict=True))]
            for i, score in enumerate(scores)
        ]
        parts.append(_dense(html_rows((f"<b>{escape(name)}</b>", *columns), rows)))
    return (
        "<details class='panel'><summary>More numbers: stored thresholds, areas under precision-recall curves"
        f"</summary>{''.join(parts)}</details>"
    )


def _dense(table: str) -> str:
    return f"<div class='scroll dense' style='margin:14px 0'>{table}</div>"


def _meanings(block: Block) -> str:
    """What each score of the run looks at."""
    families = dict.fromkeys(score.partition(":")[0] for score in numbers.score_names(block))
    terms = "".join(f"<dt>{name}</dt><dd>{escape(MEANINGS[name])}</dd>" for name in families if name in MEANINGS)
    if not terms:
        return ""
    return f"<details class='panel'><summary>What the scores look at</summary><dl>{terms}</dl></details>"


def detection_headline(results: Mapping[str, Any]) -> list[str]:
    """Which score is best and what it lets pass, in a plain sentence or two; none without the block "ood"."""
    block = _block(results)
    if block is None:
        return []
    order, first = numbers.ranked(block), numbers.score_names(block)[0]
    names, counted = numbers.labels(numbers.score_names(block)), numbers.counted_sets(block)
    best, over = order[0], f"over {len(counted)} sets" if len(counted) > 1 else f"on {counted[0]}"
    area = numbers.mean(block, best, AUROC)
    if math.isnan(area):
        return []
    kind = "mean AUROC" if len(counted) > 1 else "AUROC"
    start = f"Of {len(order)} scores {names[best]} tells" if len(order) > 1 else f"The score {names[best]} tells"
    sentence = f"{start} unknown from known images{' best' * (len(order) > 1)}: {kind} {percent(area, 1)} % {over}"
    passing = [
        f"{percent(1 - share, 0)} % of {group}"
        for group in dict.fromkeys(numbers.set_groups(block)[name] for name in counted)
        if not math.isnan(share := numbers.mean(block, best, "flagged", group))
    ]
    accepted = numbers.score_row(block, best).get("accepted")
    if passing and accepted is not None:
        words = ", ".join(passing[:-1]) + " and " * (len(passing) > 1) + passing[-1]
        accepts = f"at its threshold, which accepts {percent(accepted, 0)} % of known test images"
        sentence += f"; {accepts}, {words} images still pass"
    sentences = [sentence + "."]
    if best != first and math.isfinite(numbers.mean(block, first, AUROC)):
        words = f"The first score, {names[first]}, has {percent(numbers.mean(block, first, AUROC), 1)} %"
        if any("against_first" in numbers.cell(block, best, name) for name in counted):
            surely = sum(numbers.against_first(block, best, name, AUROC) > 0 for name in counted)
            of_all = f"{surely} of {len(counted)} set{'s' * (len(counted) > 1)}"
            words += f"; {names[best]} is better by more than noise on {of_all}"
        sentences.append(words + ".")
    return sentences


def detection_table(results: Mapping[str, Any], *, tty: bool | None = None) -> Table | str:
    """FPR95 / AUROC in percent by score and set, best first: a `rich` table on a terminal, else aligned text.

    Args:
      results: the content of `results.json`.
      tty: whether the reader is a terminal; None asks standard output.

    Raises:
      ValueError: if there is no detection in the results.
    """
    block = _block(results)
    if block is None:
        raise ValueError("The results have no block 'ood' with scores and sets; set eval.ood.sets and eval.ood.scores.")
    scores, sets = numbers.ranked(block), numbers.set_names(block)
    names = numbers.labels(numbers.score_names(block))
    columns = ["score", *sets, *(["mean"] if len(numbers.counted_sets(block)) > 1 else [])]
    rows = []
    for score in scores:
        pairs = [_pair(numbers.value(block, score, name, key) for key in (FPR, AUROC)) for name in sets]
        if columns[-1] == "mean":
            pairs.append(_pair(numbers.mean(block, score, key) for key in (FPR, AUROC)))
        rows.append([names[score], *pairs])
    title = f"Detection: FPR{percent(block.get('tpr'), 0)} / AUROC in %, known images positive"
    if not (sys.stdout.isatty() if tty is None else tty):
        return f"{title}\n{_aligned([columns, *rows])}"
    table = Table(title=Text(title), title_justify="left", header_style="bold")
    for i, column in enumerate(columns):
        table.add_column(Text(column), justify="right" if i else "left")
    for i, row in enumerate(rows):
        table.add_row(*(Text(cell) for cell in row), style="bold" if i == 0 else None)
    return table


def _pair(values: Iterable[float]) -> str:
    return " / ".join(percent(value, 1) for value in values)
