"""The report's section on learned invariance: the blocks "invariance" and "rotations" of results.json, in plain words.

The figures are those of `mollax.report.invariance_plots`, where the units are stated too. Any part of a block may be
missing; its figure and its table are then left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from mollax.report import invariance_plots as plots
from mollax.report import invariance_training as training
from mollax.report.invariance_plots import OPPOSITE, degrees, signed
from mollax.report.page import figure_block
from mollax.report.table import as_float, decimal, html_rows, percent

Block = Mapping[str, Any]
MAX_ROWS = 25  # of a table that is not folded
MAX_ANGLES = 13  # columns of the table of rotations

# What one draw is, for each kind of transform.
DRAWN = {
    "rotation": "rotations",
    "translation": "shifts",
    "rotation_translation": "rotations with shifts",
    "affine": "affine maps (shift, rotation, scale, squeeze and shear)",
    "decoupled_rotation": "matrices with two free entries, only some of which are rotations",
    "decoupled": "affine maps with every entry free",
    "crop": "crops",
}

_EXAMPLES = (
    "Left, a test image; beside it, the same under six of the transforms drawn for it; {histogram}. Above, the entropy "
    "in nats{angles}. Wide histograms say that the answer should not depend on the transform, narrow ones that it does."
)
_AROUND = (
    "right, where all of its draws turn it: up is no rotation, left is counter-clockwise, and the area of a wedge is "
    "the share of draws in it"
)
_PAIRS = (
    "Every dot is a drawn transform{colors}: two of its parameters against each other, in the box of all that is "
    "allowed. Slanted or separate clouds are parameters that were learned together; learned one by one they would "
    "fill an upright box."
)
_DIAGONAL = " On the dashed diagonal matrices are exact rotations."
_INPUT = (
    "{images}test images turned by the angle below, and what is then drawn for them: the median and the range "
    "of 98 %, means over the images. An augmenter that sees the pose undoes the rotation, so that the median follows "
    "the dashed line; a level band ignores it. Each image's angles are followed from its upright input outwards, so "
    "that they may go beyond half a turn.{directed}"
)
_DIRECTED = (
    " Images whose draws point to all sides have no middle and are left out: {least} to {most} of them have one, "
    "depending on the angle; where fewer than a quarter have, nothing is drawn."
)
_TRAINING = (
    "Left, how widely transforms are drawn: 0.69 nats more are twice the width. Right, how much the loss rewards it. "
    "Shaded: the warm-up, in which images stay as they are."
)
_RANGES = (
    "How far the images of each class are turned: the angles between which 98 % of the draws for a validation image "
    "lie, mean over its class. A full turn says that the class looks the same from all sides; shaded, the warm-up."
)
_ALIGNED = (
    "The mean image of each class before and after alignment. Alignment moves every image by itself, in {steps} steps "
    "towards the mean of {draws} drawn transforms, without knowing its class. The sharper a mean, the better the "
    "images agree on a pose. Spread: the share of a class that its mean does not hold; 0 for equal images."
)
_SINGLE = " A dash: a class of a single image, or of black ones, has no spread."
_ACCURACY = (
    "Share of {images}test images that are classified correctly when all of them are turned by the angle below, black "
    "outside. The more level a line, the less rotation matters. {ways}"
)
WAYS = {
    "as it is": "As it is: the image is classified once.",
    "averaged": "Averaged: the mean prediction over drawn transforms.",
    "aligned": "Aligned: the image is first moved to the pose that its transforms point to, then classified {after}.",
}
_KL = (
    "Left, how far predictions move when an image is turned at random by up to {degrees}: the Kullback-Leibler "
    "divergence from the prediction for the image as it is, a mean over {draws} turns; 0 is no change. Right, the "
    "accuracy of each class. {size} {way}"
)
_BY_SIZE = (
    "Networks tend to be invariant only for classes with many training images; if dots are level, rare classes share "
    "in what was learned from frequent ones."
)


def invariance_section(results: Block, history: Sequence[Block], transforms: Block | None) -> list[str]:
    """The section as parts of the page; none where a run has neither block.

    Args:
      results: the content of `results.json`.
      history: the rows of `metrics.jsonl`.
      transforms: pictures that are not in `results`: "examples" (m, h, w, c) and "drawn" (m, copies, h, w, c) of the
        block's examples, "before" and "after" (k, h, w, c) of its alignment, or None for either pair.

    Raises:
      ValueError: if lists that belong together differ in length.
    """
    learned, turned = results.get("invariance"), results.get("rotations")
    parts: list[str] = []
    if learned:
        parts += ["<h2>Learned invariance</h2>", *_learned(learned, history, transforms or {})]
    if turned:
        parts += ["<h2>Rotated test images</h2>", *_turned(turned)]
    return parts


def _learned(block: Block, history: Sequence[Block], transforms: Block) -> list[str]:
    parts = [f"<p>{escape(' '.join(_introduction(block)))}</p>"]
    names, kind, bound = block.get("parameters") or (), str(block.get("kind")), block.get("bound")
    if (examples := block.get("examples")) and names:
        pictures = transforms if transforms.get("examples") is not None else None
        figure = plots.transform_examples(examples, pictures, parameters=names, bound=bound)
        parts.append(
            figure_block("transforms", figure, _examples_label(examples), _examples_caption(examples, pictures))
        )
        if len(names) > 1:
            figure = plots.parameter_pairs(examples, parameters=names, kind=kind, bound=bound)
            caption = _PAIRS.format(colors=" of one of the images, in its color" * (len(names) > 2))
            caption += _DIAGONAL * (kind in OPPOSITE)
            label = f"Pairs of the parameters {', '.join(map(str, names))} of drawn transforms"
            parts.append(figure_block("pairs", figure, label, caption))
    parts += _per_class(block)
    if turning := block.get("input_rotation"):
        figure = plots.input_rotation_band(turning)
        caption = _INPUT.format(images=_counted(turning.get("images")), directed=_directed(turning))
        caption = caption[0].upper() + caption[1:]
        parts.append(figure_block("input-rotation", figure, _input_label(turning), caption))
    if any(math.isfinite(as_float(row.get("train/entropy"))) for row in history):
        figure = training.entropy_curves(history, max_entropy=block.get("max_entropy"))
        parts.append(figure_block("entropy", figure, "Entropy and its weight over training", _TRAINING))
    if any(key.startswith(training.RANGE) for row in history for key in row):
        label = "Range of the drawn angles of each class over training"
        parts.append(figure_block("ranges", training.range_curves(history), label, _RANGES))
    if alignment := block.get("alignment"):
        parts += _alignment(alignment, transforms)
    return parts


def _introduction(block: Block) -> list[str]:
    """What was learned, in sentences that need no background."""
    kind = str(block.get("kind"))
    sentences = [
        f"For every image the augmenter ({block.get('augmenter')}) draws {DRAWN.get(kind, kind)} that should not "
        "change the answer."
    ]
    entropy, most = as_float(block.get("entropy")), as_float(block.get("max_entropy"))
    if math.isfinite(entropy):
        words = f"Over {_counted(block.get('images'))}test images its entropy is {signed(entropy)} nats on average"
        if math.isfinite(most):
            words += (
                f"; the largest possible is {signed(most)}. That is about as wide as even draws from "
                f"{percent(math.exp(min(entropy - most, 0.0)), 0)} % of all that is allowed"
            )
        sentences.append(words + ".")
    if error := block.get("rotation_error"):
        words = (
            f"Its matrices are on average {decimal(error.get('drawn'))} away from the nearest rotation "
            f"({decimal(error.get('random'))} for even draws from all that is allowed)"
        )
        if math.isfinite(as_float(error.get("angle_spread"))):
            words += f"; the angles of an image spread by {degrees(error['angle_spread'])} (standard deviation)"
        sentences.append(words + ".")
    return sentences


def _counted(number: Any) -> str:
    """ "1,000 " or nothing, to stand before a noun."""
    return f"{int(number):,} " if number is not None else ""


def _examples_caption(examples: Sequence[Block], pictures: Block | None) -> str:
    around = any(example.get("angles") for example in examples)
    histogram = _AROUND if around else "right, a histogram of every parameter between its bounds"
    caption = _EXAMPLES.format(
        histogram=histogram, angles=" and the angles between which 98 % of the draws lie" * around
    )
    if pictures is None:
        caption = f"Draws for some test images; {histogram.removeprefix('right, ')}." + caption.partition(".")[2]
    return caption


def _examples_label(examples: Sequence[Block]) -> str:
    shown = examples[: plots.MAX_EXAMPLES]
    words = (f"{example['label']}, entropy {signed(example.get('entropy'))}" for example in shown)
    return f"Test images under drawn transforms: {'; '.join(words)}"


def _directed(block: Block) -> str:
    """How many images the curves are means over, where that is not all."""
    counts = block.get("directed") or ()
    if not counts or min(counts) == block.get("images"):
        return ""
    return _DIRECTED.format(least=min(counts), most=max(counts))


def _input_label(block: Block) -> str:
    pairs = (f"{degrees(m)} at {degrees(a)}" for a, m in zip(block["angles"], block["median"], strict=True))
    return f"Median drawn angle against the rotation of the input: {', '.join(pairs)}"


def _per_class(block: Block) -> list[str]:
    rows = block.get("per_class")
    if not rows or not rows.get("names"):
        return []
    most = as_float(block.get("max_entropy"))
    columns = {"entropy (nats)": [signed(value) for value in rows["entropy"]]}
    if math.isfinite(most):
        columns["width, % of the largest"] = [
            percent(math.exp(min(as_float(value) - most, 0.0)) if math.isfinite(as_float(value)) else None, 0)
            for value in rows["entropy"]
        ]
    if rows.get("range"):
        columns["range of 98 % of the angles"] = [degrees(value) for value in rows["range"]]
    note = "Means over the test images of a class. The wider, the less the class depends on the transform."
    return [_class_table(rows["names"], columns, note)]


def _class_table(names: Sequence[Any], columns: Mapping[str, Iterable[str]], note: str) -> str:
    """A table with a row for each class, folded if there are many; cells are plain text."""
    lines = zip(map(str, names), *columns.values(), strict=True)
    table = html_rows(("class", *map(escape, columns)), [[escape(cell) for cell in line] for line in lines])
    table = f"<div class='scroll'>{table}</div>"
    if len(names) > MAX_ROWS:
        table = f"<details><summary>All {len(names):,} classes</summary>{table}</details>"
    return f"<div class='panel'>{table}<p class='small'>{escape(note)}</p></div>"


def _alignment(block: Block, transforms: Block) -> list[str]:
    parts = []
    before, after = transforms.get("before"), transforms.get("after")
    change = ", ".join(
        f"{name} from {decimal(first)} to {decimal(last)}"
        for name, first, last in zip(block["names"], block["before"], block["after"], strict=True)
    )
    if before is not None and after is not None:
        caption = _ALIGNED.format(steps=block.get("steps", "some"), draws=block.get("draws", "its"))
        caption += _SINGLE * any(value is None for value in (*block["before"], *block["after"]))
        figure = plots.aligned_means(np.asarray(before), np.asarray(after), block)
        parts.append(
            figure_block("aligned", figure, f"Mean images before and after alignment; spread: {change}", caption)
        )
    if not parts or len(block["names"]) > plots.MAX_ALIGNED:
        columns = {f"spread {key} alignment": [decimal(value) for value in block[key]] for key in ("before", "after")}
        note = "Spread: the share of a class that its mean image does not hold. Smaller after alignment is better."
        note += _SINGLE * any(value is None for value in (*block["before"], *block["after"]))
        parts.append(_class_table(block["names"], columns, note))
    return parts


def _turned(block: Block) -> list[str]:
    parts = []
    angles, accuracy = block.get("angles") or (), block.get("accuracy") or {}
    if angles and accuracy:
        after = "by averaging as before" if "averaged" in accuracy else "once"
        ways = " ".join(WAYS[name].format(after=after) for name in accuracy if name in WAYS)
        caption = _ACCURACY.format(images=_counted(block.get("images")), ways=ways).rstrip()
        figure = plots.rotation_accuracy(angles, accuracy)
        label = f"Accuracy against rotation: {'; '.join(_worst(name, angles, accuracy[name]) for name in accuracy)}"
        parts += [figure_block("rotations", figure, label, caption), _rotation_table(angles, accuracy)]
    if block.get("expected_kl"):
        parts += _expected_kl(block["expected_kl"])
    return parts


def _worst(name: str, angles: Sequence[float], values: Sequence[Any]) -> str:
    known = [(as_float(value), angle) for value, angle in zip(values, angles, strict=True)]
    known = [pair for pair in known if math.isfinite(pair[0])]
    if not known:
        return f"{name} unknown"
    lowest, where = min(known)
    return f"{name} at best {percent(max(known)[0], 1)} %, at worst {percent(lowest, 1)} % at {degrees(where)}"


def _rotation_table(angles: Sequence[float], accuracy: Mapping[str, Sequence[Any]]) -> str:
    """Accuracy in percent at some of the angles, and the mean over the whole circle or what of it was tested."""
    chosen = sorted({round(i) for i in np.linspace(0, len(angles) - 1, MAX_ANGLES)})
    twice = len(angles) > 1 and math.isclose(angles[-1] - angles[0], 360)  # the first and the last are one rotation
    rows = []
    for name, values in accuracy.items():
        mean = np.mean([as_float(value) for value in values[: len(angles) - twice]])
        rows.append([escape(name), *(percent(values[i], 1) for i in chosen), f"<b>{percent(mean, 1)}</b>"])
    head = ("accuracy %", *(degrees(angles[i]) for i in chosen), "mean")
    note = "" if len(chosen) == len(angles) else f" Every angle of the {len(angles)} is in results.json."
    return (
        f"<div class='panel dense'><div class='scroll'>{html_rows(head, rows)}</div>"
        f"<p class='small'>The mean is over all angles tested.{note}</p></div>"
    )


def _expected_kl(block: Block) -> list[str]:
    sizes = [size for size in block["class_sizes"] if size]
    way = f"Predictions: {block['prediction']}." if block.get("prediction") else ""
    caption = _KL.format(
        degrees=f"±{degrees(block.get('degrees'))}",
        draws=block.get("draws", "several"),
        size=_BY_SIZE if sizes and max(sizes) > plots.UNEQUAL * min(sizes) else "The steadiest classes come first.",
        way=way,
    )
    known = [as_float(value) for value in block["ekld"] if math.isfinite(as_float(value))]
    label = "Expected KL and accuracy of each class"
    if known:
        label += f"; expected KL from {decimal(min(known), 3)} to {decimal(max(known), 3)} nats"
    columns = {
        "training images": [f"{int(size):,}" if size is not None else decimal(None) for size in block["class_sizes"]],
        "expected KL (nats)": [decimal(value, 3) for value in block["ekld"]],
        "accuracy %": [percent(value, 1) for value in block["accuracy"]],
    }
    return [
        figure_block("expected-kl", plots.expected_kl_dots(block), label, caption.rstrip()),
        _class_table(block["names"], columns, "Expected KL: lower is steadier. Accuracy: of images as they are."),
    ]
