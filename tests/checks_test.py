"""The door: every message says what was given, what was expected, what to do."""

import numpy as np
import pytest

from mollax import checks


def test_good_values_come_back():
    assert checks.one_of("fruit", "pear", ("apple", "pear")) == "pear"
    assert checks.in_range("x", 0.5, 0.0, 1.0) == 0.5
    assert checks.in_range("x", 3) == 3
    assert checks.positive_int("n", 4) == 4
    assert checks.positive_int("n", 0, minimum=0) == 0
    assert checks.same_length(("a", "b"), ([1, 2], [3, 4])) == 2
    checks.rank("image", np.zeros((2, 3, 4)), 3, "(height, width, channels)")


def test_unknown_word_lists_all_and_names_the_nearest():
    with pytest.raises(ValueError, match=r"fruit must be one of 'apple', 'pear'; got 'peer'\. Did you mean 'pear'\?"):
        checks.one_of("fruit", "peer", ("apple", "pear"))


def test_nothing_near_gives_no_hint():
    with pytest.raises(ValueError, match=r"got 'xyz'\.$"):
        checks.one_of("fruit", "xyz", ("apple", "pear"))


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        ((1.5, 0.0, 1.0), {}, r"x must be in \[0, 1\]; got 1\.5"),
        ((0.0, 0.0, 1.0), {"open_low": True}, r"x must be in \(0, 1\]; got 0\.0"),
        ((1.0, 0.0, 1.0), {"open_high": True}, r"x must be in \[0, 1\); got 1\.0"),
        ((-1.0, 0.0), {}, r"x must be in \[0, inf\); got -1\.0"),
        ((float("nan"),), {}, r"x must be in \(-inf, inf\); got nan"),
        ((float("inf"), 0.0), {}, "got inf"),
    ],
)
def test_values_outside_their_interval(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        checks.in_range("x", *arguments, **options)


def test_wrong_shapes_are_shown():
    with pytest.raises(ValueError, match=r"image must have 3 axes \(height, width, channels\); got shape \(2, 3\)"):
        checks.rank("image", np.zeros((2, 3)), 3, "(height, width, channels)")
    with pytest.raises(ValueError, match="images has 3, labels has 2"):
        checks.same_length(("images", "labels"), ([1, 2, 3], [1, 2]))


def test_booleans_are_not_numbers(monkeypatch):
    import jaxtyping

    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(TypeError, match="n must be an integer, got True of type bool"):
        checks.positive_int("n", True)
    with pytest.raises(TypeError, match="x must be a number, got 'a' of type str"):
        checks.in_range("x", "a")
    with pytest.raises(ValueError, match="n must be at least 1; got 0"):
        checks.positive_int("n", 0)
