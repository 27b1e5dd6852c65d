"""The command that tells what a run sees in image files: class, calibrated probability, OOD scores, in or out.

python -m mollax.predict --workdir=runs/cifar10 PHOTO.jpg FOLDER MORE.zip [--format=csv|json] [--out=FILE] [--top=3]

One row a file, in the order given; folders and zips are searched all the way down, in the order of their names. Rows
are written as they come, a batch at a time, however many files there are. Columns of the CSV: file, label,
probability (temperature-scaled), then, if the run has stored OOD scores, flag ("in" or "out"), flag_score (the score
that decided, against its stored threshold) and every score (high for unknown images), then with --top=K the second to
K-th best class. --format=json gives the same as one JSON object a line.

Images become what the run was trained on: its size, its channels (gray is repeated to RGB, color reduced to
luminance), alpha blended onto white. A bad file is told on stderr and skipped. Exit codes: 0, 1 failure, 2 usage,
4 files were skipped.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import logging
import math
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from mollax import checks
from mollax.data import ReadOptions
from mollax.data.decode import count_kinds
from mollax.data.stream import Found, decode_batches, find_images
from mollax.logbook import quiet_libraries
from mollax.progress import Terminal
from mollax.serving import Outputs, Server, Service, open_service

SKIPPED = 4
# `typing.TextIO` has no instances at run time, where tests check types.
Rows = io.TextIOBase | TextIO


@dataclass
class Tally:
    """What was done, for the last line and the exit code."""

    done: int = 0
    out: int = 0
    skipped: int = 0
    conversions: Counter[str] = field(default_factory=Counter)


def read_options(service: Service) -> ReadOptions:
    """How files are made what the run was trained on.

    Raises:
      ValueError: if the run is for images that are not square.
    """
    return service.run.read_options()


def records(service: Service, names: Sequence[str], outputs: Outputs, *, top: int = 1) -> Iterator[dict[str, Any]]:
    """One a file, as --format=json writes them; numbers are NumPy's, in the precision that they have."""
    classes = service.class_names
    for number, name in enumerate(names):
        record = {
            "file": name,
            "label": classes[outputs["label"][number]],
            "probability": outputs["probability"][number],
        }
        if service.flag_score:
            record["flag"] = "in" if outputs["inside"][number] else "out"
            record["flag_score"] = service.flag_score
        # JAX gives dictionaries back sorted; rows have the order of the run.
        record["scores"] = {score: outputs["scores"][score][number] for score in service.states}
        if top > 1:
            row = outputs["probabilities"][number]
            order = np.argsort(-row, kind="stable")[:top]
            record["top"] = [{"label": classes[place], "probability": row[place]} for place in order]
        yield record


def header(service: Service, *, top: int = 1) -> list[str]:
    """The columns of the CSV."""
    flag = ["flag", "flag_score"] if service.flag_score else []
    others = [f"{what}_{place}" for place in range(2, top + 1) for what in ("label", "probability")]
    return ["file", "label", "probability", *flag, *service.states, *others]


def _columns(record: dict[str, Any]) -> list[Any]:
    """A record under `header`."""
    flag = [record[name] for name in ("flag", "flag_score") if name in record]
    others = [one[what] for one in record.get("top", [])[1:] for what in ("label", "probability")]
    return [record["file"], record["label"], record["probability"], *flag, *record["scores"].values(), *others]


def _plain(value: Any) -> float | None:
    """A NumPy number for JSON, in its shortest form; None for what is not finite."""
    return float(str(value)) if math.isfinite(value) else None


