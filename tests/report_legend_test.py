"""Legends of several runs: every style is another, and labels find room."""

from matplotlib.figure import Figure

from mollax.report.legend import DASHES, LONGEST, PALETTE, columns, height, legend, styles


def test_no_two_runs_look_alike_until_all_pairs_are_used():
    found = [(style["color"], style["linestyle"]) for style in styles(len(PALETTE) * len(DASHES))]
    assert len(set(map(str, found))) == len(found)
    assert [color for color, _ in found[: len(PALETTE)]] == list(PALETTE)


def test_long_labels_take_more_lines():
    short, long = ["a", "b", "c", "d"], ["x" * LONGEST] * 4
    assert columns(short) == 4
    assert columns(long) < 4
    assert height(long) > height(short)


def test_labels_are_shown_as_they_are_and_shortened():
    figure = Figure(layout="constrained")
    labels = ["a $x$ b", "y" * 100]
    legend(figure, labels, styles(2))
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown[0] == "a $x$ b"
    assert len(shown[1]) <= LONGEST
    figure.draw_without_rendering()  # one dollar sign would be a mistake in mathematics
    assert [line.get_color() for line in figure.legends[0].get_lines()] == list(PALETTE[:2])
