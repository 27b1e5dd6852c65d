"""The report's table of drift, and its sentence."""

from __future__ import annotations

from typing import Any

import pytest

from mollax.report import drift_headline, drift_section


def row(name: str, value: float, p: float, companion: tuple[float, float] = (0.1, 0.5)) -> dict[str, Any]:
    def part(value: float, p: float) -> dict[str, float]:
        return {"value": value, "low": value - 1, "high": value + 1, "p_value": p}

    return {
        "name": name,
        "images": 2000,
        "excess": part(value, p),
        "companion": part(*companion),
        "detectable": 0.5,
        "effect": value / 10,
        "flagged": 0.25,
    }


def results(p: float = 0.3, companion: float = 0.5) -> dict[str, Any]:
    block = {"space": "features", "bank": 10_000, "held": 500, "dimensions": 64, "sigma": 0.123}
    return {"drift": {**block, "sets": [row("test", -0.2, p, (24.7, companion)), row("<b>fog", 12.0, 0.001)]}}


def test_every_number_is_there_and_names_are_escaped() -> None:
    page = "".join(drift_section(results()))
    for text in ("&lt;b&gt;fog", "+12.0", "11.0 to 13.0", "0.001", "+1.20", "25.0", "10,000", "0.123", "−0.02"):
        assert text in page, text


@pytest.mark.parametrize(
    ("p", "companion", "words"),
    [
        (0.3, 0.3, "have not drifted from the training images beyond chance (−0.200 nats an image, p = 0.300; comp"),
        # Two numbers at half of the level each.
        (0.04, 0.04, "have not drifted"),
        (0.025, 0.5, "have drifted from the training images beyond chance (−0.200 nats an image, p = 0.025)"),
        (0.01, 0.001, "have drifted from the training images beyond chance (−0.200 nats an image, p = 0.010)"),
        # MNIST's own test images.
        (0.188, 0.001, "beyond chance by the entropy-aware companion (+24.7 nats an image, p = 0.001), not by how"),
    ],
)
def test_the_sentence_is_of_the_test_images(p: float, companion: float, words: str) -> None:
    (sentence,) = drift_headline(results(p, companion))
    assert words in sentence


def test_a_set_that_could_not_be_measured_is_named_among_the_others() -> None:
    block = results()
    block["drift"]["sets"].append({"name": "single", "images": 1, "failed": "new must hold at least 2 points <"})
    page = "".join(drift_section(block))
    assert "single: new must hold at least 2 points &lt;" in page
    assert "&lt;b&gt;fog" in page
    block["drift"]["sets"] = [{"name": "test", "images": 1, "failed": "too few"}]
    assert drift_headline(block) == []


def test_without_a_block_there_is_nothing_and_a_failure_is_said() -> None:
    assert drift_section({}) == drift_headline({}) == []
    failed = {"drift": {"failed": "All 10 points are equal <3"}}
    assert "equal &lt;3" in "".join(drift_section(failed))
    assert drift_headline(failed) == []
