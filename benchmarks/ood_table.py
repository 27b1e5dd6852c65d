"""Detection by several ways to train, over seeds, from the results.json of runs: a Markdown table and a JSON file.

    python benchmarks/ood_table.py --sets=tin,mnist --out=FILE "plain:energy=runs/c0,runs/c1" "TV:tv=runs/t0,runs/t1"

A group is LABEL:SCORE=RUN,RUN,...; without a score it gives a row for each score that its runs have. Cells are FPR95 /
AUROC in % (ID is positive), means ± standard deviations over runs; "mean" is over the sets that are shown.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seeds_table import cell

METRICS = {"fpr95": "fpr_at_tpr_id", "auroc": "auroc"}
CLEAN = ("error", "nll", "ece")


def collect(runs: Sequence[Path], score: str) -> dict[str, dict[str, Any]]:
    """Facts of a group by score: a value for each run of each metric of each set, and of the classifier itself."""
    results = [json.loads((run / "results.json").read_text(encoding="utf-8")) for run in runs]
    facts = {
        "command": [found["run"]["command"] for found in results],
        "device": sorted({found["run"]["device"] for found in results}),
        "wall_seconds": [round(found["run"]["wall_seconds"]) for found in results],
        "clean": {name: [found["evaluations"]["clean"][name] for found in results] for name in CLEAN},
    }
    scores = [score] if score else list(results[0]["ood"]["table"])
    rows = {}
    for name in scores:
        tables = [found["ood"]["table"][name] for found in results]
        rows[name] = {
            **facts,
            "sets": {
                kind: {
                    "images": sorted({table[kind]["ood_count"] for table in tables}),
                    **{short: [table[kind][long] for table in tables] for short, long in METRICS.items()},
                }
                for kind in tables[0]
            },
        }
    return rows


def line(label: str, facts: dict[str, Any], sets: Sequence[str]) -> str:
    """A row: each set, their mean, and the classifier."""
    runs = range(len(facts["clean"]["error"]))
    means = {short: [sum(facts["sets"][s][short][i] for s in sets) / len(sets) for i in runs] for short in METRICS}
    blocks = [*(facts["sets"][name] for name in sets), *([means] if len(sets) > 1 else [])]
    cells = [" / ".join(cell(block[short], 100, 1) for short in METRICS) for block in blocks]
    clean = facts["clean"]
    cells += [cell(clean["error"], 100, 1), cell(clean["nll"], 1, 3), cell(clean["ece"], 100, 1)]
    return f"| {label} | " + " | ".join(cells) + " |"


def main() -> None:
    """Reads, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="+", help="LABEL:SCORE=WORKDIR,WORKDIR,... or LABEL=...")
    parser.add_argument("--sets", required=True, help="that are shown, separated by commas; the JSON file has all")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    sets = options.sets.split(",")
    heads = [*sets, *(["mean"] if len(sets) > 1 else []), "error %", "NLL", "ECE %"]
    print("| | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|", sep="\n")
    found: dict[str, Any] = {}
    for text in options.groups:
        about, _, folders = text.partition("=")
        label, _, score = about.partition(":")
        rows = collect([Path(folder) for folder in folders.split(",")], score)
        found.setdefault(label, {}).update(rows)
        for name, facts in rows.items():
            print(line(f"{label}, `{name}`", facts, sets))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
