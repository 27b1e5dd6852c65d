"""The verdict keeps significance and size apart, with both signs; numbers read as people write them."""

import audit_block
import pytest

from mollax.report.drift_words import audit_summary, nats, p_words, storage_words, verdict


@pytest.mark.parametrize(
    "value, words",
    [
        (1234.5, "1,234"),
        (12.34, "12.3"),
        (1.234, "1.23"),
        (0.1234, "0.123"),
        (0.001234, "0.00123"),
        (-12.34, "\u221212.3"),
        (0, "0"),
        (None, "–"),
    ],
)
def test_nats(value, words):
    assert nats(value) == words


def test_signs_and_p_values():
    assert nats(3.0, sign=True) == "+3.00"
    assert nats(-3.0, sign=True) == "\u22123.00"
    assert p_words(0.0419) == "p = 0.042"
    assert p_words(0.000123) == "p = 0.00012"
    assert p_words(None) == "p = –"


def test_a_positive_drift():
    words = verdict(audit_block.made())
    assert words.startswith("Different beyond chance (p = 0.001), by 12.3 nats an image")
    for part in ("10.1 to 14.4", "0.4 of the spread", "moderate", "less typical", "11.3 % of them"):
        assert part in words


def test_a_negative_drift_is_drift_too():
    words = verdict(audit_block.made(excess=audit_block.excess(-20.0, 0.002), effect=-0.05))
    assert words.startswith("Different beyond chance (p = 0.002), by \u221220.0 nats")
    assert "more typical than held-out training images, as blurred, faded or repeated images" in words
    assert "very small" in words


def test_the_companion_alone():
    words = verdict(audit_block.made(excess=audit_block.excess(0.4, 0.6), effect=0.01))
    assert words.startswith("Different beyond chance by the entropy-aware companion (p = 0.002")
    assert "not by how typical single images are (p = 0.600" in words


def test_no_difference_names_what_could_have_been_seen():
    companion = {**audit_block.made()["entropy_aware"], "p_value": 0.4}
    words = verdict(audit_block.made(excess=audit_block.excess(0.4, 0.6), entropy_aware=companion))
    assert words.startswith("No difference beyond chance (p = 0.600): +0.400 nats")
    assert "a difference of 4.20 nats would have been found" in words


def test_two_tests_share_the_level():
    companion = {**audit_block.made()["entropy_aware"], "p_value": 0.04}
    words = verdict(audit_block.made(excess=audit_block.excess(1.0, 0.04), entropy_aware=companion))
    assert words.startswith("No difference beyond chance")


def test_most_are_copies():
    leakage = {"count": 200, "pairs": []}
    words = verdict(audit_block.made(excess=audit_block.excess(-390.0, 0.001), leakage=leakage))
    assert words.startswith("Copies: 200 of 300 new images are reference images, pixel for pixel")
    assert "more typical than held-out training images, as copies are." in words
    same = verdict(audit_block.made(excess=audit_block.excess(0.4, 0.6), leakage=leakage, entropy_aware=None))
    assert same.startswith("Copies: 200 of 300")
    assert "No difference beyond chance" in same
    assert "Copies" not in verdict(audit_block.made(leakage={"count": 150, "pairs": []}))


def test_a_companion_that_was_not_tested():
    assert verdict(audit_block.made(entropy_aware=None)).endswith("companion was not tested, with so few images.")


def test_storage():
    words = storage_words(audit_block.made())
    assert words.startswith("Stored differently: size 28 x 28 against 40 x 40.")
    assert "JPEG of quality 75" in words
    assert "stored alike" in storage_words(audit_block.made(storage=audit_block.made()["storage"][1:]))
    assert "not known" in storage_words(audit_block.made(storage=[]))


def test_summary():
    text = audit_summary(audit_block.made(), tty=False)
    assert "excess cross-entropy" in text
    assert "+12.3 nats" in text
    assert "copies of reference images" in text
    assert [line.split("  ")[0] for line in text.splitlines()][-1] == "skipped"
    table = audit_summary(audit_block.made(baselines=None, leakage=None, skipped=[], entropy_aware=None), tty=True)
    assert table.row_count == 6
