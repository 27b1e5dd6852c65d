"""The report's table of drift, and its sentence."""

from __future__ import annotations

from typing import Any

import pytest

from mollax.report import drift_headline, drift_section


def row(name: str, value: float, p: float) -> dict[str, Any]:
    part = {"value": value, "low": value - 1, "high": value + 1, "p_value": p}
    return {
        "name": name,
        "images": 2000,
        "excess": part,
        "companion": part,
        "detectable": 0.5,
        "effect": value / 10,
        "flagged": 0.25,
    }


def results(p: float = 0.3) -> dict[str, Any]:
    block = {"space": "features", "bank": 10_000, "held": 500, "dimensions": 64, "sigma": 0.123}
    return {"drift": {**block, "sets": [row("test", -0.2, p), row("<b>fog", 12.0, 0.001)]}}


def test_every_number_is_there_and_names_are_escaped() -> None:
    page = "".join(drift_section(results()))
    for text in ("&lt;b&gt;fog", "+12.0", "11.0 to 13.0", "0.001", "+1.20", "25.0", "10,000", "0.123", "−0.02"):
        assert text in page, text


@pytest.mark.parametrize(("p", "words"), [(0.3, "have not drifted"), (0.01, "have drifted")])
def test_the_sentence_is_of_the_test_images(p: float, words: str) -> None:
    (sentence,) = drift_headline(results(p))
    assert words in sentence


def test_without_a_block_there_is_nothing_and_a_failure_is_said() -> None:
    assert drift_section({}) == drift_headline({}) == []
    failed = {"drift": {"failed": "All 10 points are equal <3"}}
    assert "equal &lt;3" in "".join(drift_section(failed))
    assert drift_headline(failed) == []
