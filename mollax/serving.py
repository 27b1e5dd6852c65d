"""A finished run in service: from 8-bit images to class, calibrated probability, OOD scores and in or out.

One pure function gives it all; `mollax.predict` runs it over files and `mollax.export` writes it down. What it gives of
an image depends on that image alone: where predictions are averaged over drawn transforms, every image gets the same
key, that of the first image of an evaluation.
"""

from __future__ import annotations

import logging
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from mollax import augmenters, checks, evaluators, invariance, keys, parallel
from mollax.finished_run import FinishedRun, open_run
from mollax.image import standardize
from mollax.ood.scores import load_states
from mollax.report import detection_numbers as numbers

PyTree = Any
Outputs = dict[str, Any]
STATES = "detectors.npz"


@dataclass(frozen=True)
class Service:
    """A run and what it flags by.

    Attributes:
      run: its network, weights and results.
      states: of the stored scores, by name; empty if the run has stored none.
      thresholds: of each, the largest value that counts as in: 95 % of the validation images have no larger one.
      flag_score: the score that decides in or out; "" without scores.
    """

    run: FinishedRun
    states: dict[str, Any]
    thresholds: dict[str, float]
    flag_score: str

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, by label."""
        return list(self.run.results["data"]["class_names"])

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the images that are taken."""
        height, width, channels = self.run.results["data"]["image_shape"]
        return height, width, channels

    @property
    def parameters(self) -> tuple[PyTree, dict[str, Any]]:
        """The arrays that `serve` takes: the network's variables and the scores' states."""
        return self.run.variables, self.states


def open_service(workdir: Path, *, score: str = "", scores: Sequence[str] | None = None) -> Service:
    """Opens a finished run with its stored scores.

    Args:
      workdir: of the run.
      score: by which to flag; "" for the one that the run's report ranks first. A short name, such as "ash" for
        "ash:variant=s", will do where it means one score.
      scores: which to compute; None for all that are stored.

    Raises:
      FileNotFoundError: if the run has not finished.
      ValueError: for a score that is not stored, or stored scores that cannot be read.
    """
    run = _open(workdir)
    block = run.results.get("ood") or {}
    rows = {row["name"]: row for row in block.get("scores", ())}
    if rows and not (workdir / STATES).is_file():
        logging.warning("%s is missing: the run's OOD scores are left out.", workdir / STATES)
        rows = {}
    wanted = list(rows) if scores is None else list(dict.fromkeys(_resolve(name, rows, workdir) for name in scores))
    flag_score = _resolve(score, rows, workdir) if score else ""
    if flag_score and flag_score not in wanted:
        raise ValueError(f"Images are to be flagged by {flag_score!r}, which is not among the scores {wanted}.")
    if not flag_score and wanted:
        flag_score = next(name for name in numbers.ranked(block) if name in wanted)
    return Service(
        run=run,
        states=_read_states(workdir / STATES, wanted) if wanted else {},
        thresholds={name: float(rows[name]["threshold"]) for name in wanted},
        flag_score=flag_score,
    )


def _open(workdir: Path) -> FinishedRun:
    try:
        return open_run(workdir)
    except (AttributeError, KeyError) as error:
        name = str(error).strip("\"'")
        message = f"The run in {workdir} has no {name!r}, which this version of mollax needs: train it again."
        raise ValueError(message) from error


def _resolve(name: str, rows: dict[str, Any], workdir: Path) -> str:
    """The full name of a stored score."""
    if not rows:
        raise ValueError(f"The run in {workdir} has stored no OOD scores, so {name!r} cannot be had.")
    family = [known for known in rows if known.partition(":")[0] == name]
    return family[0] if name not in rows and len(family) == 1 else checks.one_of("score", name, rows)


def _read_states(path: Path, names: Sequence[str]) -> dict[str, Any]:
    kinds = {name: evaluators.SCORES[evaluators.parse_score(name)[0]].State for name in names}
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is cut off or no .npz file")
        return load_states(path, kinds)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}); evaluate the run again with --mode=evaluate.") from error


