"""The tables: complete, monotone where the benchmark is, typed alike twice, and picked by size."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from mollax.corrupt import severity

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_every_table_has_19_corruptions_of_5_severities():
    names = (*severity.NAMES, *severity.EXTRA_NAMES)
    assert (len(severity.NAMES), len(severity.EXTRA_NAMES), len(set(names))) == (15, 4, 19)
    for table in severity.TABLES.values():
        assert set(table) == set(names)
        for name, rows in table.items():
            assert len(rows) == 5, name
            assert len({len(row) if isinstance(row, tuple) else 1 for row in rows}) == 1, name


@pytest.mark.parametrize("side", severity.TABLES)
def test_the_tables_are_those_of_the_reference(side, monkeypatch):
    # Typed twice from the published generators, so that a slip would show.
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    typed_again = importlib.import_module("corruption_constants").TABLES
    assert set(typed_again) == set(severity.TABLES)
    ours, reference = severity.TABLES[side], dict(typed_again[side])
    assert set(ours) == set(reference)
    # The generators zoom by a half-open range; its rounding decides how many factors there are.
    reference["zoom_blur"] = [(step, len(np.arange(1, upper, step))) for upper, step in reference["zoom_blur"]]
    for name, rows in ours.items():
        assert list(rows) == reference[name], name


@pytest.mark.parametrize("side", severity.TABLES)
def test_one_constant_corruptions_grow_with_severity(side):
    table = severity.TABLES[side]
    for name in ("gaussian_noise", "impulse_noise", "speckle_noise", "gaussian_blur", "brightness"):
        assert list(table[name]) == sorted(table[name])
    for name in ("shot_noise", "contrast", "pixelate", "jpeg_compression"):
        assert list(table[name]) == sorted(table[name], reverse=True)


@pytest.mark.parametrize(
    "height, width, side",
    [(8, 8, 32), (32, 32, 32), (45, 45, 32), (46, 46, 64), (28, 28, 32), (96, 96, 64), (64, 256, 224), (299, 299, 224)],
)
def test_the_nearest_table_by_ratio(height, width, side):
    assert severity.nearest_table(height, width) == side


def test_constants_are_rows_of_the_published_tables():
    assert severity.constants("gaussian_noise", 3, 32, 32) == (0.08,)
    assert severity.constants("glass_blur", 5, 64, 64) == (0.9, 2, 2)
    assert severity.constants("snow", 1, 64, 64) == (0.1, 0.2, 1.0, 0.6, 8, 3.0, 0.8)
    assert severity.constants("elastic_transform", 1, 224, 224) == (2.0, 0.7, 0.1)
    assert severity.constants("zoom_blur", 5, 224, 224) == (0.03, 11)


@pytest.mark.parametrize("bad, error", [(0, "at least 1; got 0"), (6, "1, 2, 3, 4 or 5; got 6")])
def test_other_severities_are_refused(bad, error):
    with pytest.raises(ValueError, match=error):
        severity.constants("fog", bad, 32, 32)


def test_a_misspelt_corruption_names_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'motion_blur'"):
        severity.constants("motoin_blur", 1, 32, 32)
    with pytest.raises(TypeError, match="severity must be an integer"):
        severity.constants("fog", True, 32, 32)
