"""Expected KL under rotations and accuracy of each class, over seeds, from the results.json of runs with long tails.

    python benchmarks/ekld_table.py --out=FILE "none=runs/n0,runs/n1" "flow=runs/f0,runs/f1"

A group is LABEL=RUN,RUN,...; its runs need `eval.rotations.kl_degrees`, as `configs/rotmnist_lt_flow.py` and
`cifar10_lt_flow.py` have it. Prints a Markdown table of means over seeds by class, largest class first, with the means
over the larger and the smaller half of the classes (± standard deviation over seeds), and writes what it is made of.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from seeds_table import cell

MEASURES = {"ekld": ("eKLD, nats", 1.0, 3), "accuracy": ("accuracy, %", 100.0, 1)}


def collect(runs: Sequence[Path]) -> dict[str, Any]:
    """Values of a group: a row for each run, a column for each class."""
    results = [json.loads((run / "results.json").read_text(encoding="utf-8")) for run in runs]
    blocks = [found["rotations"]["expected_kl"] for found in results]
    for field in ("names", "class_sizes", "degrees"):
        if any(block[field] != blocks[0][field] for block in blocks):
            raise ValueError(f"The runs {', '.join(map(str, runs))} do not have the same {field}.")
    return {
        "command": [found["run"]["command"] for found in results],
        "device": sorted({found["run"]["device"] for found in results}),
        "wall_seconds": [round(found["run"]["wall_seconds"]) for found in results],
        "error": [found["evaluations"]["clean"]["error"] for found in results],
        **{field: blocks[0][field] for field in ("names", "class_sizes", "degrees", "draws")},
        "prediction": sorted({block["prediction"] for block in blocks}),
        **{measure: [block[measure] for block in blocks] for measure in MEASURES},
    }


def line(label: str, measure: str, facts: dict[str, Any], order: Sequence[int]) -> str:
    """A row: each class, then both halves."""
    what, scale, digits = MEASURES[measure]
    values = np.array(facts[measure])[:, order]
    half = len(order) // 2
    cells = [f"{scale * mean:.{digits}f}" for mean in values.mean(axis=0)]
    cells += [cell(part.mean(axis=1).tolist(), scale, digits) for part in (values[:, :half], values[:, half:])]
    return f"| {label}, {what} | " + " | ".join(cells) + " |"


def main() -> None:
    """Reads, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="+", help="LABEL=WORKDIR,WORKDIR,...")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    pairs = [text.partition("=") for text in options.groups]
    found = {label: collect([Path(folder) for folder in folders.split(",")]) for label, _, folders in pairs}
    first = next(iter(found.values()))
    order = np.argsort(first["class_sizes"], kind="stable")[::-1].tolist()
    heads = [f"{first['names'][k]} ({first['class_sizes'][k]:,})" for k in order]
    print(
        "| | " + " | ".join([*heads, "larger half", "smaller half"]) + " |", "|---" * (len(heads) + 3) + "|", sep="\n"
    )
    for measure in MEASURES:
        for label, facts in found.items():
            print(line(label, measure, facts, order))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
