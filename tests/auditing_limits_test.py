"""Limits break on the side of the interval that they are about."""

import audit_block
import pytest

from mollax.auditing import Limits, broken


def test_each_limit():
    block = audit_block.made()  # 12.3 nats, 10.1 to 14.4, p = .001, 11.3 % flagged
    for limits, words in (
        (Limits(above=10), "begins at 10.1 nats, above 10"),
        (Limits(above=11), None),
        (Limits(below=20), "ends at 14.4 nats, below 20"),
        (Limits(below=-1), None),
        (Limits(p=0.002), "smaller of two p-values is 0.001"),
        (Limits(p=0.001), None),
        (Limits(flagged_share=0.1), "11.3 % of new images are flagged, above 10 %"),
        (Limits(flagged_share=0.2), None),
        (Limits(), None),
    ):
        found = broken(block, limits)
        assert (words is None and not found) or words in found[0]
    assert len(broken(block, Limits(10, 20, 0.05, 0.1))) == 4


def test_negative_drift_breaks_its_own_limit():
    block = audit_block.made(excess=audit_block.excess(-30.0, 0.001), entropy_aware=None)
    assert broken(block, Limits(below=-20))
    assert not broken(block, Limits(above=-20))


def test_limits_are_checked():
    with pytest.raises(ValueError, match="fail-p must be in"):
        Limits(p=2)
    with pytest.raises(ValueError, match="fail-above must be in"):
        Limits(above=float("nan"))
    with pytest.raises(ValueError, match=r"fail-p must be in \(0, 1\]; got 0"):
        Limits(p=0.0)


def test_a_gate_that_could_never_fail_is_refused():
    """p is at least 1 / (permutations + 1) and shared by two tests."""
    with pytest.raises(ValueError, match=r"--fail-p=0.001 is shared by two tests, 0.0005 each.*--permutations=1999 or"):
        Limits(p=0.001).check_permutations(1000)
    Limits(p=0.001).check_permutations(1999)
    with pytest.raises(ValueError, match="--permutations=1999 or more"):
        Limits(p=0.001).check_permutations(1998)
    block = audit_block.made(excess=audit_block.excess(1.0, 1 / 2000), entropy_aware=None)
    assert broken(block, Limits(p=0.001))  # the smallest p-value of 1,999 permutations


def test_the_verdict_has_a_level_too():
    with pytest.raises(ValueError, match=r"verdict's level of 0.05 is shared.*--permutations=39 or more"):
        Limits().check_permutations(38)
    Limits(p=0.5).check_permutations(39)
    assert (Limits().level, Limits(p=0.2).level, Limits(p=0.01).level) == (0.05, 0.05, 0.01)
