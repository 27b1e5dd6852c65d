"""The command that writes a run down as one artifact: 8-bit images in, class, probability, OOD scores, in or out.

python -m mollax.export --workdir=runs/cifar10 --out=exported [--scores knn msp] [--score=knn]

The folder then holds model.jax, a `jax.export` artifact (StableHLO) for any number of images on CPU, GPU and TPU, with
weights, fitted scores and thresholds in it; metadata.json, which names classes, scores and outputs; and load.py, which
needs jax, numpy and flatbuffers but nothing of mollax. Exit codes: 0, 1 failure, 2 usage.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jaxlib
import numpy as np
from jax import export as jax_export
from jaxtyping import Array, UInt8

from mollax import __version__, checks, export_loader
from mollax.logbook import quiet_libraries, write_json
from mollax.serving import Outputs, Service, open_service, serve

PLATFORMS = ("cpu", "cuda", "tpu")
ARTIFACT, LOADER, METADATA = "model.jax", "load.py", "metadata.json"
# Scores see so many features at once: few enough for one image to cost little, enough for a bank to be read seldom.
ROWS = 16
# An artifact is one message of protocol buffers, which hold less than 2 GiB.
LIMIT_MIB = 1024
OUTPUTS = {
    "label": "int32 (n,), an index into class_names",
    "probability": "float32 (n,), the largest of probabilities",
    "probabilities": "float32 (n, classes), softmax(logits / temperature)",
    "scores": "float32 (n,) by name, high for out-of-distribution images",
    "inside": "bool (n,), whether the score flag_score is at most its threshold",
}


def fit_in(service: Service, *, limit_mib: float = LIMIT_MIB) -> tuple[Service, dict[str, str]]:
    """The service with the scores that an artifact can hold, and why it cannot hold the others.

    Raises:
      ValueError: if the score that decides in or out is not among them.
    """
    left_out = {}
    for name, state in service.states.items():
        leaves = jax.tree.leaves(state)
        size = sum(leaf.nbytes for leaf in leaves) / 2**20
        if any(isinstance(leaf, np.memmap) for leaf in leaves):
            left_out[name] = "its bank is read from a file while it searches"
        elif size > limit_mib:
            left_out[name] = f"what it has fitted takes {size:,.1f} MiB, over --limit-mib={limit_mib:g}"
    if service.flag_score in left_out:
        reason = left_out[service.flag_score]
        raise ValueError(f"{service.flag_score!r} cannot be exported: {reason}. Flag by another one with --score.")
    kept = {name: state for name, state in service.states.items() if name not in left_out}
    thresholds = {name: service.thresholds[name] for name in kept}
    return dataclasses.replace(service, states=kept, thresholds=thresholds), left_out


def export_service(service: Service) -> jax_export.Exported:
    """The run as one function of uint8 (b, h, w, c), for any b and as many of `PLATFORMS` as it can be lowered for."""

    def outputs(images: UInt8[Array, "b h w c"]) -> Outputs:
        return serve(service, service.parameters, images, rows=ROWS)

    shape = jax_export.symbolic_shape("b, " + ", ".join(map(str, service.image_shape)))
    images = jax.ShapeDtypeStruct(shape, np.uint8)
    try:
        return jax_export.export(jax.jit(outputs), platforms=PLATFORMS)(images)
    except NotImplementedError as error:  # an operation that a platform lacks
        logging.warning("Exported for %s alone: %s", jax.default_backend(), error)
        return jax_export.export(jax.jit(outputs))(images)


def describe(service: Service, exported: jax_export.Exported, left_out: Mapping[str, str]) -> dict[str, Any]:
    """metadata.json: what the artifact takes and gives, and what it was made of."""
    results, about = service.run.results, service.run.config.data
    return {
        "artifact": ARTIFACT,
        "run": {"name": results["name"], "step": results["step"], "data": results["data"]["name"]},
        "image_shape": list(service.image_shape),
        "images": "uint8 (n, height, width, channels), 0 to 255, RGB or gray, n at least 1",
        "resize": f"{about.resize}, bilinear with averaging (Pillow), before the artifact",
        "class_names": service.class_names,
        "temperature": results["temperature"],
        "scores": [{"name": name, "threshold": value} for name, value in service.thresholds.items()],
        "flag_score": service.flag_score or None,
        "left_out": dict(left_out),
        "outputs": {name: words for name, words in OUTPUTS.items() if service.flag_score or name != "inside"},
        "platforms": list(exported.platforms),
        "versions": {"mollax": __version__, "jax": jax.__version__, "jaxlib": jaxlib.__version__},
        "calling_convention_version": exported.calling_convention_version,
    }


def write(folder: Path, service: Service, *, limit_mib: float = LIMIT_MIB) -> dict[str, Any]:
    """Writes artifact, metadata and loader into a new or empty folder; returns the metadata.

    Raises:
      ValueError: if there is something in the folder, or the flagging score does not fit in.
      ImportError: without flatbuffers, which `jax.export` writes with.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is not empty. Give --out another folder.")
    service, left_out = fit_in(service, limit_mib=limit_mib)
    for name, reason in left_out.items():
        logging.warning("The score %s is left out: %s.", name, reason)
    exported = export_service(service)
    content = exported.serialize()
    metadata = describe(service, exported, left_out)
    metadata |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ARTIFACT).write_bytes(content)
    (folder / LOADER).write_text(Path(export_loader.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    write_json(folder / METADATA, metadata)  # the last, so that a folder with it is whole
    return metadata


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mollax.export", description="Writes a run as one jax.export artifact with a small loader."
    )
    add = parser.add_argument
    add("--workdir", type=Path, required=True, help="folder of a finished run")
    add("--out", type=Path, required=True, help="folder for what is written; must be new or empty")
    add("--scores", nargs="*", help="stored OOD scores to export; default: all; without a name: none")
    add("--score", default="", help="that flags in or out; default: the one that the run's report ranks first")
    add("--limit-mib", type=float, default=LIMIT_MIB, help="leave out scores that have fitted more than this")
    return parser


def _run(options: argparse.Namespace) -> str:
    checks.in_range("--limit-mib", options.limit_mib, 0)
    service = open_service(options.workdir, score=options.score, scores=options.scores)
    metadata = write(options.out, service, limit_mib=options.limit_mib)
    words = ", ".join(row["name"] for row in metadata["scores"]) or "none"
    flags = f", in or out by {metadata['flag_score']}" if metadata["flag_score"] else ""
    return (
        f"{options.out}: {metadata['bytes'] / 2**20:.1f} MiB for {', '.join(metadata['platforms'])}; "
        f"scores: {words}{flags}. Try: python {options.out / LOADER} IMAGES.npy"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command: see the exit codes above."""
    options = _parser().parse_args(arguments)
    quiet_libraries()
    try:
        print(_run(options))
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, TypeError, FileNotFoundError, FileExistsError) as error:
        print(f"mollax.export: {error}", file=sys.stderr)
        sys.exit(2)
    except (OSError, RuntimeError, ImportError) as error:
        print(f"mollax.export: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
