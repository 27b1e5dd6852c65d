"""Durations in steps, epochs and percent."""

import pytest

from mollax.durations import to_steps


@pytest.mark.parametrize(
    "text, expected",
    [
        ("2000 steps", 2000),
        ("1 step", 1),
        ("30 epochs", 300),
        ("0.5epochs", 5),
        ("2.54 epochs", 25),
        ("5 %", 50),
        ("5percent", 50),
        ("1e2 steps", 100),
        ("0 %", 0),
        ("0 steps", 0),
        ("0.001 %", 1),
    ],
)
def test_units(text, expected):
    assert to_steps("train.duration", text, steps_per_epoch=10, total=1000) == expected


@pytest.mark.parametrize("text", ["10", "ten epochs", "5 epochs 3 steps", "", "5 minutes", "-3 steps"])
def test_anything_but_one_number_with_one_unit_is_refused(text):
    with pytest.raises(ValueError, match=r"log\.every must be one number with one unit"):
        to_steps("log.every", text, steps_per_epoch=10)


def test_half_a_step_is_refused():
    with pytest.raises(ValueError, match=r"whole number of steps; got '2\.5 steps'"):
        to_steps("log.every", "2.5 steps", steps_per_epoch=10)


def test_a_percentage_needs_something_to_refer_to():
    with pytest.raises(ValueError, match="cannot be a percentage"):
        to_steps("train.duration", "5 %", steps_per_epoch=10)


def test_more_than_the_whole_run_is_refused():
    with pytest.raises(ValueError, match="more than the whole run"):
        to_steps("optim.warmup", "101 %", steps_per_epoch=10, total=100)