def serve(
    service: Service,
    parameters: tuple[PyTree, dict[str, Any]],
    images: UInt8[Array, "b h w c"],
    *,
    rows: int = 0,
) -> Outputs:
    """What the run says of images; pure, and nothing is drawn that is not fixed.

    Args:
      service: the run; its arrays are not used, but those of `parameters`.
      parameters: as `service.parameters`.
      images: 8-bit, of the run's shape.
      rows: above 0, scores see features so many at a time, which makes a symbolic batch dimension possible.

    Returns:
      "label": int32 (b,), "probability" (b,): the largest of "probabilities" (b, k), calibrated: softmax(logits / T)
      with the run's temperature T; "scores": {name: (b,)}, high for OOD; and with scores "inside": (b,), whether that
      of `flag_score` is at most its threshold (not so for NaN).
    """
    variables, states = parameters
    run, apply = service.run, service.run.model.apply
    images = standardize(images.astype(jnp.float32) / 255.0, run.mean, run.std)
    features: Any = apply(variables, images, train=False, method="features")
    logits: Any = apply(variables, features, method="head")
    seen = _averaged(run, variables, images) if _draws(run) else logits
    # Without the extra class that some labels have: its mass is shared out.
    scaled = seen[:, : len(service.class_names)] / run.results["temperature"]
    probabilities = jax.nn.softmax(scaled, axis=-1)
    outputs: Outputs = {
        "label": jnp.argmax(probabilities, axis=-1).astype(jnp.int32),
        "probability": jnp.max(probabilities, axis=-1),
        "probabilities": probabilities,
        "scores": {},
    }
    for name, state in states.items():
        module = evaluators.SCORES[name.partition(":")[0]]
        if module.NEEDS == "images":
            value = module.score(state, images, lambda moved: apply(variables, moved, train=False))
        elif module.NEEDS == "feature_maps":
            value = module.score(state, apply(variables, images, train=False, method="feature_maps"))
        else:
            first: Any = apply(variables, features, method="judge") if module.NEEDS == "critic" else features
            value = _in_blocks(module.score, state, first, logits, rows)
        outputs["scores"][name] = value
    if service.flag_score:
        threshold = jnp.float32(service.thresholds[service.flag_score])
        outputs["inside"] = outputs["scores"][service.flag_score] <= threshold
    return outputs


def _draws(run: FinishedRun) -> bool:
    return isinstance(run.model, invariance.TransformedClassifier) and run.config.invariance.predict.draws > 0


def _averaged(run: FinishedRun, variables: PyTree, images: Float[Array, "b h w c"]) -> Float[Array, "b k"]:
    """Log-probabilities averaged over transforms, as the run's evaluation has them."""
    assert isinstance(run.model, invariance.TransformedClassifier)  # as it draws
    # Durations play no part once training is over.
    learned = augmenters.create_learned(run.config, run.model.classifier, lambda name, duration: 1)
    assert learned is not None
    predict = augmenters.create_predict(run.config, learned, mean=run.mean, std=run.std)
    first = jax.random.fold_in(keys.stream_key(0, "evaluate/clean"), 0)
    data = jax.random.key_data(jax.random.fold_in(first, 1))
    same = jax.random.wrap_key_data(jnp.broadcast_to(data[None], (images.shape[0], *data.shape)))
    return predict(variables, same, images)


def _in_blocks(
    score: Callable[..., Array], state: Any, first: Float[Array, "b d"], logits: Float[Array, "b k"], rows: int
) -> Float[Array, " b"]:
    """Scores of `rows` examples at a time, the last ones padded; of all at once where it is 0."""
    if not rows:
        return score(state, first, logits)
    count = first.shape[0]
    number = (count + rows - 1) // rows

    def cut(values: Float[Array, "b d"]) -> Float[Array, "n r d"]:
        return jnp.pad(values, ((0, number * rows - count), (0, 0))).reshape(number, rows, values.shape[1])

    found = jax.lax.map(lambda block: score(state, *block), (cut(first), cut(logits)))
    return found.reshape(number * rows)[:count]


class Server:
    """`serve` for batches of at most `batch_size` images, which one program serves, compiled with the first of them.

    It runs on one device: with the search for neighbors in it, a program over several CPU devices stops XLA's compiler.
    """

    def __init__(self, service: Service, *, batch_size: int) -> None:
        self.batch_size = checks.positive_int("batch_size", batch_size)
        self._service, self._shape = service, service.image_shape
        self._parameters = jax.device_put(service.parameters)
        self._program: Callable[..., Outputs] | None = None

    def __call__(self, images: UInt8[np.ndarray, "n h w c"]) -> Outputs:
        """The outputs of `serve` on the host.

        Raises:
          ValueError: for more images than a batch holds, or images of another shape.
        """
        if len(images) > self.batch_size or images.shape[1:] != self._shape:
            expected = "x".join(map(str, self._shape))
            raise ValueError(f"Expected at most {self.batch_size} images of {expected}; got shape {images.shape}.")
        padded = np.zeros((self.batch_size, *self._shape), np.uint8)
        padded[: len(images)] = images
        if self._program is None:
            self._program = self._compile(padded)
        outputs = self._program(self._parameters, padded)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: len(images)], outputs)

    def _compile(self, images: UInt8[np.ndarray, "n h w c"]) -> Callable[..., Outputs]:
        """The program for images of this shape."""
        return parallel.compile_lowered(jax.jit(partial(serve, self._service)).lower(self._parameters, images))
