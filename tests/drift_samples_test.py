"""The door: what is refused by message, units of groups, whole units chosen."""

import jax.numpy as jnp
import numpy as np
import pytest

from mollax.drift import samples


def test_points_and_log_densities_become_float64():
    for array in (np.ones((2, 3), np.float32), jnp.ones((2, 3))):
        assert samples.host_points("x", array).dtype == np.float64
        assert samples.log_densities("x", array[0]).dtype == np.float64


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "values, message",
    [
        (np.zeros(0), "new_log must hold at least one point; got none"),
        (np.zeros((3, 1)), r"new_log must have 1 axes \(points,\); got shape \(3, 1\)"),
        (np.array([0.0, np.nan, -np.inf]), "new_log must be finite; 2 of 3 are not, the first is nan at point 1"),
    ],
)
def test_bad_log_densities(values, message):
    with pytest.raises(ValueError, match=message):
        samples.log_densities("new_log", values)


def test_too_few_points():
    with pytest.raises(ValueError, match="held must hold at least 4 points; got 3"):
        samples.host_points("held", np.ones((3, 2)), minimum=4)
    with pytest.raises(ValueError, match="new has points of 2 values, the other points have 3"):
        samples.host_points("new", np.ones((3, 2)), width=3)


def test_units_by_hand():
    values, names = np.array([1.0, 2, 4, 8]), ["b", "a", "b", "c"]
    numbers = samples.unit_numbers("groups", 4, names)
    np.testing.assert_array_equal(numbers, [1, 0, 1, 2])
    units = samples.units_of(values, numbers)
    np.testing.assert_array_equal(units.sums, [2, 5, 8])
    np.testing.assert_array_equal(units.counts, [1, 2, 1])
    np.testing.assert_array_equal(samples.unit_numbers("groups", 3, None), [0, 1, 2])


@pytest.mark.usefixtures("unhooked")
def test_groups_must_match():
    with pytest.raises(ValueError, match="groups_new must name a group for each of the 4 points; got 3"):
        samples.unit_numbers("groups_new", 4, [1, 2, 3])
    with pytest.raises(ValueError, match=r"groups must have 1 axes"):
        samples.unit_numbers("groups", 2, np.zeros((2, 2)))
    with pytest.raises(ValueError, match="for the held points only; give the new ones theirs"):
        samples.check_both_or_none([1], None)
    with pytest.raises(ValueError, match="for the new points only; give the held ones theirs"):
        samples.check_both_or_none(None, [1])


def test_constant(monkeypatch):
    monkeypatch.setattr(samples, "VALUES", 6)
    array = np.ones((5, 3), np.float32)
    assert samples.is_constant(array)
    array[4, 2] = 0
    assert not samples.is_constant(array)


def test_whole_units_are_chosen(rng):
    numbers = np.array([0, 1, 1, 2, 2, 2, 3, 3, 3, 3])
    seen = set()
    for _ in range(200):
        rows = samples.chosen_rows(numbers, 5, rng)
        assert len(rows) <= 5
        taken = set(numbers[rows].tolist())
        assert sorted(rows) == [row for row in range(10) if numbers[row] in taken]
        # Whatever is left would not fit.
        left = [int((numbers == unit).sum()) for unit in range(4) if unit not in taken]
        assert all(len(rows) + count > 5 for count in left)
        seen.add(tuple(sorted(taken)))
    assert seen == {(0, 1), (0, 3), (0, 2), (1, 2)}
    np.testing.assert_array_equal(samples.chosen_rows(numbers, 10, rng), np.arange(10))


def test_points_are_chosen_evenly(rng):
    drawn = np.bincount(np.concatenate([samples.chosen_rows(np.arange(8), 3, rng) for _ in range(2000)]))
    np.testing.assert_allclose(drawn, 750, atol=5 * np.sqrt(2000 * 3 / 8 * 5 / 8))
