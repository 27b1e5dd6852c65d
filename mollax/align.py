"""The command that aligns images by what a run has learned: mean shift, image by image (METHODS section 2).

python -m mollax.align --workdir=runs/mnist_flow --out=aligned [--reader=folder --path=IMAGES]

The images are those of the run's test split, or any others that a reader reads, brought to the run's size. Writes
CLASS/INDEX.png, transforms.json (pull matrices, and the angle by which each image was turned, in degrees
counter-clockwise) and prototypes.png, the mean image of each class before and after.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from mollax import checks, data, evaluators, experiment, host, invariance
from mollax.data import Dataset
from mollax.data.export import choose, class_folders
from mollax.finished_run import FinishedRun, open_run, read_records
from mollax.logbook import quiet_libraries, write_json
from mollax.progress import Terminal
from mollax.report.invariance_plots import aligned_means


def read_run(workdir: Path) -> FinishedRun:
    """A finished run that can align.

    Raises:
      FileNotFoundError: if there is none.
      ValueError: if it has no augmenter, or one whose transforms cannot be added up.
    """
    config, _ = read_records(workdir)
    if not config.invariance.augmenter:
        raise ValueError(f"The run in {workdir} has no augmenter, so it knows no poses; train one with a flow.")
    if config.invariance.kind == "crop":
        raise ValueError(f"The run in {workdir} has learned crops; mean shift is for transforms around the identity.")
    return open_run(workdir)


def read_images(run: FinishedRun, options: argparse.Namespace) -> Dataset:
    """The images to align: the run's own, or others at its size and channels."""
    if not options.reader:
        return experiment.load_data(run.config)
    height, width, channels = run.results["data"]["image_shape"]
    if height != width:
        raise ValueError(f"Other images can be brought to square sizes only; this run has {height}x{width}.")
    return data.load(options.reader, path=options.path or None, image_size=height, channels=channels)


def align_set(
    run: FinishedRun, dataset: Dataset, options: argparse.Namespace, show: Any
) -> tuple[
    Float[np.ndarray, "n h w c"], Float[np.ndarray, "n h w c"], Float[np.ndarray, "n 2 3"], Int[np.ndarray, " n"]
]:
    """Images before and after, their matrices, and their labels.

    Raises:
      ValueError: for an empty set, images of another shape than the run's, or transforms that are not finite.
    """
    shape = tuple(run.results["data"]["image_shape"])
    if dataset.image_shape != shape:
        raise ValueError(f"The run is for images of {shape}; these have {dataset.image_shape}.")
    assert isinstance(run.model, invariance.TransformedClassifier)  # as it has an augmenter
    evaluator = evaluators.TransformEvaluator(
        run.model,
        dataset,
        mean=run.mean,
        std=run.std,
        name=run.config.invariance.augmenter,
        steps=options.steps,
        step_size=options.step_size,
        align_draws=options.draws,
    )
    split = choose(dataset, options.split, options.images)
    before = evaluators.stack(split, range(len(split))).astype(np.float32) / 255
    after, matrices = evaluator.align_images(run.variables, before, progress=show)
    return before, after, matrices, np.asarray(split.labels)


def write_set(
    folder: Path,
    dataset: Dataset,
    before: Float[np.ndarray, "n h w c"],
    after: Float[np.ndarray, "n h w c"],
    matrices: Float[np.ndarray, "n 2 3"],
    labels: Int[np.ndarray, " n"],
) -> dict[str, Any]:
    """Writes images, transforms and prototypes; returns the block that the report's figure takes."""
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty. Give --out another folder.")
    names = class_folders(dataset)
    rows = []
    for number, (image, matrix, label) in enumerate(zip(after, matrices, labels, strict=True)):
        place = folder / names[label] / f"{number:05}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.rint(image * 255).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(place)
        angle = float(np.rad2deg(invariance.turn_angle(matrix)))
        rows.append(
            {
                "file": f"{names[label]}/{number:05}.png",
                "class": dataset.class_names[label],
                "angle": round(angle, 3),
                "matrix": np.asarray(matrix, np.float64).round(6).tolist(),
            }
        )
    write_json(folder / "transforms.json", {"images": rows})
    block = evaluators.alignment_block(before, after, labels, dataset.class_names)
    figure = aligned_means(block.pop("mean_before"), block.pop("mean_after"), block)
    figure.savefig(folder / "prototypes.png", dpi=150)
    return block


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mollax.align", description="Aligns images by mean shift.")
    add = parser.add_argument
    add("--workdir", type=Path, required=True, help="folder of a finished run with an augmenter")
    add("--out", type=Path, required=True, help="folder for what is written; must be new or empty")
    add("--reader", default="", help="of other images: folder, idx, npz, cifar, ...; default: the run's own data")
    add("--path", default="", help="what the reader reads")
    add("--split", default="test", choices=("train", "validation", "test"))
    add("--images", type=int, default=500, help="how many, evenly spaced; 0 takes all")
    add("--steps", type=int, default=20)
    add("--step-size", type=float, default=0.1)
    add("--draws", type=int, default=100, help="transforms that a step's mean is over")
    return parser


def _run(options: argparse.Namespace) -> str:
    run = read_run(options.workdir)
    checks.positive_int("--draws", options.draws)
    host.keep_freed_memory()
    dataset = read_images(run, options)
    for line in data.describe(dataset):
        logging.info("%s", line)
    with Terminal() as terminal:
        found = align_set(run, dataset, options, terminal.show)
    options.out.mkdir(parents=True, exist_ok=True)
    block = write_set(options.out, dataset, *found)
    before, after = (float(np.nanmean(block[name])) for name in ("before", "after"))
    return (
        f"{options.out}: {len(found[0]):,} images aligned. Of the images' energy, their class means miss "
        f"{100 * before:.1f} % before and {100 * after:.1f} % after."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; errors that a user can mend end in one message and exit code 2."""
    options = _parser().parse_args(arguments)
    quiet_libraries()
    try:
        print(_run(options))
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        print(f"mollax.align: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
