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
