"""The audit's page: what comes first, all sections, escaped words, nothing from outside."""

import audit_block
import pytest

from mollax.report import drift
from mollax.report.drift import audit_html, write_audit


@pytest.fixture(scope="module")
def page():
    return audit_html(audit_block.made(), most=audit_block.pictures(3), least=audit_block.pictures(2))


def test_storage_comes_before_the_verdict(page):
    order = ["<h1>", "Stored differently", "Different beyond chance", "class='card'", "The images to blame", "<h2>Data"]
    places = [page.index(part) for part in order]
    assert places == sorted(places)
    assert "<b style='color:var(--orange)'>differs</b>" in page


def test_all_sections(page):
    for part in (
        "Excess by sub-folder",
        "label shift +2.30 nats",
        "within classes +10.0 nats",
        "Copies of reference images",
        "Other tests",
        "scans/bad.png",
        "To get this page again",
        "The most typical images",
        "3 gray images repeated to RGB",
    ):
        assert part in page, part


def test_the_glossary_speaks_of_the_level_of_the_verdict(page):
    assert "at the level of the verdict (2.5 %, half of 5 % for each of two tests)" in page


def test_words_are_escaped_and_nothing_is_fetched(page):
    assert "scans &lt;b&gt;" in page
    assert "scans <b>" not in page
    assert "chosen &lt;here&gt;" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page


def test_a_bare_block():
    bare = dict.fromkeys(("curve", "folders", "classes", "leakage", "baselines", "skipped", "entropy_aware", "command"))
    block = audit_block.made(**bare, storage=[], notes=[])
    page = audit_html(block)
    assert "How the reference was stored is not known" in page
    for heading in ("Where it comes from", "Class by class", "Other tests", "Copies of reference", "images to blame"):
        assert heading not in page
    assert page == audit_html(block)


def test_it_is_written_in_a_folder(tmp_path, monkeypatch, page):
    monkeypatch.setattr(drift, "audit_html", lambda block, **pictures: page)
    write_audit(tmp_path / "audit.html", audit_block.made())
    assert (tmp_path / "audit.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(FileNotFoundError, match="does not exist; create it first"):
        write_audit(tmp_path / "no" / "audit.html", audit_block.made())
