"""The report's section on learned invariance: its words, tables and figures, and what it does with missing parts."""

from __future__ import annotations

import copy
import math
import re
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from report_html_test import EVIL, Page, report

from mollax import invariance
from mollax.data.sprites import draw_sprite, sprite_class_names
from mollax.image import affine_warp
from mollax.report import report_html
from mollax.report.invariance import MAX_ROWS, invariance_section
from mollax.report.invariance_plots import OPPOSITE

NAMES = sprite_class_names()
POSES = (30.0, 160.0, -40.0, -140.0, 10.0, 200.0, 0.0, 135.0)  # degrees from upright of the examples


def params_of(kind: str, turned: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Parameters of transforms that turn by these degrees, or nearly so, where a kind can."""
    d, n = invariance.dimension(kind), len(turned)
    params = 0.15 * rng.normal(size=(n, d))
    opposite = OPPOSITE.get(kind)
    if opposite:
        params *= 0.3
        params[:, opposite[1]] = turned / 180 + 0.02 * rng.normal(size=n)
        params[:, opposite[0]] = -turned / 180
    elif kind != "translation" and kind != "crop":
        params[:, min(d - 1, 2)] = turned / 180
    elif kind == "crop":
        params[:, 2:] = rng.uniform(-1, 1, (n, 2))
    return np.clip(params, -1, 1).astype(np.float32)


@cache
def learned(kind: str = "rotation", images: int = 8, draws: int = 200) -> tuple[dict[str, Any], dict[str, Any]]:
    """The block "invariance" and the pictures of a run on sprites that has found their +-45 degrees."""
    rng = np.random.default_rng(0)
    turns = kind not in ("translation", "crop")
    shown, drawn, examples = [], [], []
    for i, pose in enumerate(POSES[:images]):
        label = 2 * (i % 4 // 2) + (abs((pose + 180) % 360 - 180) > 90)
        image = jnp.asarray(draw_sprite(("sprout", "kettle")[label // 2], math.radians(pose)).astype(np.float32) / 255)
        home = (pose - 180 * (label % 2) + 180) % 360 - 180
        turned = rng.uniform(-45, 45, draws) - home
        params = params_of(kind, turned, rng)
        matrices = jax.vmap(lambda p: invariance.affine_matrix(p, kind=kind))(jnp.asarray(params[:6]))
        shown.append(np.asarray(image))
        drawn.append(np.asarray(jax.vmap(affine_warp, in_axes=(None, 0))(image, matrices)))
        examples.append(
            {
                "index": 17 * i,
                "label": NAMES[label],
                "entropy": math.log(0.5) + 0.02 * i,
                "params": np.round(params.astype(np.float64), 4).tolist(),
                "angles": np.round((turned + 180) % 360 - 180, 2).tolist() if turns else None,
                "angle_range": np.percentile(turned, [1, 99]).tolist() if turns else None,
            }
        )
    inputs = np.arange(-180, 181, 30)
    followed = (rng.uniform(-45, 45, (13, 400)) - inputs[:, None] + 180) % 360 - 180
    low, median, high = np.percentile(followed, [1, 50, 99], axis=1).tolist()
    block = {
        "augmenter": "flow",
        "kind": kind,
        "parameters": list(invariance.parameter_names(kind)),
        "images": 500,
        "draws": draws,
        "bound": 1.0,
        "entropy": -0.62,
        "max_entropy": invariance.dimension(kind) * math.log(2),
        "per_class": {
            "names": list(NAMES),
            "entropy": [-0.6, -0.63, -0.61, -0.64],
            "range": [88.0, 86.5, 89.1, 87.7] if turns else None,
        },
        "examples": examples,
        "rotation_error": {"drawn": 0.02, "random": 0.61, "angle_spread": 26.1} if kind in OPPOSITE else None,
        "input_rotation": {
            "angles": inputs.tolist(),
            "low": low,
            "median": median,
            "high": high,
            "images": 100,
            "directed": 13 * [100],
        }
        if turns
        else None,
        "alignment": {
            "images": 500,
            "steps": 10,
            "step_size": 0.1,
            "draws": 50,
            "names": list(NAMES),
            "before": [0.52, 0.5, 0.48, 0.49],
            "after": [0.21, 0.2, 0.22, 0.5],
        },
    }
    return block, {"examples": np.array(shown), "drawn": np.array(drawn), **aligned_pictures()}


@cache
def aligned_pictures() -> dict[str, np.ndarray]:
    """Means of the four sprites over +-45 degrees and over the little that alignment leaves."""
    means = []
    for width in (45, 6):
        turned = [
            np.mean([draw_sprite(figure, math.radians(pose + a)) for a in np.linspace(-width, width, 12)], axis=0) / 255
            for figure in ("sprout", "kettle")
            for pose in (0, 180)
        ]
        means.append(np.array(turned))
    return {"before": means[0], "after": means[1]}


def rotations(classes: int = 10, ratio: float = 10.0) -> dict[str, Any]:
    """The block "rotations" of a long-tailed run; a ratio of 1 is a balanced one."""
    angles = list(range(-180, 181, 15))
    x = np.abs(np.array(angles)) / 180
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    share = np.linspace(0, 1, classes)
    return {
        "images": 1000,
        "angles": angles,
        "accuracy": {
            "as it is": (0.2 + 0.7 * np.exp(-8 * x**2)).tolist(),
            "averaged": (0.25 + 0.66 * np.exp(-3 * x**2)).tolist(),
            "aligned": (0.88 - 0.06 * x).tolist(),
        },
        "expected_kl": {
            "degrees": 10,
            "draws": 10,
            "prediction": "averaged",
            "names": [names[i] if i < 10 else f"class {i}" for i in range(classes)],
            "class_sizes": [round(5000 * ratio**-c) for c in share],
            "ekld": (0.05 + 0.12 * share + 0.02 * np.sin(9 * share)).tolist(),
            "accuracy": (0.93 - 0.25 * share + 0.04 * np.cos(13 * share)).tolist(),
        },
    }


def training() -> list[dict[str, Any]]:
    """Rows every 50 steps; the warm-up ends at step 120."""
    rows: list[dict[str, Any]] = []
    for step in range(50, 1001, 50):
        augmenting = min(max((step - 120) / 50, 0.0), 1.0)
        entropy = 0.34 - max(0.0, 1 - math.exp(-(step - 120) / 200))
        rows.append(
            {
                "step": step,
                "train/entropy": entropy,
                "train/weight": 0.02 + 0.0002 * step,
                "train/augmenting": augmenting,
            }
        )
        rows.append({"step": step, "validation/error": 0.1})
    return rows


def section(
    block: dict[str, Any] | None = None,
    pictures: dict[str, Any] | None = None,
    turned: dict[str, Any] | None = None,
    history: list[dict[str, Any]] | None = None,
) -> Page:
    """The parsed section."""
    results = {"invariance": block, "rotations": turned}
    return Page("".join(invariance_section(results, training() if history is None else history, pictures)))


def labels(page: Page) -> list[str]:
    """The text alternatives of the figures."""
    return [value for name, value in page.values if name == "aria-label"]


def rows_of(source: str) -> list[list[str]]:
    """Cells of all table rows of a page's source."""
    rows = re.findall(r"<tr>(.*?)</tr>", source, flags=re.DOTALL)
    return [[re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows]


def test_runs_without_the_blocks_have_no_section():
    assert invariance_section({}, training(), None) == []
    assert invariance_section({"invariance": None, "rotations": None}, training(), None) == []
    assert "nvariance" not in Page(report_html(**report())).text


def test_page_has_the_section_after_corruptions_and_is_whole():
    block, pictures = learned("decoupled_rotation", images=1)
    arguments = report(n=1, m=1)
    arguments["results"] |= {"invariance": block, "rotations": rotations()}
    arguments["history"] = training()
    source = report_html(**arguments, transforms=pictures)
    page = Page(source)
    heads = re.findall(r"<h2>(.*?)</h2>", source)
    place = heads.index("Learned invariance")
    assert heads[place - 1 : place + 3] == [
        "Results",
        "Learned invariance",
        "Rotated test images",
        "Can its confidence be trusted?",
    ]
    assert page.tags.count("svg") == page.tags.count("figcaption") == 5 + 7
    assert len(page.ids) == len(set(page.ids))
    figures = "".join(re.findall(r"<svg.*?</svg>", source, flags=re.DOTALL))
    assert not set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", figures)), "every color follows the page"
    assert "http://" not in source
    assert "https://" not in source
    assert report_html(**arguments, transforms=pictures) == source


def test_introduction_says_what_was_learned():
    text = section(learned("decoupled_rotation", images=1)[0], history=[]).text
    assert "the augmenter (flow) draws matrices with two free entries" in text
    assert "Over 500 test images its entropy is −0.62 nats on average; the largest possible is 1.39." in text
    # exp(-0.62 - 2 log 2)
    assert "as wide as even draws from 13 % of all that is allowed." in text
    assert "0.02 away from the nearest rotation (0.61 for even draws from all that is allowed); the angles" in text
    assert "spread by 26° (standard deviation)" in text
    unbounded = {"augmenter": "gaussian", "kind": "rotation", "entropy": 0.1, "max_entropy": None, "images": None}
    text = section(unbounded, history=[]).text
    assert "Over test images its entropy is 0.10 nats on average." in text
    assert "largest" not in text


def test_tables_hold_the_numbers_of_each_class():
    block, _ = learned(images=1)
    source = "".join(invariance_section({"invariance": block, "rotations": rotations()}, [], None))
    rows = rows_of(source)
    assert ["sprout upside down", "−0.63", "27", "86°"] in rows
    assert ["truck", "500", "0.178", "71.6"] in rows
    # Without pictures the spreads of alignment are a table.
    assert ["kettle upright", "0.48", "0.22"] in rows
    assert ["class", "spread before alignment", "spread after alignment"] in rows
    angles = next(row for row in rows if row[0] == "accuracy %")
    assert angles == ["accuracy %", *(f"{a}°".replace("-", "−") for a in range(-180, 181, 30)), "mean"]
    values = rotations()["accuracy"]["averaged"]
    # -180 and 180 degrees are one rotation, which counts once.
    expected = [*(f"{100 * value:.1f}" for value in values[::2]), f"{100 * np.mean(values[:-1]):.1f}"]
    assert ["averaged", *expected] in rows


def test_pictures_take_the_place_of_the_alignment_table():
    block, pictures = learned(images=1)
    with_pictures = section(block, pictures, history=[])
    assert "spread before alignment" not in with_pictures.text
    assert any(
        label.startswith("Mean images before and after alignment; spread: sprout upright from 0.52 to 0.21")
        for label in labels(with_pictures)
    )
    assert "in 10 steps towards the mean of 50 drawn transforms" in with_pictures.text
    halves = {**pictures, "before": None, "after": None}
    assert "spread before alignment" in section(block, halves, history=[]).text


def test_classes_without_a_spread_are_explained():
    block, pictures = learned(images=1)
    words = "A dash: a class of a single image, or of black ones, has no spread."
    assert words not in section(block, pictures, history=[]).text
    block = {**block, "alignment": {**block["alignment"], "before": [None, 0.5, 0.48, 0.49]}}
    assert words in section(block, pictures, history=[]).text
    page = section(block, None, history=[])
    assert words in page.text
    assert "nan" not in page.text


def test_images_without_a_direction_are_counted():
    block, _ = learned(images=1)
    assert "point to all sides" not in section(block, history=[]).text
    turning = {**block["input_rotation"], "directed": [40, *12 * [90]]}
    text = section({**block, "input_rotation": turning}, history=[]).text
    assert "are left out: 40 to 90 of them have one" in text


@pytest.mark.parametrize("averaged, after", [(True, "by averaging as before."), (False, "once.")])
def test_aligned_says_what_comes_after_it(averaged, after):
    block = rotations()
    if not averaged:
        del block["accuracy"]["averaged"]
    assert f"the pose that its transforms point to, then classified {after}" in section(None, None, block).text


def test_figures_have_text_alternatives_with_numbers():
    block, pictures = learned(images=2)
    words = labels(section(block, pictures, rotations()))
    assert len(words) == 6
    assert words[0].startswith("Test images under drawn transforms: sprout upright, entropy −0.69; sprout upside down")
    turning = block["input_rotation"]
    assert words[1].endswith(f", {turning['median'][-1]:.0f}° at 180°".replace("-", "−"))
    assert words[1].count("° at ") == 13
    assert words[4].startswith("Accuracy against rotation: as it is at best 90.0 %, at worst 20.0 % at ")
    assert "expected KL from 0.050 to 0.178 nats" in words[5]


@pytest.mark.parametrize("kind, pairs", [("rotation", 0), ("translation", 1), ("crop", 1), ("affine", 1)])
def test_kinds_of_one_two_four_and_six_parameters(kind, pairs):
    page = section(*learned(kind, images=2), history=[])
    assert sum(label.startswith("Pairs") for label in labels(page)) == pairs
    assert ("area of a wedge" in page.text) == (kind in ("rotation", "affine"))
    assert ("a histogram of every parameter" in page.text) == (kind in ("translation", "crop"))
    assert ("range of 98 % of the angles" in page.text) == (kind in ("rotation", "affine"))
    assert "exact rotations" not in page.text


PARTS = ("entropy", "max_entropy", "bound", "per_class", "examples", "input_rotation", "alignment", "rotation_error")


@pytest.mark.parametrize("missing", [*PARTS, "parameters", "images"])
def test_missing_parts_leave_out_their_figure(missing):
    block, pictures = learned(images=1, draws=20)
    figures = 3 - (missing in ("examples", "parameters", "alignment", "input_rotation"))
    page = section({**block, missing: None}, pictures, history=[])
    assert len(labels(page)) == figures
    assert "nan" not in page.text


@pytest.mark.parametrize("block", [{"augmenter": "flow"}, dict.fromkeys(PARTS) | {"kind": "new"}])
def test_nothing_but_a_name_is_a_sentence(block):
    page = section(block, aligned_pictures(), history=[])
    assert page.tags == ["h2", "p"]
    assert "nan" not in page.text


def test_missing_rotations_history_and_numbers():
    block, _ = learned(images=1)
    assert not [label for label in labels(section(block, history=[])) if "training" in label]
    assert [label for label in labels(section(block)) if "training" in label]
    only_kl = rotations() | {"angles": [], "accuracy": {"as it is": []}}
    assert len(labels(section(None, None, only_kl))) == 1
    only_angles = rotations() | {"expected_kl": None}
    assert len(labels(section(None, None, only_angles))) == 1
    unknown = copy.deepcopy(rotations(1, 1.0))
    unknown["accuracy"] = {"as it is": [None] * 25}
    unknown["expected_kl"] |= {"ekld": [None], "accuracy": [math.nan], "class_sizes": [None]}
    page = section(None, None, unknown)
    assert "as it is unknown" in labels(page)[0]
    assert "nan" not in page.text
    assert "The steadiest classes come first." in page.text


def test_names_from_outside_are_escaped():
    block, pictures = copy.deepcopy(learned("translation", images=2))
    turned = rotations()
    long = f"{EVIL} $x_1$ & " + "so " * 200
    block |= {"augmenter": EVIL, "kind": EVIL, "parameters": [EVIL, "a & b"]}
    block["per_class"]["names"][0] = block["alignment"]["names"][0] = block["examples"][0]["label"] = long
    turned["expected_kl"]["names"][0] = turned["expected_kl"]["prediction"] = long
    turned["accuracy"][EVIL] = turned["accuracy"].pop("averaged")
    source = "".join(invariance_section({"invariance": block, "rotations": turned}, training(), pictures))
    assert "<script" not in source
    page = Page(source)
    assert "script" not in page.tags
    assert EVIL in page.text
    assert all(len(cell) < 3000 for row in rows_of(source) for cell in row)


def test_many_classes_are_folded():
    turned = rotations(MAX_ROWS + 1, 10.0)
    page = section(None, None, turned)
    assert f"All {MAX_ROWS + 1} classes" in page.text
    assert "details" not in section(None, None, rotations(MAX_ROWS, 10.0)).tags


def test_lists_that_do_not_fit_are_told():
    block, pictures = learned(images=2)
    with pytest.raises(ValueError, match="their images has 2"):
        section({**block, "examples": block["examples"][:1]}, pictures)
    with pytest.raises(ValueError, match="as it is has 25"):
        section(None, None, rotations() | {"angles": [0, 90]})
