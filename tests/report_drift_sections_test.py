"""Sections of the audit's page: what each says, and that it is left out where there is nothing to say."""

import audit_block

from mollax.report import drift_sections as sections


def test_folders_say_what_they_are_compared_with():
    rows = audit_block.made()["folders"]
    page = "".join(sections.folders_section(audit_block.made()))
    assert "over all held-out images, with" in page
    assert "<td>day0</td><td>50</td><td>+30.0</td><td>27.0 to 33.0</td><td>0.020</td><td>10.0 %</td>" in page
    page = "".join(sections.folders_section({"folders": rows, "folders_within_classes": True}))
    assert "over all held-out images of the same class, with" in page
    assert sections.folders_section({"folders": []}) == []


def test_classes():
    classes = audit_block.made()["classes"]
    page = "".join(sections.classes_section(audit_block.made()))
    assert "Of +12.3 nats: label shift +2.30 nats (1.00 to 3.50); within classes +10.0 nats" in page
    assert "<td>four</td><td>2</td><td>\u22121.00</td><td>–</td><td>–</td>" in page
    missing = {**classes, "label_shift": None, "within": None, "missing": ["five"]}
    assert "No held-out images of five" in "".join(sections.classes_section({"classes": missing}))
    assert sections.classes_section({"classes": None}) == []


def test_long_lists_are_cut():
    pairs = [{"new": f"new{i}", "reference": "x"} for i in range(300)]
    page = "".join(sections.leakage_section({"leakage": {"count": 5000, "pairs": pairs}}))
    assert "5,000 copies, the first 200" in page
    assert "new199" in page
    assert "new200" not in page
    assert sections.leakage_section({"leakage": {"count": 0, "pairs": []}}) == []


def test_copies_say_of_which_part_they_are():
    pairs = [{"new": "a", "reference": "b", "part": "held-out"}, {"new": "c", "reference": "d", "part": "bank"}]
    page = "".join(sections.leakage_section({"leakage": {"count": 2, "pairs": pairs}}))
    assert "<td>b</td><td>held-out</td>" in page
    assert "<td>d</td><td>bank</td>" in page


def test_other_tests_and_data():
    page = "".join(sections.baselines_section(audit_block.made()))
    assert "<td>MMD</td><td>0.012</td><td style='white-space:nowrap'>0.004</td>" in page
    assert sections.baselines_section({"baselines": None}) == []
    page = "".join(sections.data_section(audit_block.made(skipped=[{"where": "<a>", "reason": "empty"}] * 2)))
    assert "2 files left out" in page
    assert "&lt;a&gt;" in page
    assert "python -m mollax.audit --new=x" in page
