"""Several runs side by side: each a label with the results of its seeds, as numbers (mean and deviation) and as text.

`groups` maps a label, such as "FCR + mollification", to the contents of results.json of its seeds. What a run lacks is
left out: without the corruption benchmark only the clean and stressed test images are compared. Corruptions are those
that every run with the benchmark has, so that all means are over the same ones; held-out ones are in no mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from mollax.report.table import DASH, _aligned, as_float, benchmark_names, decimal, evaluations_of, main_evaluation

Results = Mapping[str, Any]
Row = dict[str, Any]
METRICS = ("error", "nll", "ece")
SCALES = {"error": 100.0, "nll": 1.0, "ece": 100.0}
TITLES = {"error": "Error (%)", "nll": "NLL (nats)", "ece": "ECE (%)"}
DIGITS = {"error": 1, "nll": 2, "ece": 1}
MEAN = "mean"  # the name of the curve over all test corruptions


def comparison_rows(groups: Mapping[str, Sequence[Results]]) -> list[Row]:
    """One row a label, of plain numbers that fit into JSON.

    A *spread* below is {"mean", "sd"} over seeds, sd with n - 1 in the denominator and None for one seed; errors and
    ECE are fractions, NLL is in nats.

    Returns:
      Rows with "label", "seeds" (how many results), "clean" {metric: spread}, "stress" {name: {metric: spread}} for
      the stresses that all runs have, and where a run has the corruption benchmark:
      "corrupted" {metric: spread}, over the common test corruptions and all severities,
      "groups" {group: {"names": its corruptions, metric: spread}}, "corruptions" {corruption: {metric: spread}}, and
      "curves" {"mean" or a group or a corruption: {metric: {"mean": [6 numbers], "sd": [6]}}} at severity 0 to 5, where
      0 is the same images untouched.

    Raises:
      ValueError: if there is no label, a label has no results, or results have no evaluation.
    """
    if not groups or not all(groups.values()):
        empty = [label for label, results in groups.items() if not results]
        raise ValueError(f"A comparison needs labels with the results of one seed or more each; got none for {empty}.")
    names = common_corruptions(groups)
    stresses = _common_stresses(groups)
    return [_row(label, results, names, stresses) for label, results in groups.items()]


def common_corruptions(groups: Mapping[str, Sequence[Results]]) -> dict[str, list[str]]:
    """{group: names} of the test corruptions that every run with the corruption benchmark has."""
    blocks = [result["corruptions"] for results in groups.values() for result in results if result.get("corruptions")]
    if not blocks:
        return {}
    common = set.intersection(*(set(benchmark_names(block)) for block in blocks))
    first = {group: [name for name in row["names"] if name in common] for group, row in blocks[0]["groups"].items()}
    return {group: names for group, names in first.items() if names}


def uncommon_corruptions(groups: Mapping[str, Sequence[Results]]) -> list[str]:
    """Test corruptions that some of the runs have and others with the benchmark have not: they are in no mean."""
    blocks = [result["corruptions"] for results in groups.values() for result in results if result.get("corruptions")]
    known = {name for block in blocks for name in benchmark_names(block)}
    common = {name for names in common_corruptions(groups).values() for name in names}
    return sorted(known - common)


def comparison_text(rows: Sequence[Row]) -> str:
    """The rows as aligned plain text, mean ± sd, for a terminal or a log."""
    return _aligned([comparison_head(rows), *comparison_cells(rows)])


def comparison_head(rows: Sequence[Row]) -> list[str]:
    """Titles of the columns of `comparison_cells`."""
    heads = {"error": "error %", "nll": "NLL", "ece": "ECE %"}
    return ["run", "seeds"] + [f"{part} {heads[metric]}" for part in parts_of(rows) for metric in METRICS]


def parts_of(rows: Sequence[Row]) -> list[str]:
    """ "clean", and "corrupted" where any run has the corruption benchmark."""
    return ["clean"] + ["corrupted"] * any("corrupted" in row for row in rows)


def comparison_cells(rows: Sequence[Row]) -> list[list[str]]:
    """Label, seeds, and error, NLL and ECE of clean and (where any run has them) corrupted images."""
    return [
        [
            row["label"],
            str(row["seeds"]),
            *(spread_words(row.get(part), metric) for part in parts_of(rows) for metric in METRICS),
        ]
        for row in rows
    ]


def spread_words(values: Mapping[str, Any] | None, metric: str) -> str:
    """ "12.3 ± 0.4" in the metric's unit, without the deviation where there is one seed, or a dash."""
    if values is None or values[metric]["mean"] is None:
        return DASH
    mean, sd = (SCALES[metric] * as_float(values[metric][part]) for part in ("mean", "sd"))
    digits = DIGITS[metric]
    return decimal(mean, digits) + ("" if np.isnan(sd) else f" ± {decimal(sd, digits)}")


