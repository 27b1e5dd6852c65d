"""The frame of every HTML page: its style, figures as inline SVG, and writing it in one move.

Style is inline, images are embedded, there is no script, and a content policy forbids every request, so that a page
can be mailed, archived and opened offline.
"""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Iterable
from html import escape
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from mollax.report.plots import THEME

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --muted: #656d76; --line: #d0d7de; --paper: #ffffff;
  --page: #f6f8fa; --blue: #0072b2; --orange: #d55e00; --green: #009e73; --sky: #56b4e9; }
@media (prefers-color-scheme: dark) { :root {
  --ink: #e6edf3; --muted: #9aa4af; --line: #3a424c; --paper: #161b22; --page: #0d1117;
  --blue: #58b0e6; --orange: #f0883e; --green: #3fc99b; --sky: #4a9fd0; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 36px 0 10px; }
.sub, figcaption, .small { color: var(--muted); font-size: .9rem; }
.lead { font-size: 1.12rem; margin: 18px 0; max-width: 52em; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px;
  margin: 18px 0; }
.card, figure, .panel { background: var(--paper); border: 1px solid var(--line); border-radius: 10px;
  padding: 14px 16px; }
.card b { display: block; font-size: 1.6rem; line-height: 1.2; font-weight: 600; }
figure, .panel { margin: 0 0 16px; }
figcaption { margin-top: 10px; max-width: 62em; }
.scroll { overflow-x: auto; }
.scroll svg { display: block; max-width: none; height: auto; }
@media (min-width: 900px) { .scroll svg { max-width: 100%; } }
svg text { font-family: system-ui, "Segoe UI", Roboto, sans-serif !important; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
.scroll table { min-width: 720px; }
.dense th, .dense td { padding: 5px 3px; font-size: .78rem; }
.dense td:first-child { min-width: 8em; }
.dense small { font-size: .72rem; }
th small { display: block; }
.panel > p:first-child { margin-top: 0; }
th:first-child, td:first-child { text-align: left; min-width: 11em; overflow-wrap: anywhere; }
th { color: var(--muted); font-weight: 500; vertical-align: bottom; }
tr:last-child > td { border-bottom: 0; }
td small { display: block; color: var(--muted); white-space: nowrap; }
td:first-child small { white-space: normal; }
.heat { background: rgb(213 94 0 / calc(var(--e) * .65)); }
pre { overflow-x: auto; background: var(--page); border: 1px solid var(--line); border-radius: 8px;
  padding: 10px 12px; font: .85rem/1.5 ui-monospace, Menlo, Consolas, monospace; margin: 8px 0; }
details { margin: 10px 0; }
summary { cursor: pointer; color: var(--blue); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 0; }
dt { color: var(--muted); } dd { margin: 0; overflow-wrap: anywhere; }
footer { margin-top: 40px; color: var(--muted); font-size: .85rem; }
@media print { figure, .panel, .card { break-inside: avoid; } }
"""

_CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(title: str, body: Iterable[str], footer: str) -> str:
    """A whole page of parts that are HTML already, empty ones left out; `title` is escaped here."""
    return (
        "<!DOCTYPE html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        f'<meta http-equiv="Content-Security-Policy" content="{_CONTENT_POLICY}">\n'
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body><main>\n"
        + "\n".join(part for part in body if part)
        + f"\n<footer>{footer}</footer>\n</main></body>\n</html>\n"
    )


def write_page(path: str | Path, text: str) -> None:
    """Writes `text` to `path` in one move: readers see the old page or the new one, never half.

    Raises:
      FileNotFoundError: if the folder of `path` does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"The report goes to {path}, but the folder {path.parent} does not exist; create it first."
        )
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def figure_block(name: str, figure: Figure, label: str, caption: str) -> str:
    """A figure of a page; `name` keeps the ids inside it apart from those of other figures."""
    return (
        f"<figure><div class='scroll'>{_svg(name, figure, label)}</div>"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _svg(name: str, figure: Figure, label: str) -> str:
    """The figure as an SVG element with real text, ids of its own, and the colors of the page."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), warnings.catch_warnings():
        # The browser has its own fonts: what matplotlib's lacks matters for measuring only.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text)
    text = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{name}-", text)
    for color, variable in THEME.items():
        text = re.sub(rf"(?<=: ){color}\b", f"var({variable})", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
