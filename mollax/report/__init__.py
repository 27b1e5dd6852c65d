"""What a run found, for people: figures, tables, sentences and one self-contained HTML page.

Pure functions of plain data (the content of `results.json`, the rows of `metrics.jsonl`, NumPy images).
Images are NHWC floats in [0, 1]; errors, ECE, Brier scores and label weights are fractions, shown in percent
where so labelled; NLL is in nats. None and NaN stand for "not known" and appear as a dash or a gap, never as
zero.
"""

from mollax.report.comparison import comparison_rows, comparison_text
from mollax.report.comparison_html import write_comparison
from mollax.report.detection import detection_headline, detection_section, detection_table
from mollax.report.drift_table import drift_headline, drift_section
from mollax.report.html import report_html, write_report
from mollax.report.plots import (
    mistake_grid,
    mollified_grid,
    reliability_diagram,
    stress_bars,
    training_curves,
)
from mollax.report.table import headline, markdown_table, terminal_table

__all__ = [
    "comparison_rows",
    "comparison_text",
    "detection_headline",
    "detection_section",
    "detection_table",
    "drift_headline",
    "drift_section",
    "headline",
    "markdown_table",
    "mistake_grid",
    "mollified_grid",
    "reliability_diagram",
    "report_html",
    "stress_bars",
    "terminal_table",
    "training_curves",
    "write_comparison",
    "write_report",
]
