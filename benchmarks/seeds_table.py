"""Mean and standard deviation over seeds, from the results.json of several runs, as a Markdown table and a JSON file.

python benchmarks/seeds_table.py --out docs/results/cifar10_resnet8.json plain=runs/p0,runs/p1 mollified=runs/m0,runs/m1
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

METRICS = ("error", "nll", "ece")


def collect(groups: dict[str, list[Path]]) -> dict[str, Any]:
    """{group: {evaluation: {metric: [a value for each run]}}}, with the commands and times of the runs."""
    found: dict[str, Any] = {}
    for group, workdirs in groups.items():
        runs = [json.loads((workdir / "results.json").read_text(encoding="utf-8")) for workdir in workdirs]
        found[group] = {
            "command": [run["run"]["command"] for run in runs],
            "device": sorted({run["run"]["device"] for run in runs}),
            "wall_seconds": [round(run["run"]["wall_seconds"]) for run in runs],
            "steps": sorted({run["step"] for run in runs}),
            "temperature": [run["temperature"] for run in runs],
            "evaluations": {
                name: {metric: [run["evaluations"][name][metric] for run in runs] for metric in METRICS}
                for name in runs[0]["evaluations"]
            },
        }
    return found


def cell(values: list[float], scale: float, digits: int) -> str:
    """ "mean ± sd" of the values times `scale`; the deviation is the sample's."""
    mean = statistics.fmean(values) * scale
    if len(values) < 2:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ± {statistics.stdev(values) * scale:.{digits}f}"


def markdown(found: dict[str, Any]) -> str:
    """One row for each evaluation, three columns for each group."""
    heads = [f"{group} {label}" for group in found for label in ("error %", "NLL", "ECE %")]
    lines = ["| test images | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for name in next(iter(found.values()))["evaluations"]:
        cells = []
        for block in found.values():
            values = block["evaluations"][name]
            cells += [cell(values["error"], 100, 1), cell(values["nll"], 1, 3), cell(values["ece"], 100, 1)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="+", help="NAME=WORKDIR,WORKDIR,...")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    groups = {}
    for text in options.groups:
        name, _, folders = text.partition("=")
        groups[name] = [Path(folder) for folder in folders.split(",") if folder]
    found = collect(groups)
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(markdown(found))


if __name__ == "__main__":
    main()
