"""The frame of a page: complete, escaped, written in one move, figures with ids of their own."""

import re

import pytest
from matplotlib.figure import Figure

from mollax.report.page import figure_block, page, write_page


def test_a_page_has_its_parts_and_escapes_its_title():
    text = page("a < b", ["<p>one</p>", "", "<p>two</p>"], "the end")
    assert "<title>a &lt; b</title>" in text
    assert "<p>one</p>\n<p>two</p>\n<footer>the end</footer>" in text
    assert text.startswith("<!DOCTYPE html>")
    assert 'http-equiv="Content-Security-Policy"' in text


def test_figures_keep_their_ids_apart():
    def block(name):
        figure = Figure(figsize=(2, 2))
        figure.add_subplot().plot([0, 1], [0, 1])
        return figure_block(name, figure, "a line", "x < y")

    first, second = block("one"), block("two")
    for text, mine, other in ((first, "one", "two"), (second, "two", "one")):
        assert f'id="{mine}-' in text
        assert f'id="{other}-' not in text
        uses = re.findall(r"url\(#([^)]*)\)|href=\"#([^\"]*)\"", text)
        assert uses
        assert all((a or b).startswith(f"{mine}-") for a, b in uses)
    assert "<figcaption>x &lt; y</figcaption>" in first


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    write_page(tmp_path / "a.html", "text ä")
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == "text ä"
    assert [file.name for file in tmp_path.iterdir()] == ["a.html"]
    with pytest.raises(FileNotFoundError, match=r"the folder .* does not exist; create it first"):
        write_page(tmp_path / "none" / "a.html", "text")
