"""An exported classifier, loaded with jax and numpy alone (and flatbuffers, with which jax reads its own format).

    import load
    model = load.load()            # of the folder that this file lies in
    outputs = model(images)        # uint8 (n, h, w, c), any n
    model.class_names[outputs["label"][0]], outputs["probability"][0], outputs["inside"][0]

Outputs are NumPy arrays: label (n,), an index into class_names; probabilities (n, classes), calibrated, and
probability (n,), the largest; scores, a dictionary of (n,) by name, high for unknown images; inside (n,), whether the
score metadata["flag_score"] is at most its threshold (absent without scores). metadata.json says more.

    python load.py images.npy      # one line an image
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

BATCH = 256  # images at a time


class Model:
    """What the artifact computes; see above."""

    def __init__(self, folder: Path) -> None:
        self.metadata: dict[str, Any] = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
        self.class_names: list[str] = self.metadata["class_names"]
        exported = export.deserialize(bytearray((folder / self.metadata["artifact"]).read_bytes()))
        self._call = jax.jit(exported.call)

    def __call__(self, images: np.ndarray) -> dict[str, Any]:
        """The outputs for uint8 images (n, height, width, channels) of the shape in metadata["image_shape"]."""
        images, shape = np.asarray(images), tuple(self.metadata["image_shape"])
        if images.dtype != np.uint8 or images.shape[1:] != shape or not len(images):
            expected = f"uint8 images of shape (n, {', '.join(map(str, shape))}), n at least 1"
            raise ValueError(f"Expected {expected}; got {images.dtype} of shape {images.shape}.")
        parts = [self._padded(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

    def _padded(self, images: np.ndarray) -> dict[str, Any]:
        # To the next power of 2, so that few sizes are ever compiled.
        padding = (1 << (len(images) - 1).bit_length()) - len(images)
        outputs = self._call(np.concatenate([images, np.zeros((padding, *images.shape[1:]), np.uint8)]))
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: len(images)], outputs)


def load(folder: str | Path = Path(__file__).parent) -> Model:
    """The model in a folder that `python -m mollax.export` has written."""
    return Model(Path(folder))


def main(arguments: list[str]) -> None:
    """Prints label, probability and in or out of every image in an .npy file."""
    if len(arguments) != 1:
        sys.exit("Give one .npy file of uint8 images (n, height, width, channels).")
    model = load()
    outputs = model(np.load(arguments[0]))
    for number, label in enumerate(outputs["label"]):
        words = [model.class_names[label], f"{outputs['probability'][number]:.4f}"]
        if "inside" in outputs:
            words.append("in" if outputs["inside"][number] else "out")
        print(*words, sep="\t")


if __name__ == "__main__":
    main(sys.argv[1:])
