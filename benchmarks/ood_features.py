"""Features of every image that a comparison of OOD methods on frozen features needs, once for each run.

    python benchmarks/ood_features.py --auxiliary=tiny-imagenet-200.zip runs/c0 runs/c1 runs/c2

Each run is one without a method of its own, such as `configs/cifar10_tv_ood.py:small,none`. Writes `features.npz` into
its folder: features of training, validation and test images with their labels, of the sets of `config.eval.ood.sets`
without images that an ID split has, and of outliers of every source, made from training images ("block_shuffle",
"augmix", "cutmix": one for each, and block-shuffled validation images) or read ("auxiliary", by `config.ood.auxiliary`
with the path given here).
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mollax import data, evaluators, experiment, keys, other_sets
from mollax.data import Dataset, Split
from mollax.finished_run import FinishedRun, open_run
from mollax.objectives.outliers import MADE, make_outliers

ROWS = 500


def outliers_of(images: np.ndarray, source: str, *, seed: int, grid: int) -> np.ndarray:
    """One 8-bit outlier of a source for each 8-bit image, as the training program makes them."""
    key = keys.stream_key(seed, f"outliers {source}")
    counts = {source: ROWS}

    @jax.jit
    def make(batch: jax.Array, first: jax.Array) -> jax.Array:
        floats = batch.astype(jnp.float32) / 255.0
        made = make_outliers(key, floats, counts, auxiliary=None, grid=grid, first_index=first)
        return jnp.rint(made * 255).clip(0, 255).astype(jnp.uint8)

    whole = -(-len(images) // ROWS) * ROWS
    padded = np.resize(images, (whole, *images.shape[1:]))
    parts = [np.asarray(make(padded[i : i + ROWS], jnp.uint32(i))) for i in range(0, whole, ROWS)]
    return np.concatenate(parts)[: len(images)]


def splits_of(config: ConfigDict, dataset: Dataset) -> dict[str, Split]:
    """Everything that features are taken of, by name."""
    known = {"training": dataset.train, "validation": dataset.validation, "test": dataset.test}
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    auxiliary, _ = other_sets.read_auxiliary(config, dataset)
    splits["source auxiliary"] = data.without_shared(auxiliary, {"training": dataset.train})[0]
    known["outliers that were learned from"] = splits["source auxiliary"]
    for name, other in other_sets.read_detected(config, dataset).items():
        split, stored = (
            part and data.take_evenly(part, config.eval.ood.images) for part in (other.split, other.stored)
        )
        splits[f"set {name}"] = split if other.made_of_test else data.without_shared(split, known, stored=stored)[0]
    train, validation = (evaluators.stack(split, range(len(split))) for split in (dataset.train, dataset.validation))
    for source in MADE:
        made = outliers_of(train, source, seed=config.seed, grid=config.ood.grid)
        splits[f"source {source}"] = Split(made, np.zeros(len(made), np.int32))
    made = outliers_of(validation, "block_shuffle", seed=config.seed + 1, grid=config.ood.grid)
    splits["shuffled validation"] = Split(made, np.zeros(len(made), np.int32))
    return splits


def features_of(run: FinishedRun, splits: dict[str, Split]) -> dict[str, np.ndarray]:
    """Features of all splits, labels of the known ones, and the classifier's last layer."""
    shape = tuple(run.results["data"]["image_shape"])
    passes = evaluators.FeaturePass(run.model, image_shape=shape, mean=run.mean, std=run.std, batch_size=ROWS)
    arrays: dict[str, np.ndarray] = {}
    for name, split in splits.items():
        arrays[name] = passes.run(run.variables, split).features
        if name in ("train", "validation", "test"):
            arrays[f"labels {name}"] = np.asarray(split.labels)
        logging.info("%s, %d images", name, len(split))
    head = jax.device_get(passes.head(run.variables))
    return arrays | {"head kernel": head.kernel, "head bias": head.bias}


def main() -> None:
    """Runs on one set of data are read once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--auxiliary", type=Path, required=True, help="what config.ood.auxiliary reads")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    runs = {workdir: open_run(workdir) for workdir in options.runs}
    config = ConfigDict(next(iter(runs.values())).config.to_dict())
    if any(run.config.data.to_dict() != config.data.to_dict() for run in runs.values()):
        raise ValueError("The runs are not of one set of data; call this once for each set.")
    config.ood.auxiliary.path = str(options.auxiliary)
    splits = splits_of(config, experiment.load_data(config))
    for workdir, run in runs.items():
        np.savez(workdir / "features.npz", allow_pickle=False, **features_of(run, splits))
        print(workdir / "features.npz")


if __name__ == "__main__":
    main()
