"""Tests of an audit at half the level each, with true counts, and what can be tested with few images."""

import types

import numpy as np
import pytest
import scipy.stats

from mollax.auditing import Settings, significance
from mollax.auditing.reference import Part
from mollax.drift.kernels import Gaussian
from mollax.report.drift_words import LEVEL

SETTINGS = Settings("", "", permutations=99, resamples=50, baselines=False)


def sides(held, new, *, groups=None, shift=0.0):
    """What `tests` reads of prepared and scored sides: points of two dimensions, scored by their distance from 0."""
    rng = np.random.default_rng(0)
    points = [rng.normal(size=(held, 2)).astype(np.float32), rng.normal(shift, 1, (new, 2)).astype(np.float32)]
    groups = groups or (None, None)
    parts = [
        Part(one, None, None, names, tuple(map(str, range(len(one)))))
        for one, names in zip(points, groups, strict=True)
    ]
    prepared = types.SimpleNamespace(reference=types.SimpleNamespace(held=parts[0]), new_part=parts[1])
    logs = [-np.square(one).sum(1).astype(np.float64) for one in points]
    scored = types.SimpleNamespace(
        bank=points[0], held=points[0], new=points[1], kernel=Gaussian(0.5), held_log=logs[0], new_log=logs[1]
    )
    return prepared, scored


def run(held, new, *, settings=SETTINGS, level=LEVEL, **options):
    prepared, scored = sides(held, new, **options)
    significance.check_enough(settings, prepared, level=level)
    return significance.tests(settings, prepared, scored, lambda *_: None, level=level), scored


@pytest.fixture(autouse=True)
def _stand_ins(unhooked):
    """The sides above only look like those of an audit."""


def test_what_is_detectable_is_what_the_verdict_would_find():
    """Power .8 of the two-sided z-test at .025, by the normal distribution."""
    block, scored = run(60, 40)
    z = scipy.stats.norm.ppf(1 - 0.0125) + scipy.stats.norm.ppf(0.8)
    expected = z * scored.held_log.std(ddof=1) * np.sqrt(1 / 40 + 1 / 60)
    assert block["detectable"] == {"nats": pytest.approx(expected), "power": 0.8, "level": 0.025}


@pytest.mark.parametrize("permutations", [19, 38])
def test_permutations_that_could_never_alarm_are_refused(permutations):
    settings = Settings("", "", permutations=permutations, resamples=50, baselines=False)
    with pytest.raises(ValueError, match=r"none reaches the level 0.025: ask for at least 39"):
        run(60, 40, settings=settings)


def test_both_tests_are_asked_for_half_the_level(monkeypatch):
    seen = []
    for name in ("excess", "entropy_aware"):
        real = getattr(significance, name)
        monkeypatch.setattr(
            significance, name, lambda *a, _real=real, **o: (seen.append(o["level"]), _real(*a, **o))[1]
        )
    run(60, 40, level=0.04)
    assert seen == [0.02, 0.02]


def test_few_images_are_tested_as_far_as_they_can_be():
    """3 new images against 12: C(15, 3) = 455 relabellings for the excess, C(5, 3) = 10 for the companion."""
    block, _ = run(12, 3, shift=50.0)
    assert block["excess"]["p_value"] == pytest.approx(0.01)
    assert block["entropy_aware"] is None
    assert (
        "of 12 held-out and 3 new images the entropy-aware companion takes about equally many" in block["untested"][0]
    )
    both, _ = run(12, 6)
    assert both["entropy_aware"]["points"] == 6
    assert both["untested"] == []


def test_too_few_images_are_refused_by_their_true_number():
    with pytest.raises(ValueError, match="12 held and 1 new images are too few"):
        run(12, 1)
    with pytest.raises(ValueError, match="30 held and 2 new images are too few"):
        run(30, 2, level=0.001, settings=Settings("", "", permutations=9999))
    with pytest.raises(ValueError, match="2 held and 4 new groups of images are too few"):
        run(20, 20, groups=(["a", "b"] * 10, list("cdef") * 5))


def test_other_tests_need_four_images_a_side():
    settings = Settings("", "", permutations=99, resamples=50)
    assert run(12, 3, settings=settings)[0]["baselines"] is None
    assert set(run(12, 4, settings=settings)[0]["baselines"]) == {"MMD", "Kolmogorov-Smirnov", "classifier"}
