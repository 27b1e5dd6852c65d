"""The command that audits new images: how far are they from what a model was trained (and augmented) on?

python -m mollax.audit --reference=TRAIN --new=NEW --out=FOLDER [--workdir=RUN] [--kernel=gaussian] [--size=32]

Both sides are folders or zips of images, folders of IDX files, .npz files, CIFAR or TinyImageNet archives, or tfds.
Without --workdir pixels are compared, with it features of that run (and, without --reference, its own data are the
reference). Writes audit.json and audit.html into --out. Exit codes: 0 fine, 1 failure, 2 usage, 3 a limit is broken
(--fail-above, --fail-below, --fail-p, --fail-flagged-share), 4 files were skipped.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from mollax import auditing, host
from mollax.auditing import Found, Limits, Settings
from mollax.data.collection import KNOWN, NAMES
from mollax.logbook import quiet_libraries, write_json
from mollax.progress import Terminal
from mollax.report.drift import write_audit
from mollax.report.drift_words import audit_summary, storage_words

FINE, FAILURE, USAGE, LIMIT, SKIPPED = 0, 1, 2, 3, 4


def write(found: Found, out: Path) -> None:
    """audit.json, then audit.html, which tells that all is there."""
    out.mkdir(parents=True, exist_ok=True)
    listed = {
        name: [
            {"file": file, "nats": value, "nearest": near}
            for file, value, near in zip(part["names"], part["contributions"], part["nearest_names"], strict=True)
        ]
        for name, part in (("most_surprising", found.most), ("least_surprising", found.least))
    }
    write_json(out / "audit.json", found.block | listed)
    write_audit(out / "audit.html", found.block, most=found.most, least=found.least)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mollax.audit",
        description="Audits new images for drift from training images.",
        epilog="Exit codes: 0 fine, 1 failure, 2 usage, 3 a limit is broken, 4 files were skipped.",
    )
    add = parser.add_argument
    add(
        "--reference", default="", help="training images, or a file of --save-reference; default: the data of --workdir"
    )
    add("--new", required=True, help="images to audit")
    add("--out", type=Path, required=True, help="folder for audit.json and audit.html; must be new or empty")
    add("--workdir", type=Path, help="of a finished run: compare its features instead of pixels")
    kernels = "gaussian[:sigma=.1], mollifier[:t=.3], averaged, blur_noise:scale=1, run"
    add("--kernel", default="", help=f"{kernels}; default: that of a saved reference, or gaussian")
    add("--theta-from", default="", help="images to choose the kernel's strength on, as deployment has them")
    add("--size", type=int, default=0, help="side in pixels; default: the run's, or the reference's up to 64")
    add("--jpeg-quality", type=int, default=-1, help="of the JPEG that all go through; 0 for none; default: as found")
    for side in ("", "new-"):
        add(f"--{side}reader", default="", help=f"one of {', '.join(KNOWN)}; default: guessed")
        add(f"--{side}split", default="", choices=("", *NAMES), help="which part")
        add(f"--{side}name", default="", help="tfds: name in its catalogue")
    add("--held-out", default="", help="path, or split of the reference; default: the run's validation, or a cut share")
    add("--held-out-share", type=float, help="of the reference, at most 5,000 images; default: .2")
    add("--groups", type=int, default=0, help="1 if paths are CLASS/GROUP/IMAGE, with GROUP a writer, patient or video")
    add("--limit", type=int, default=50_000, help="reference images at most, evenly spaced; 0 takes all")
    add("--new-limit", type=int, default=10_000, help="new images at most; 0 takes all")
    add("--baselines", action=argparse.BooleanOptionalAction, help="also MMD, Kolmogorov-Smirnov and a classifier")
    add("--top", type=int, default=12, help="most and least surprising images that are shown")
    add("--resamples", type=int, default=1000)
    add("--permutations", type=int, default=1000)
    add("--seed", type=int, default=0)
    add("--save-reference", type=Path, help=".npz file from which later audits go on without the training images")
    add("--fail-above", type=float, help="nats: exit 3 if the interval of the excess lies above")
    add("--fail-below", type=float, help="nats: exit 3 if it lies below (blurred, repeated or blank images)")
    add("--fail-p", type=float, help="exit 3 if the drift is beyond chance at this level")
    add("--fail-flagged-share", type=float, help="exit 3 if more new images are above 95 %% of the held-out ones")
    return parser


def _run(options: argparse.Namespace, command: str) -> int:
    limits = Limits(options.fail_above, options.fail_below, options.fail_p, options.fail_flagged_share)
    given = vars(options)
    settings = Settings(**{field.name: given[field.name] for field in fields(Settings) if field.name in given})
    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        raise ValueError(f"{options.out} is not an empty folder. Give --out another one.")
    if options.save_reference is not None:
        auditing.check_place(options.save_reference, to_come=options.out)
    limits.check_permutations(settings.permutations)
    host.keep_freed_memory()
    with Terminal() as terminal:
        prepared = auditing.prepare(settings, terminal.show)
    print(storage_words(auditing.about_storage(prepared)), flush=True)
    with Terminal() as terminal:
        found = auditing.measure_all(settings, prepared, terminal.show, level=limits.level)
    found.block["command"] = command
    failed = auditing.broken(found.block, limits)
    found.block["limits_broken"] = failed
    write(found, options.out)
    if options.save_reference is not None:
        auditing.save(
            options.save_reference,
            prepared.reference,
            prepared.space,
            kernel=prepared.family.text,
            strength=found.scored.strength,
            held_log=found.scored.held_log,
        )
    _print(found.block, failed, options)
    if failed:
        return LIMIT
    return SKIPPED if found.block["skipped"] else FINE


def _print(block: dict[str, Any], failed: Sequence[str], options: argparse.Namespace) -> None:
    from rich import print as rich_print

    print(f"\n{block['verdict']}\n")
    summary = audit_summary(block)
    print(summary) if isinstance(summary, str) else rich_print(summary)
    for skip in block["skipped"][:5]:
        print(f"skipped {skip['where']}: {skip['reason']}", file=sys.stderr)
    for reason in failed:
        print(f"limit broken: {reason}", file=sys.stderr)
    saved = f", {options.save_reference}" if options.save_reference else ""
    print(f"{options.out / 'audit.html'}, {options.out / 'audit.json'}{saved}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; errors that a user can mend end in one message and exit code 2, others in 1."""
    options = _parser().parse_args(arguments)
    quiet_libraries()
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(options, shlex.join(["python", "-m", "mollax.audit", *words]))
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, TypeError, FileNotFoundError) as error:
        print(f"mollax.audit: {error}", file=sys.stderr)
        sys.exit(USAGE)
    except (OSError, RuntimeError, MemoryError) as error:
        print(f"mollax.audit: {error}", file=sys.stderr)
        sys.exit(FAILURE)
    sys.exit(code)


if __name__ == "__main__":
    main()
