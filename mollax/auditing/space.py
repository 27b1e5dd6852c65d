"""Where an audit compares images: as pixels, or as features of a trained network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Float32, UInt8

from mollax import evaluators
from mollax.data.dataset import Split
from mollax.finished_run import FinishedRun, open_run

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Pixels:
    """Pixels in [0, 1], flattened."""

    kind: str = "pixels"

    def points(
        self, images: UInt8[np.ndarray, "n h w c"], *, progress: Progress | None = None
    ) -> Float32[np.ndarray, "n d"]:
        """One row an image."""
        return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)

    def about(self) -> dict[str, Any]:
        """For audit.json."""
        return {"kind": self.kind, "run": None}


class Features:
    """Features of a run's penultimate layer; images are seen as they are.

    Attributes:
      run: a finished one.
    """

    kind = "features"

    def __init__(self, workdir: Path) -> None:
        """Opens the run; raises FileNotFoundError if there is none."""
        self.run: FinishedRun = open_run(workdir)
        # On the host: the pass itself puts them on however many devices there are.
        self._variables = jax.device_get(self.run.variables)
        self._workdir = workdir
        self._pass = evaluators.FeaturePass(
            self.run.model,
            image_shape=self.shape,
            mean=self.run.mean,
            std=self.run.std,
            batch_size=self.run.config.eval.batch_size,
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the run's images."""
        height, width, channels = self.run.results["data"]["image_shape"]
        return (height, width, channels)

    def points(
        self, images: UInt8[np.ndarray, "n h w c"], *, progress: Progress | None = None
    ) -> Float32[np.ndarray, "n d"]:
        """One row an image."""
        split = Split(images, np.zeros(len(images), np.int32))
        return np.asarray(self._pass.run(self._variables, split, progress=progress).features)

    def about(self) -> dict[str, Any]:
        """For audit.json."""
        return {"kind": self.kind, "run": str(self._workdir), "model": self.run.config.model.name}


Space = Pixels | Features


def check_same_features(space: Space, images: UInt8[np.ndarray, "n h w c"], points: Float[np.ndarray, "n d"]) -> None:
    """Raises ValueError unless the space gives a saved reference's images the points that were saved."""
    again = space.points(images)
    if again.shape != points.shape or not np.allclose(again, points, rtol=1e-3, atol=1e-3 * np.abs(points).max()):
        raise ValueError(
            "The run gives the images of the saved reference other features than those saved: it is another run, or "
            "was trained on. Give --workdir the run that the reference was saved with, or save it again."
        )
