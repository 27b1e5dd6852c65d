"""The HTML report as a browser gets it: well formed, self-contained, escaped, complete, never half done."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mollax.report import html, report_html, write_report

VOID = {"meta", "br", "img", "link", "input", "hr"}
EVIL = "<script>alert('x')</script>"


class Page(HTMLParser):
    """Checks that tags nest, and keeps the text, ids, references and attributes."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.values: list[tuple[str, str]] = []
        self.text = ""
        self.feed(source)
        self.close()
        assert not self.open, f"unclosed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.values.append((name, value or ""))
            if name == "id":
                self.ids.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text += data


def evaluation(error: float, classes: int) -> dict[str, Any]:
    return {
        "n": 360,
        "error": error,
        "nll": 4 * error,
        "brier": 2 * error,
        "ece": 0.019,
        "adaptive_ece": 0.021,
        "per_class_error": [*np.linspace(0, 1, classes - 1).tolist(), None],
        "reliability": {
            "edges": [0.0, 0.5, 1.0],
            "confidence": [None, 0.9],
            "accuracy": [None, 0.881],
            "count": [0, 360],
        },
        "interval": {
            "error": [error / 2, 2 * error],
            "nll": [0.08, 0.17],
            "brier": None,
            "ece": [0.01, None],
        },
        "scaled": {"temperature": 1.31, "nll": 0.1, "ece": 0.0123, "brier": 0.04, "adaptive_ece": 0.01},
    }


def report(*, classes: int = 4, side: int = 8, channels: int = 1, n: int = 3, m: int = 2) -> dict[str, Any]:
    """Arguments of `report_html`."""
    rng = np.random.default_rng(0)
    names = [EVIL, "cat & dog", "$x_1$", *(f"name {i}" for i in range(3, classes))]
    return {
        "config": {"seed": 7, "optim": {"lr": 0.05, "path": Path("a/<b>")}, "none": None},
        "results": {
            "mollax": "0.1.0",
            "name": "digits",
            "step": 600,
            "parameters": 77754,
            "data": {
                "name": "digits",
                "sizes": {"train": 1294, "validation": 143, "test": 360},
                "image_shape": [side, side, channels],
                "class_names": names,
                "notes": ["12 gray images <repeated> to RGB"],
                "skipped": [{"where": "pictures/<broken>.png", "reason": "truncated & empty"}],
            },
            "temperature": 1.31,
            "evaluations": {"clean": evaluation(0.028, classes), "noise_t0.25": evaluation(0.11, classes)},
            "descriptions": {"clean": "test images as they are", "noise_t0.25": "noise <b>"},
            "run": {
                "device": "cpu x 1",
                "wall_seconds": 71.2,
                "images_per_second": 5321.0,
                "compile_seconds": 9.1,
                "command": "python -m mollax.main --config=configs/digits.py --data='<here>'",
            },
        },
        "history": [
            {"step": 10, "train/loss": 1.0, "train/lr": 0.1, "train/grad_norm": math.nan},
            {"step": 10, "validation/error": 0.1, "validation/nll": None},
        ],
        "samples": {
            "images": rng.uniform(size=(n, side, side, channels)),
            "original": rng.uniform(size=(n, side, side, channels)),
            "t": np.linspace(0, 1, n),
            "role": ["noise"] * n,
            "weight": np.linspace(1, 0, n),
            "label": [names[i % len(names)] for i in range(n)],
        },
        "mistakes": {
            "images": rng.uniform(size=(m, side, side, channels)),
            "predicted": [EVIL] * m,
            "actual": ["cat & dog"] * m,
            "confidence": np.linspace(0.5, 0.9, m),
        },
    }


@pytest.fixture(scope="module")
def source() -> str:
    return report_html(**report())


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_page_has_every_part(page: Page) -> None:
    for words in (
        "On 360 test images the classifier errs on 2.8\u00a0% (95\u00a0% interval 1.4 to 5.6\u00a0%).",
        "T\u00a0=\u00a01.31, fitted on validation, brings this to 1.2 points",
        "Under the stress test noise_t0.25 the error is 11.0\u00a0%.",
        "77,754 parameters",
        "test images as they are",
        "1,294",
        "8 × 8 × 1",
        "pictures/<broken>.png",
        "truncated & empty",
        "12 gray images <repeated> to RGB",
        "1 file left out",
        "1 min 11 s",
        "5,321 images per second",
        "--data='<here>'",
        '"path": "a/<b>"',
        "mollax 0.1.0",
        "ECE 1.90 %",
    ):
        assert words in page.text, words
    assert page.tags.count("svg") == page.tags.count("figure") == page.tags.count("figcaption") == 5


def test_config_is_shown_as_valid_json(page: Page) -> None:
    block = re.search(r"Configuration(\{.*?\n\})", page.text, flags=re.DOTALL)
    assert block
    assert json.loads(block.group(1)) == {"seed": 7, "optim": {"lr": 0.05, "path": "a/<b>"}, "none": None}


