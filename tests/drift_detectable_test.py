"""The smallest detectable excess against simulated power, with and without groups."""

import numpy as np
import pytest
import scipy.stats

from mollax.drift.detectable import detectable
from mollax.drift.excess import excess


def test_by_hand(rng):
    held = rng.normal(size=50)
    expected = (1.959964 + 0.841621) * held.std(ddof=1) * np.sqrt(1 / 50 + 1 / 20)
    assert detectable(held, 20) == pytest.approx(expected, rel=1e-6)
    assert detectable(held, 20, groups=np.arange(50)) == pytest.approx(expected, rel=1e-6)
    # The limit of many new points is what the held-out points leave.
    limit = scipy.stats.norm.ppf([0.995, 0.9]).sum() * held.std(ddof=1) / np.sqrt(50)
    assert detectable(held, 10**9, power=0.9, level=0.01) == pytest.approx(limit, rel=1e-6)


@pytest.mark.parametrize(
    "power, level, sign, toys",
    [
        (0.8, 0.05, 1, 300),
        pytest.param(0.8, 0.05, -1, 3000, marks=pytest.mark.slow),
        pytest.param(0.6, 0.1, 1, 3000, marks=pytest.mark.slow),
        pytest.param(0.9, 0.05, -1, 3000, marks=pytest.mark.slow),
    ],
)
def test_it_is_detected_with_the_power(rng, power, level, sign, toys):
    hits = []
    for _ in range(toys):
        held, new = rng.gamma(4.0, size=80), rng.gamma(4.0, size=60)
        shift = sign * detectable(held, 60, power=power, level=level)
        hits.append(excess(held, new - shift, permutations=199, resamples=1, level=level).p_value <= level + 1e-9)
    assert np.mean(hits) == pytest.approx(power, abs=0.015 + 3 * np.sqrt(power * (1 - power) / toys))


def test_groups_are_detected_with_the_power(rng):
    def draw(groups: int) -> tuple[np.ndarray, np.ndarray]:
        numbers = np.repeat(np.arange(groups), 4)
        return rng.normal(size=groups)[numbers] + 0.5 * rng.normal(size=len(numbers)), numbers

    hits = []
    for _ in range(200):
        (held, first), (new, second) = draw(40), draw(30)
        shift = detectable(held, 120, groups=first)
        assert shift > 1.5 * detectable(held, 120)
        found = excess(held, new - shift, permutations=199, resamples=1, groups_held=first, groups_new=second)
        hits.append(found.p_value <= 0.05 + 1e-9)
    assert np.mean(hits) == pytest.approx(0.8, abs=0.1)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    "options, message",
    [
        ({"held_log": np.zeros(1)}, "at least two held-out points; got 1"),
        ({"groups": [7, 7, 7]}, "at least two held-out groups; got 1"),
        ({"m": 0}, "m must be at least 1"),
        ({"power": 0.3}, r"power must be in \[0.5, 1\)"),
        ({"level": 0.0}, r"level must be in \(0, 1\)"),
        ({"held_log": np.array([0, np.nan])}, "held_log must be finite"),
    ],
)
def test_bad_input_is_refused(options, message):
    arguments = {"held_log": np.arange(3.0), "m": 5, **options}
    with pytest.raises(ValueError, match=message):
        detectable(arguments.pop("held_log"), arguments.pop("m"), **arguments)
