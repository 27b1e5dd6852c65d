"""Tests by dimension against scipy, corrections by hand, constant dimensions, size, bad input."""

import importlib

import numpy as np
import pytest
import scipy.stats

from mollax.drift.kolmogorov_smirnov import kolmogorov_smirnov

module = importlib.import_module("mollax.drift.kolmogorov_smirnov")  # the package has the function by this name


@pytest.mark.parametrize("sizes", [(40, 40), (37, 90), (500, 7)])
def test_agrees_with_scipy(rng, monkeypatch, sizes):
    monkeypatch.setattr(module, "_VALUES", 3 * sum(sizes))
    held, new = (rng.normal(size=(size, 8)) for size in sizes)
    new = new * np.linspace(0.5, 2, 8) + 0.2
    held[:, 5:], new[:, 5:] = held[:, 5:].round(), new[:, 5:].round()  # ties
    found = kolmogorov_smirnov(held, new)
    for column in range(8):
        theirs = scipy.stats.ks_2samp(held[:, column], new[:, column], method="asymp")
        assert found.statistics[column] == pytest.approx(theirs.statistic, abs=1e-12)
        assert found.p_values[column] == pytest.approx(theirs.pvalue, rel=1e-9)


def test_corrections_by_hand(rng, monkeypatch):
    p_values = np.array([0.001, 0.02, 0.012, 0.2, 0.9])
    monkeypatch.setattr(scipy.stats.kstwo, "sf", lambda statistics, n: p_values)
    found = kolmogorov_smirnov(rng.normal(size=(9, 5)), rng.normal(size=(9, 5)))
    assert found.p_value == pytest.approx(0.005)
    # Bonferroni: below .05 / 5. Benjamini-Hochberg: the k-th smallest below .05 k / 5, up to the last such k.
    np.testing.assert_array_equal(found.bonferroni, [True, False, False, False, False])
    np.testing.assert_array_equal(found.benjamini_hochberg, [True, True, True, False, False])


def test_constant_dimensions_do_not_count(rng):
    held, new = rng.normal(size=(50, 3)), rng.normal(size=(50, 3))
    wide = [np.concatenate([side, np.zeros((50, 97))], axis=1) for side in (held, new)]
    plain, padded = kolmogorov_smirnov(held, new), kolmogorov_smirnov(*wide)
    assert (plain.tested, padded.tested) == (3, 3)
    assert padded.p_value == plain.p_value
    assert (padded.p_values[3:] == 1).all()
    assert not padded.benjamini_hochberg[3:].any()
    # A dimension that is constant on one side only is as different as can be.
    wide[1][:, 50] = 1
    found = kolmogorov_smirnov(*wide)
    assert found.tested == 4
    assert found.bonferroni[50]
    assert found.p_value < 1e-20


def test_size_is_at_most_the_level(rng):
    hits = [kolmogorov_smirnov(rng.normal(size=(60, 6)), rng.normal(size=(45, 6))).p_value <= 0.05 for _ in range(200)]
    assert 0.005 <= np.mean(hits) <= 0.1


def test_a_shifted_dimension_is_named(rng):
    held, new = rng.normal(size=(200, 30)), rng.normal(size=(200, 30))
    new[:, [4, 17]] += 0.8
    found = kolmogorov_smirnov(held, new)
    np.testing.assert_array_equal(np.flatnonzero(found.bonferroni), [4, 17])
    assert set(np.flatnonzero(found.benjamini_hochberg)) >= {4, 17}


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "options, message",
    [
        ({"new": np.zeros((0, 2))}, "new must hold at least one point"),
        ({"new": np.ones((9, 3))}, "new has points of 3 values"),
        ({"new": np.full((9, 2), np.nan)}, "new must hold finite numbers"),
        ({"held": np.ones((5, 2))}, "All 14 pooled points are equal"),
        ({"level": 1.0}, r"level must be in \(0, 1\)"),
    ],
)
def test_bad_input_is_refused(options, message):
    arguments = {"held": np.arange(18.0).reshape(9, 2), "new": np.ones((9, 2)), **options}
    with pytest.raises(ValueError, match=message):
        kolmogorov_smirnov(arguments.pop("held"), arguments.pop("new"), **arguments)