def predict_files(
    service: Service, found: Sequence[Found], file: Rows, *, style: str, top: int, batch_size: int, terminal: Terminal
) -> Tally:
    """Writes one row a file to `file`, and flushes it, a batch at a time; what is skipped goes to stderr."""
    tally, seen = Tally(), 0
    server = Server(service, batch_size=min(batch_size, len(found)))
    table = csv.writer(file, lineterminator="\n")
    if style == "csv":
        table.writerow(header(service, top=top))
    for batch in decode_batches(found, read_options(service), size=server.batch_size):
        good: list[tuple[str, np.ndarray]] = []
        for one, result in batch:
            if isinstance(result, str):
                print(f"skipped {one.name}: {result}", file=sys.stderr)
                tally.skipped += 1
            else:
                good.append((one.name, result[0]))
                tally.conversions.update(result[1])
        if good:
            names, images = zip(*good, strict=True)
            outputs = server(np.stack(images))
            for record in records(service, names, outputs, top=top):
                if style == "csv":
                    table.writerow(_columns(record))
                else:
                    file.write(json.dumps(record, default=_plain, allow_nan=False) + "\n")
            file.flush()  # or a pipe's reader would wait for the last batch
            tally.done += len(good)
            tally.out += int(np.sum(~outputs["inside"])) if service.flag_score else 0
        seen += len(batch)
        terminal.show("predicting", seen, len(found))
    return tally


@contextmanager
def _opened(out: Path | None) -> Iterator[Rows]:
    """Where rows go: stdout, or a file that gets its name once it is whole."""
    if out is None:
        # A name that is no text in the system's encoding goes out as the bytes that it has.
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="surrogateescape")
        yield sys.stdout
        sys.stdout.flush()
        return
    draft = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        with draft.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            yield file
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mollax.predict", description="Class, probability, OOD scores and in/out flag of image files."
    )
    add = parser.add_argument
    add("paths", nargs="+", type=Path, metavar="PATH", help="an image, a folder of images (all below it), or a zip")
    add("--workdir", type=Path, required=True, help="folder of a finished run")
    add("--format", default="csv", choices=("csv", "json"), help="csv with a header, or one JSON object a line")
    add("--out", type=Path, help="file to write, in one move; default: standard output")
    add("--score", default="", help="that flags in or out; default: the one that the run's report ranks first")
    add("--top", type=int, default=1, help="how many of the best classes to give, with their probabilities")
    add("--batch-size", type=int, default=256, help="images at a time; no influence on the result")
    return parser


def _prepare(options: argparse.Namespace) -> tuple[Service, list[Found]]:
    """What is to be done, with every check that needs no image."""
    checks.positive_int("--batch-size", options.batch_size)
    if options.out is not None and options.out.is_dir():
        raise ValueError(f"{options.out} is a folder. Give --out the name of a file.")
    if options.out is not None and not options.out.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {options.out.parent} for --out. Make it first.")
    found = find_images(options.paths)
    service = open_service(options.workdir, score=options.score)
    checks.in_range("--top", options.top, 1, len(service.class_names))
    read_options(service)
    if service.flag_score:
        threshold, share = service.thresholds[service.flag_score], 100 * service.run.results["ood"]["tpr"]
        words = f"in or out by {service.flag_score}: up to {threshold:.4g}, as {share:.0f} % of the validation images"
        logging.info("%s.", words)
    else:
        logging.info("The run in %s has stored no OOD scores: labels and probabilities only.", options.workdir)
    return service, found


def _predict(options: argparse.Namespace, service: Service, found: list[Found]) -> Tally:
    # Before the bar starts, which takes stdout over; and no bar where rows run over the same terminal.
    with _opened(options.out) as file, Terminal(enabled=options.out is not None or not sys.stdout.isatty()) as terminal:
        tally = predict_files(
            service,
            found,
            file,
            style=options.format,
            top=options.top,
            batch_size=options.batch_size,
            terminal=terminal,
        )
        if not tally.done:
            raise RuntimeError(f"none of {len(found)} files could be read.")
    for note in count_kinds(tally.conversions):
        logging.info("note: %s", note)
    words = f"{tally.done:,} images predicted, {tally.skipped:,} of {len(found):,} files skipped"
    if service.flag_score:
        words += f"; {tally.out:,} ({100 * tally.out / tally.done:.1f} %) are out"
    logging.info("%s.", words)
    return tally


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command: see the exit codes above."""
    options = _parser().parse_args(arguments)
    quiet_libraries()
    code = 2
    try:
        service, found = _prepare(options)
        code = 1
        tally = _predict(options, service, found)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of the rows has seen enough, as `head` does; what is left must not be flushed to it at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        print(f"mollax.predict: {error}", file=sys.stderr)
        sys.exit(code)
    if tally.skipped:
        sys.exit(SKIPPED)


if __name__ == "__main__":
    main()
