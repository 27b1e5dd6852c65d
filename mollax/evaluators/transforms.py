"""What an augmenter has learned: its transforms of test images, as numbers and as pictures (METHODS section 2)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8

from mollax import checks, invariance, keys
from mollax.data import Dataset
from mollax.evaluators.predictor import stack
from mollax.image import affine_warp, pixel_aspect, rotation, standardize
from mollax.invariance.prototypes import angle_percentiles, class_spread, mean_direction, prototypes, turn_angle

PyTree = Any
Progress = Callable[[str, int, int], None]
EXAMPLES, COPIES = 8, 6
INPUT_STEP = 30
INPUT_ANGLES = tuple(range(-180, 181, INPUT_STEP))
# Draws have a direction from this resultant length on; that of angles even over 300 degrees is 0.19.
DIRECTED = 0.2
_CHANCE = 1e-3  # Rayleigh: of n angles from all around the length exceeds sqrt(-log(_CHANCE) / n) as rarely as this.
FEWEST = 0.25  # share of the images that must have a direction for a mean over them
_CHUNK = 50  # images at a time


class TransformEvaluator:
    """Draws transforms of test images and measures them; random by a fixed seed and the image's number.

    Args:
      model: both networks.
      dataset: whose test images are taken, evenly spread.
      mean, std: per channel, of the training split.
      name: of the augmenter, for the report.
      max_entropy: the largest that it can have, in nats; infinite for no bound.
      limits: of crops.
      images: how many test images.
      draws: transforms of each.
      aligned: how many images are aligned by mean shift; 0 for none.
      steps, step_size, align_draws: of the mean shift.

    Raises:
      ValueError: for counts that make no sense, or a step size from which mean shift diverges.
    """

    def __init__(
        self,
        model: invariance.TransformedClassifier,
        dataset: Dataset,
        *,
        mean: Float[jax.Array, " c"],
        std: Float[jax.Array, " c"],
        name: str,
        max_entropy: float = math.inf,
        limits: tuple[float, float] = invariance.DEFAULT_LIMITS,
        images: int = 200,
        draws: int = 200,
        aligned: int = 0,
        steps: int = 10,
        step_size: float = 0.1,
        align_draws: int = 50,
    ) -> None:
        counts = {"images": images, "draws": draws, "steps": steps, "align_draws": align_draws}
        for what, value in counts.items():
            checks.positive_int(f"eval.transforms.{what}", value)
        checks.positive_int("eval.transforms.aligned", aligned, minimum=0)
        checks.in_range("eval.transforms.step_size", step_size, 0.0, 2.0, open_low=True, open_high=True)
        self._model, self._dataset, self._mean, self._std = model, dataset, mean, std
        self._limits, self._draws, self._name = limits, draws, name
        self._max_entropy = max_entropy if math.isfinite(max_entropy) else None
        self._kind = getattr(model.augmenter, "kind", "rotation")
        self._turns = self._kind not in ("translation", "crop")
        self._images = images
        self._chosen = _spread(len(dataset.test), images)
        # Mean shift is a sum of steps from the identity, which crops do not have.
        self._aligned_images = 0 if self._kind == "crop" else aligned
        self._mean_shift = {"steps": steps, "step_size": step_size, "draws": align_draws}
        self._draw = jax.jit(self._draw_batch, static_argnames="n")
        self._shift = jax.jit(
            functools.partial(
                invariance.align_batch, model=model, mean=mean, std=std, n=align_draws, steps=steps, step_size=step_size
            )
        )

    def run(self, variables: PyTree, *, progress: Progress | None = None) -> dict[str, Any]:
        """The block "invariance" of results.json; what it has under "pictures" is for the report."""
        variables = jax.device_get(variables)
        images = stack(self._dataset.test, self._chosen)
        drawn = self._drawn(variables, images, self._chosen, progress)
        labels: list[int] = np.asarray(self._dataset.test.labels)[self._chosen].tolist()
        matrices, entropy = drawn["matrices"], drawn["entropy"]
        angles = np.rad2deg(turn_angle(matrices)) if self._turns else None
        augmenter, params = self._model.augmenter, drawn["params"]
        pictures = self._pictures(images, matrices)
        block = {
            "augmenter": self._name,
            "max_entropy": self._max_entropy,
            "kind": self._kind,
            "parameters": list(invariance.parameter_names(self._kind)),
            "images": len(images),
            "draws": self._draws,
            "bound": getattr(getattr(augmenter, "flow", augmenter), "bound", None),
            "entropy": float(entropy.mean()),
            "per_class": self._per_class(labels, entropy, angles),
            "examples": [
                self._example(i, labels[i], params[i], None if angles is None else angles[i], float(entropy[i]))
                for i in self._example_numbers()
            ],
            "rotation_error": self._rotation_error(matrices, angles),
            "input_rotation": self._input_rotation(variables, progress),
            "alignment": None,
            "pictures": pictures,
        }
        if self._aligned_images:
            block["alignment"], pictures["before"], pictures["after"] = self._aligned(variables, progress)
        return block

    def validate(self, variables: PyTree) -> dict[str, float]:
        """{"range/NAME": mean 1-99 % width in degrees of the angles drawn for that class's validation images}.

        Empty where transforms do not turn.
        """
        split = self._dataset.validation
        if not self._turns:
            return {}
        chosen = _spread(len(split), self._images)
        drawn = self._drawn(jax.device_get(variables), stack(split, chosen), chosen, None)
        labels: list[int] = np.asarray(split.labels)[chosen].tolist()
        rows = self._per_class(labels, drawn["entropy"], np.rad2deg(turn_angle(drawn["matrices"])))
        return {f"range/{name}": value for name, value in zip(rows["names"], rows["range"], strict=True)}

    def _draw_batch(
        self, variables: PyTree, key_data: jax.Array, index: jax.Array, images: jax.Array, *, n: int
    ) -> invariance.Draws:
        key = jax.random.wrap_key_data(key_data)
        image_keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(index)
        apply: Callable[..., Any] = self._model.apply
        plain = standardize(images, self._mean, self._std)
        return apply(variables, image_keys, plain, n=n, limits=self._limits, method="draw")

    def _drawn(
        self, variables: PyTree, images: UInt8[np.ndarray, "b h w c"], index: np.ndarray, progress: Progress | None
    ) -> dict[str, np.ndarray]:
        """Parameters, matrices and entropies of all images, some at a time."""
        key_data = jax.random.key_data(keys.stream_key(0, "evaluate/transforms"))
        n = self._draws + self._draws % 2  # pairs of augmenters draw even numbers
        found: dict[str, list[np.ndarray]] = {"params": [], "matrices": [], "entropy": []}
        for start in range(0, len(images), _CHUNK):
            part = slice(start, start + _CHUNK)
            floats = jnp.asarray(images[part].astype(np.float32) / 255)
            draws = self._draw(variables, key_data, jnp.asarray(index[part], jnp.uint32), floats, n=n)
            for name, rows in found.items():
                rows.append(np.asarray(getattr(draws, name)))
            if progress is not None:
                progress("transforms", min(start + _CHUNK, len(images)), len(images))
        return {name: np.concatenate(rows) for name, rows in found.items()}

    def _example_numbers(self) -> list[int]:
        return sorted({int(i) for i in np.linspace(0, len(self._chosen) - 1, EXAMPLES)})

    def _example(
        self, number: int, label: int, params: np.ndarray, angles: np.ndarray | None, entropy: float
    ) -> dict[str, Any]:
        return {
            "index": int(self._chosen[number]),
            "label": self._dataset.class_names[label],
            "entropy": entropy,
            "params": np.round(params[:200].astype(np.float64), 4).tolist(),
            "angles": None if angles is None else np.round(angles[:200], 2).tolist(),
            "angle_range": None if angles is None else angle_percentiles(angles[None])[[0, 2], 0].round(2).tolist(),
        }

    def _per_class(self, given: list[int], entropy: np.ndarray, angles: np.ndarray | None) -> dict[str, Any]:
        there, labels = sorted(set(given)), np.array(given)
        ranges = None
        if angles is not None:
            low, _, high = angle_percentiles(angles)
            ranges = [float((high - low)[labels == k].mean()) for k in there]
        return {
            "names": [self._dataset.class_names[k] for k in there],
            "entropy": [float(entropy[labels == k].mean()) for k in there],
            "range": ranges,
        }

    def _rotation_error(self, matrices: np.ndarray, angles: np.ndarray | None) -> dict[str, float] | None:
        """Whether rotations were discovered among the matrices, for kinds that have others."""
        if angles is None or self._kind in ("rotation", "rotation_translation"):
            return None
        bound = getattr(getattr(self._model.augmenter, "flow", self._model.augmenter), "bound", 1.0)
        d = invariance.dimension(self._kind)
        box = np.random.default_rng(0).uniform(-bound, bound, (10_000, d)).astype(np.float32)
        entry_range = getattr(self._model.augmenter, "entry_range", math.pi)
        random = jax.vmap(lambda p: invariance.affine_matrix(p, kind=self._kind, entry_range=entry_range))(box)
        error = jax.vmap(invariance.rotation_error)
        spread = [invariance.angle_spread(np.deg2rad(row)) for row in angles]
        return {
            "drawn": float(error(jnp.asarray(matrices.reshape(-1, 2, 3))).mean()),
            "random": float(error(random).mean()),
            "angle_spread": float(np.rad2deg(np.mean(spread))),
        }

    def _input_rotation(self, variables: PyTree, progress: Progress | None) -> dict[str, Any] | None:
        """How the drawn angles follow the input's: percentiles, means over the images whose draws have a direction.

        Which of the angles that differ by whole turns a mean is, is decided by continuity, image by image: the one
        nearest to 0 for the upright input, then the one nearest to the image's last. None where too few are left.
        """
        if not self._turns:
            return None
        chosen = self._chosen[:: max(1, len(self._chosen) // 100)][:100]
        images = jnp.asarray(stack(self._dataset.test, chosen).astype(np.float32) / 255)
        turn = jax.jit(jax.vmap(affine_warp, in_axes=(0, None)))
        aspect = pixel_aspect(*images.shape[1:3])
        upright = np.zeros(len(chosen))
        centres: dict[int, np.ndarray] = {}
        found, directed = {}, {}
        for angle in sorted(INPUT_ANGLES, key=abs):
            pull = rotation(math.radians(angle), aspect=aspect)
            turned = np.rint(np.asarray(turn(images, pull)) * 255).astype(np.uint8)
            drawn = np.rad2deg(turn_angle(self._drawn(variables, turned, chosen, None)["matrices"]))
            near = centres.get(angle - int(math.copysign(INPUT_STEP, angle)), upright)
            centre, length = mean_direction(drawn, near=near)
            has = length >= max(DIRECTED, math.sqrt(-math.log(_CHANCE) / drawn.shape[1]))
            centres[angle] = np.where(has, centre, near)
            rows = angle_percentiles(drawn, near=near)
            enough = has.sum() >= max(1, FEWEST * len(chosen))
            found[angle] = rows[:, has].mean(axis=1).tolist() if enough else [None, None, None]
            directed[angle] = int(has.sum())
            if progress is not None:
                progress("turned images", len(found), len(INPUT_ANGLES))
        low, median, high = zip(*(found[angle] for angle in INPUT_ANGLES), strict=True)
        return {
            "angles": list(INPUT_ANGLES),
            "low": list(low),
            "median": list(median),
            "high": list(high),
            "images": len(chosen),
            "directed": [directed[angle] for angle in INPUT_ANGLES],
        }

    def align_images(
        self, variables: PyTree, images: Float[np.ndarray, "b h w c"], *, progress: Progress | None = None
    ) -> tuple[Float[np.ndarray, "b h w c"], Float[np.ndarray, "b 2 3"]]:
        """Images in [0, 1] after mean shift, and the pull matrices that moved them.

        Raises:
          ValueError: for an empty set, or transforms that are not finite.
        """
        made, matrices = [], []
        key = keys.stream_key(0, "align")
        for start in range(0, len(images), _CHUNK):
            part = images[start : start + _CHUNK].astype(np.float32)
            found = self._shift(keys.example_keys(key, start, len(part)), jnp.asarray(part), variables=variables)
            made.append(np.asarray(found.image))
            matrices.append(np.asarray(found.matrix))
            if progress is not None:
                progress("alignment", min(start + _CHUNK, len(images)), len(images))
        everything = np.concatenate(matrices) if matrices else np.zeros((0, 2, 3), np.float32)
        invariance.require_finite(everything)
        return np.concatenate(made), everything

    def _aligned(
        self, variables: PyTree, progress: Progress | None
    ) -> tuple[dict[str, Any], Float[np.ndarray, "k h w c"], Float[np.ndarray, "k h w c"]]:
        test, count = self._dataset.test, self._aligned_images
        chosen = _spread(len(test), count)
        before = stack(test, chosen).astype(np.float32) / 255
        after, _ = self.align_images(variables, before, progress=progress)
        block = alignment_block(before, after, np.asarray(test.labels)[chosen], self._dataset.class_names)
        means = block.pop("mean_before"), block.pop("mean_after")
        return {**self._mean_shift, **block}, *means

    def _pictures(
        self, images: UInt8[np.ndarray, "b h w c"], matrices: Float[np.ndarray, "b n 2 3"]
    ) -> dict[str, Float[np.ndarray, ...] | None]:
        numbers = self._example_numbers()
        examples = images[numbers].astype(np.float32) / 255
        warp = jax.vmap(
            lambda image, some: jax.vmap(lambda m: affine_warp(image, m, padding=self._model.padding))(some)
        )
        drawn = np.asarray(warp(jnp.asarray(examples), jnp.asarray(matrices[numbers, :COPIES])))
        return {"examples": examples, "drawn": drawn, "before": None, "after": None}


def _spread(total: int, count: int) -> Int[np.ndarray, " n"]:
    """Numbers of at most `count` of `total` images, evenly spread."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(np.int64))


def alignment_block(
    before: Float[np.ndarray, "n h w c"],
    after: Float[np.ndarray, "n h w c"],
    labels: Int[np.ndarray, " n"],
    class_names: Sequence[str],
) -> dict[str, Any]:
    """How much of its images' energy each class's mean misses before and after alignment, and the means themselves.

    None, in "before" and "after", for a class of a single image, which is its own mean, or of black images.
    """
    there, within, counts = np.unique(labels, return_inverse=True, return_counts=True)
    block: dict[str, Any] = {"images": len(labels), "names": [class_names[k] for k in there]}
    for name, images in (("before", before), ("after", after)):
        spread = class_spread(images, within, classes=len(there), relative=True)
        known = np.isfinite(spread) & (counts > 1)
        block[name] = [float(value) if ok else None for value, ok in zip(spread, known, strict=True)]
        block[f"mean_{name}"] = prototypes(images, within, classes=len(there)).images
    return block