def test_foreign_text_is_escaped(source: str, page: Page) -> None:
    assert "script" not in page.tags
    assert "<script" not in source
    assert page.text.count(EVIL) >= 1
    assert "cat & dog" in page.text


def test_page_asks_for_nothing_from_outside(source: str, page: Page) -> None:
    assert "http://" not in source
    assert "https://" not in source
    assert not {"link", "script", "iframe", "img"} & set(page.tags)
    for name, value in page.values:
        if name in ("src", "href", "xlink:href"):
            assert value.startswith(("data:image/png;base64,", "#")), (name, value[:40])
        if name == "style":
            assert "url(" not in value.replace("url(#", "")
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'; img-src data:") in page.values


def test_ids_are_unique_and_references_resolve(source: str, page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    referred = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', source))
    assert referred
    assert {a or b for a, b in referred} <= set(page.ids)


def test_embedded_images_decode_at_their_own_size(page: Page) -> None:
    data = [value.split(",", 1)[1] for name, value in page.values if value.startswith("data:image/png")]
    images = [Image.open(io.BytesIO(base64.b64decode(text))).convert("L") for text in data]
    assert [image.size for image in images] == [(8, 8)] * (2 * 3 + 2)
    given = report()["mistakes"]["images"][1, :, :, 0]  # the surest mistake comes first
    shown = np.asarray(images[0], dtype=np.float64)
    upright, flipped = (np.abs(a - 255 * given).max() for a in (shown, shown[::-1]))
    assert min(upright, flipped) < 2  # rounding to 8 bits, and gray through RGB


def test_figures_follow_the_page_in_light_and_dark(source: str) -> None:
    assert "@media (prefers-color-scheme: dark)" in source
    figures = "".join(re.findall(r"<svg.*?</svg>", source, flags=re.DOTALL))
    colors = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", figures))
    assert not colors, f"fixed colors {colors}"
    assert set(re.findall(r"var\((--\w+)\)", figures)) <= set(re.findall(r"(--\w+):", source))


def test_same_input_gives_the_same_page(source: str) -> None:
    assert report_html(**report()) == source


def test_page_of_200_classes_stays_small_and_folds_the_list(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", **report(classes=200, side=224, channels=3, n=40, m=60))
    written = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert len(written.encode()) < 3_000_000
    assert "All 200 classes" in Page(written).text


def test_bare_results_make_a_page() -> None:
    bare = report_html(config={}, results={"evaluations": {"clean": {"error": None}}}, history=[])
    page = Page(bare)
    assert "errs on –\u00a0%" in page.text
    assert "No reliability" in page.text
    assert "No training history" in page.text
    assert "What it gets wrong" not in page.text
    assert "Class by class" not in page.text


def test_no_mistakes_and_one_class() -> None:
    arguments = report(m=0)
    for value in arguments["results"]["evaluations"].values():
        value["per_class_error"] = [0.0]
    page = Page(report_html(**arguments))
    assert "every test image was classified correctly" in page.text


def test_names_beyond_the_fonts_of_matplotlib_do_not_warn() -> None:
    arguments = report() | {"samples": None}
    arguments["mistakes"]["actual"] = ["猫", "犬"]
    assert "猫" in Page(report_html(**arguments)).text


def test_many_evaluations_and_skips_are_bounded() -> None:
    arguments = report() | {"samples": None, "mistakes": None}
    results = arguments["results"]
    results["evaluations"] |= {f"test {i}": evaluation(0.2, 4) for i in range(10)}
    results["data"]["skipped"] = [{"where": f"file {i}", "reason": "bad"} for i in range(300)]
    page = Page(report_html(**arguments))
    assert f"The first {html.MAX_RELIABILITY} of 12 tests." in page.text
    assert "300 files left out" in page.text
    assert "file 199" in page.text
    assert "file 200" not in page.text


def test_report_is_replaced_in_one_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    arguments = report() | {"samples": None, "mistakes": None}
    write_report(path, **arguments)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    before = path.read_text(encoding="utf-8")

    def fail(self: Path, target: Path) -> None:
        assert target == path
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    arguments["results"]["name"] = "another"
    with pytest.raises(OSError, match="disk full"):
        write_report(str(path), **arguments)
    assert path.read_text(encoding="utf-8") == before
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_bad_arguments_are_told_at_the_door(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="create it first"):
        write_report(tmp_path / "absent" / "report.html", **report())
    with pytest.raises(ValueError, match="at least one evaluation"):
        report_html(config={}, results={}, history=[])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "seconds, words",
    [(9.14, "9.1 s"), (71.2, "1 min 11 s"), (18211, "5 h 3 min"), (None, ""), (math.nan, "")],
)
def test_durations(seconds: float | None, words: str) -> None:
    assert html._duration(seconds) == words
