"""The command that runs one config with many settings and seeds, and makes one table of them.

python -m mollax.sweep --config=configs/digits.py --grid=configs/grids/policies.py --seeds=0,1,2 --workdir=runs/policies
"""

from __future__ import annotations

import gc
import json
import logging
import re
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from absl import app, flags
from ml_collections import ConfigDict

from mollax import command, experiment, grid, host, report
from mollax.checkpoint import config_differences
from mollax.data import Dataset
from mollax.logbook import quiet_libraries, write_json
from mollax.train import NonFiniteLossError, train_and_evaluate

_GRID = flags.DEFINE_string("grid", None, "FILE.py[:word] with get_grid, or 'field=value,value;field=value'.")
_SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds of every setting. All settings of the first seed run first.")

# Fields of "eval" that no result depends on.
_IMMATERIAL = dict.fromkeys(("batch_size", "corruption_cache", "every"))


@dataclass(frozen=True)
class Run:
    """One setting with one seed.

    Attributes:
      label: of the setting.
      folder: workdir of the run.
      config: complete.
    """

    label: str
    folder: Path
    config: ConfigDict

    def results(self) -> dict[str, Any] | None:
        """The content of its results.json, or None as long as it is not finished."""
        path = self.folder / "results.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def plan(config: ConfigDict, settings: grid.Grid, seeds: Iterable[int], workdir: Path) -> list[Run]:
    """The runs in order, all settings of a seed before the next seed.

    Raises:
      ValueError: for a field or value that the config does not take, two settings with one folder, or a folder with a
        finished run of other settings.
    """
    runs = []
    for seed in seeds:
        for label, overrides in settings.items():
            changed = grid.apply(config, {**overrides, "seed": seed, "name": label})
            runs.append(Run(label, workdir / _folder_name(label) / f"seed-{seed}", changed))
    folders = [run.folder for run in runs]
    for run in runs:
        if folders.count(run.folder) > 1:
            raise ValueError(f"Two runs of the sweep would share {run.folder}; give their settings other labels.")
        _refuse_other_settings(run)
    return runs


def _folder_name(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9.=_-]+", "-", label).strip("-") or "all"


def _refuse_other_settings(run: Run) -> None:
    path = run.folder / "config.json"
    if path.exists() and (run.folder / "results.json").exists():
        saved, now = json.loads(path.read_text(encoding="utf-8")), run.config.to_dict()
        # A checkpoint may be evaluated in other ways; finished results may not be passed off as evaluated so.
        evaluations = [{"evaluation": {**config["eval"], **_IMMATERIAL}} for config in (saved, now)]
        differences = config_differences(saved, now) + config_differences(*evaluations)
        if differences:
            raise ValueError(
                f"{run.folder} has the results of other settings:\n  "
                + "\n  ".join(differences[:10])
                + "\nUse those, or another --workdir."
            )


def sweep(runs: Sequence[Run], workdir: Path, *, words: str = "") -> list[str]:
    """Does what is missing of the runs, and writes sweep.json after each and sweep.html at the end.

    A run whose loss becomes NaN or infinite is passed over, and tried again by the same command.

    Returns:
      What failed, one sentence a run.

    Raises:
      Interrupted: after SIGTERM or SIGINT; the run's state is saved and the same command goes on.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    failures: list[str] = []
    kept: tuple[dict[str, Any], Dataset] | None = None
    for number, run in enumerate(runs, start=1):
        if run.results() is not None:
            continue
        logging.info("Run %d of %d: %s, seed %d", number, len(runs), run.label, run.config.seed)
        wanted = run.config.data.to_dict()
        if kept is None or kept[0] != wanted:
            kept = None  # before the next one is read: two need not fit into memory
            kept = (wanted, experiment.load_data(run.config))
        try:
            train_and_evaluate(run.config, run.folder, command=words, dataset=kept[1])
        except NonFiniteLossError as error:
            failures.append(f"{run.label}, seed {run.config.seed}: {error}")
            logging.warning("%s", failures[-1])
        # Compiled programs are of one run each and hold its constants.
        jax.clear_caches()
        gc.collect()
        collect(runs, workdir, words=words)
    groups = collect(runs, workdir, words=words)
    if groups:
        report.write_comparison(workdir / "sweep.html", groups, title=workdir.name, command=words)
    return failures


def collect(runs: Sequence[Run], workdir: Path, *, words: str = "") -> dict[str, list[Mapping[str, Any]]]:
    """Writes sweep.json from the runs that are finished, these and those of earlier sweeps in the folder.

    Returns:
      {label: [results of its seeds]}.
    """
    path = workdir / "sweep.json"
    known = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.exists() else {}
    known |= {str(run.folder.relative_to(workdir)): {"label": run.label, "seed": run.config.seed} for run in runs}
    groups: dict[str, list[Mapping[str, Any]]] = {}
    finished: dict[str, dict[str, Any]] = {}
    for name, row in known.items():
        results = workdir / name / "results.json"
        if results.exists():
            content = json.loads(results.read_text(encoding="utf-8"))
            groups.setdefault(row["label"], []).append(content)
            finished[name] = {"label": row["label"], "seed": row["seed"], "run": content["run"]}
    if groups:
        seconds = sum(row["run"]["wall_seconds"] for row in finished.values())
        rows = report.comparison_rows(groups)
        write_json(path, {"command": words, "wall_seconds": seconds, "rows": rows, "runs": finished})
    return groups


def main(_: Sequence[str]) -> None:
    """Runs the sweep; errors that a user can mend end in one message and exit code 2, failed runs in 1."""
    quiet_libraries()
    if command.CONFIG.value is None or not _GRID.value or not command.WORKDIR.value:
        command.stop("give --config=FILE, --grid=FILE or 'field=value,value', and --workdir=FOLDER.")
    host.keep_freed_memory()
    shared, text, workdir = command.CONFIG.value, _GRID.value, Path(command.WORKDIR.value)
    host.spread_over_cores(batch_size=shared.train.batch_size, accumulate=shared.optim.accumulate)
    command.attempt(lambda: _sweep(shared, text, workdir))


def _sweep(config: ConfigDict, text: str, workdir: Path) -> None:
    if not all(re.fullmatch(r"\s*\d+\s*", seed) for seed in _SEEDS.value):
        raise ValueError(f"--seeds must be whole numbers, such as 0,1,2; got {','.join(_SEEDS.value)}.")
    words = "python -m mollax.sweep " + shlex.join(sys.argv[1:])
    began = time.perf_counter()
    runs = plan(config, grid.read(text), [int(seed) for seed in _SEEDS.value], workdir)
    failures = sweep(runs, workdir, words=words)
    if (workdir / "sweep.json").exists():
        rows = json.loads((workdir / "sweep.json").read_text(encoding="utf-8"))["rows"]
        print(report.comparison_text(rows))
        print(f"{len(runs)} runs, {time.perf_counter() - began:,.0f} s now. Page: {workdir / 'sweep.html'}")
    if failures:
        print("Failed:\n  " + "\n  ".join(failures), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse)