def lookup(row: Row, keys: Sequence[str]) -> Any:
    """row[keys[0]][keys[1]]..., or None where the row has no such thing."""
    found: Any = row
    for key in keys:
        found = (found or {}).get(key)
    return found


def value(row: Row, metric: str, *keys: str) -> float:
    """The mean over seeds that `keys` lead to, in the metric's unit; NaN where the row lacks it."""
    return SCALES[metric] * as_float(lookup(row, (*keys, metric, "mean")))


def deviation(row: Row, metric: str, *keys: str) -> float:
    """The standard deviation over seeds that belongs to `value`; NaN for one seed."""
    return SCALES[metric] * as_float(lookup(row, (*keys, metric, "sd")))


def _row(label: str, results: Sequence[Results], names: Mapping[str, Sequence[str]], stresses: Sequence[str]) -> Row:
    clean = [main_evaluation(result)[1] for result in results]
    row: Row = {"label": label, "seeds": len(results), "clean": _spreads(clean)}
    row["stress"] = {stress: _spreads([evaluations_of(result)[stress] for result in results]) for stress in stresses}
    blocks = [result["corruptions"] for result in results if result.get("corruptions")]
    if not blocks or not names:
        return row
    flat = [name for group in names.values() for name in group]
    members = {MEAN: flat, **names, **{name: [name] for name in flat}}
    curves = {part: np.stack([_curve(block, chosen) for block in blocks]) for part, chosen in members.items()}
    row["corrupted"] = _mean_spreads(curves[MEAN])
    row["groups"] = {group: {"names": list(members[group]), **_mean_spreads(curves[group])} for group in names}
    row["corruptions"] = {name: _mean_spreads(curves[name]) for name in flat}
    row["curves"] = {part: _curve_spreads(curve) for part, curve in curves.items()}
    return row


def _common_stresses(groups: Mapping[str, Sequence[Results]]) -> list[str]:
    """Names of the evaluations that every run has, without the one that leads."""
    every = [result for results in groups.values() for result in results]
    return [
        name
        for name in evaluations_of(every[0])
        if all(name in evaluations_of(result) and name != main_evaluation(result)[0] for result in every)
    ]


def _curve(block: Mapping[str, Any], names: Sequence[str]) -> Float[np.ndarray, "6 3"]:
    """The mean over some corruptions at severities 0 to 5 (0: untouched), by metric."""
    clean = [as_float(block["clean"][metric]) for metric in METRICS]
    cells = [[[as_float(cell[metric]) for metric in METRICS] for cell in block["cells"][name]] for name in names]
    return np.concatenate([[clean], np.mean(cells, axis=0)])


def _spread(values: Float[np.ndarray, " seeds"]) -> dict[str, float | None]:
    known = values[np.isfinite(values)]
    return {
        "mean": float(known.mean()) if len(known) else None,
        "sd": float(known.std(ddof=1)) if len(known) > 1 else None,
    }


def _spreads(evaluations: Sequence[Mapping[str, Any]]) -> Row:
    return {
        metric: _spread(np.array([as_float(evaluation.get(metric)) for evaluation in evaluations], np.float64))
        for metric in METRICS
    }


def _mean_spreads(curves: Float[np.ndarray, "seeds 6 3"]) -> Row:
    """Spreads of the mean over severities 1 to 5."""
    means = curves[:, 1:].mean(axis=1)
    return {metric: _spread(means[:, i]) for i, metric in enumerate(METRICS)}


def _curve_spreads(curves: Float[np.ndarray, "seeds 6 3"]) -> Row:
    found = {}
    for i, metric in enumerate(METRICS):
        spreads = [_spread(curves[:, severity, i]) for severity in range(curves.shape[1])]
        found[metric] = {part: [spread[part] for spread in spreads] for part in ("mean", "sd")}
    return found
