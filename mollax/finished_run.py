"""A finished run as objects again: its config, its results, and the model with the weights it ended with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from mollax import augmenters, detectors, experiment, invariance
from mollax.checkpoint import read_variables

PyTree = Any


@dataclass(frozen=True)
class FinishedRun:
    """What a run leaves behind.

    Attributes:
      config, results: as in config.json and results.json.
      model: the network; a `TransformedClassifier` if it has an augmenter, a `CriticClassifier` if it has a critic.
      variables: of the model, those it was evaluated with.
      mean, std: per channel in [0, 1], with which images are standardized.
    """

    config: ConfigDict
    results: dict[str, Any]
    model: nn.Module
    variables: PyTree
    mean: Float[Array, " c"]
    std: Float[Array, " c"]


def read_records(workdir: Path) -> tuple[ConfigDict, dict[str, Any]]:
    """The config and the results of a finished run; fields that its version did not have yet get their defaults.

    Raises:
      FileNotFoundError: if it has none.
    """
    for name in ("config.json", "results.json"):
        if not (workdir / name).is_file():
            raise FileNotFoundError(f"There is no {name} in {workdir}; name the --workdir of a run that has finished.")
    found = json.loads((workdir / "config.json").read_text(encoding="utf-8"))
    # Without it, the linear head was the only one.
    found.get("model", {}).setdefault("head", "linear")
    config = ConfigDict(found)
    return config, json.loads((workdir / "results.json").read_text(encoding="utf-8"))


def open_run(workdir: Path) -> FinishedRun:
    """Reads a finished run.

    Raises:
      FileNotFoundError: if the folder lacks config, results or checkpoint.
    """
    config, results = read_records(workdir)
    about = results["data"]
    classes = len(about["class_names"])
    model = detectors.with_critic(config, experiment.create_network(config, classes), classes)
    if config.invariance.augmenter:
        augmenter = augmenters.create_augmenter(config)
        model = invariance.TransformedClassifier(model, augmenter, padding=config.invariance.padding)
    mean, std = (jnp.asarray(about[name], jnp.float32) for name in ("mean", "std"))
    variables = jax.tree.map(jnp.asarray, read_variables(workdir))
    return FinishedRun(config, results, model, variables, mean, std)
