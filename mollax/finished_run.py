"""A finished run as objects again: its config, its results, and the model with the weights it ended with."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from ml_collections import ConfigDict

from mollax import augmenters, checks, detectors, experiment, invariance
from mollax.checkpoint import read_variables
from mollax.data import ReadOptions
from mollax.image import standardize
from mollax.invariance.draws import Draws

PyTree = Any
Host = np.ndarray | jax.Array


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

    def read_options(self) -> ReadOptions:
        """How image files are made what the run was trained on.

        Raises:
          ValueError: if the run is for images that are not square.
        """
        height, width, channels = self.results["data"]["image_shape"]
        if height != width:
            raise ValueError(f"Files can be brought to square sizes only; this run is for {height}x{width}.")
        # Transparent images that the training set would have refused are not a reason to stop here.
        alpha = "white" if self.config.data.alpha == "raise" else self.config.data.alpha
        return ReadOptions(image_size=height, resize=self.config.data.resize, channels=channels, alpha=alpha)

    def draw(self, images: UInt8[Host, "b h w c"], *, n: int, seed: int = 0) -> Draws:
        """What the run's augmenter draws for images, such as angles or crops; random: by the seed and the place.

        Args:
          images: 8-bit, of the run's size and channels.
          n: transforms of each image, at least 1.
          seed: of the draws.

        Raises:
          ValueError: if the run has no augmenter, for images of another shape, or n below 1.
          TypeError: for images that are not 8-bit.
        """
        if not isinstance(self.model, invariance.TransformedClassifier):
            raise ValueError("The run has no augmenter, so it draws no transforms; train one with a flow or a rival.")
        checks.positive_int("n", n)
        if images.dtype != np.uint8:
            raise TypeError(
                f"images must be 8-bit (uint8, 0 to 255); got {images.dtype}. Of floats in [0, 1] give "
                "np.rint(images * 255).astype(np.uint8)."
            )
        shape = tuple(self.results["data"]["image_shape"])
        if images.shape[1:] != shape:
            raise ValueError(f"The run takes images of shape {shape}; got an array of shape {images.shape}.")
        limits = augmenters.last_limits(self.config)
        draw = jax.jit(functools.partial(self.model.apply, n=n, limits=limits, method="draw"))
        standardized = standardize(jnp.asarray(images, jnp.float32) / 255, self.mean, self.std)
        drawn: Any = draw(self.variables, jax.random.split(jax.random.key(seed), len(images)), standardized)
        return drawn


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
