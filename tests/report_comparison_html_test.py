"""The page that compares runs: its tables, its sections, and what it does with odd labels and missing blocks."""

from __future__ import annotations

import re

import pytest
from comparison_results import results

from mollax.report import comparison_html as html
from mollax.report import comparison_rows, write_comparison


def cells(page: str, label: str) -> list[list[str]]:
    """The cells of every line that begins with a label."""
    lines = re.findall(rf"<tr><td>{re.escape(label)}</td>(.*?)</tr>", page)
    return [re.findall(r"<td[^>]*>(.*?)</td>", line) for line in lines]


GROUPS = {"plain": [results(0.2), results(0.3)], "mollified": [results(0.1), results(0.12)]}


def test_page_has_summary_groups_and_corruptions(tmp_path):
    write_comparison(tmp_path / "sweep.html", GROUPS, title="Two runs", command="python -m mollax.sweep")
    page = (tmp_path / "sweep.html").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.html"]
    assert page == html.comparison_html(GROUPS, title="Two runs", command="python -m mollax.sweep"), "deterministic"
    summary, by_group, singly = cells(page, "plain")
    assert summary[0] == "25.0<small>± 7.1</small>"
    assert len(summary) == 6
    assert len(by_group) == 6
    assert len(singly) == 15
    assert cells(page, "mollified")[1][-1] == "<b>14.7</b><small>± 1.4</small>"
    for words in ("clean error %", "noise (3)", "weather (4)", "mean of 15", "JPEG<small>digital</small>"):
        assert f"<th scope='col'>{words}</th>" in page
    assert page.count("<svg") == 5
    assert len(set(re.findall(r'\bid="([^"]+)"', page))) == len(re.findall(r'\bid="([^"]+)"', page))
    assert "python -m mollax.sweep" in page
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert "“mollified” errs least, on 14.7 ± 1.4 %; “plain” on 28.7 ± 7.1 %." in page


def test_shades_run_from_best_to_worst():
    rows = comparison_rows({**GROUPS, "middle": [results(0.18)]})
    table = html.heat_table(rows, [("clean", "error", ("clean",))])
    assert re.findall(r"--e:([\d.]+)", table) == ["0.75", "0.00", f"{0.75 * 7 / 14:.2f}"]
    assert "<b>11.0</b>" in table
    assert table.count("<b>") == 1
    assert "--e" not in html.heat_table(rows, [("clean", "error", ("clean",))], shaded=False)


def test_without_corruptions_there_are_stresses():
    page = html.comparison_html({name: [results(0.1, corruptions=False)] for name in ("a", "b")})
    assert "2 runs side by side" in page
    assert "<h2>Stress tests</h2>" in page
    assert "<h2>Corruptions</h2>" not in page
    assert cells(page, "a")[1] == ["<b>30.0</b>"]
    assert page.count("<svg") == 1
    assert "To get these runs again" not in page


def test_a_run_without_the_benchmark_has_dashes():
    page = html.comparison_html({**GROUPS, "late": [results(0.4, corruptions=False)]})
    summary, by_group, singly = cells(page, "late")
    assert summary == ["40.0", "0.80", "20.0", "–", "–", "–"]
    assert by_group == ["40.0", *["–"] * 5]
    assert singly == ["–"] * 15


def test_odd_labels_and_left_out_corruptions():
    odd = "<b>$x_1$ & friends</b> " + "long " * 20
    groups = {odd: [results(0.1, ("fog", "snow", "frost"))], "all": [results(0.2)]}
    page = html.comparison_html(groups, title="<script>", command="<img>")
    assert "<script>" not in page
    assert "<img>" not in page
    assert "&lt;b&gt;$x_1$ &amp; friends&lt;/b&gt;" in page
    assert "not every run has them: Brightness, Contrast, Defocus blur" in page
    assert "mean of 3" in page


def test_one_run_alone():
    page = html.comparison_html({"only": [results(0.1)]})
    assert page.count("<svg") == 4, "nothing to hold it against"
    assert "1 run<" in page


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="create it first"):
        write_comparison(tmp_path / "absent" / "sweep.html", GROUPS)
    with pytest.raises(ValueError, match="labels with the results"):
        write_comparison(tmp_path / "sweep.html", {})
    assert not list(tmp_path.iterdir())
