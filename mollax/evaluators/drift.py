"""Drift of test images and of other sets from the training images, on a network's features (METHODS section 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import numpy as np
from jaxtyping import Array, Float, Float32

from mollax import checks, data, drift
from mollax.data import Dataset, Split
from mollax.evaluators.features import FeaturePass

PyTree = Any
Progress = Callable[[str, int, int], None]
FEWEST = 20  # images of a side that are worth an audit


class DriftEvaluator:
    """Excess cross-entropy and its entropy-aware companion of every set, with validation images as the yardstick.

    The bank is of training images, the kernel Gaussian, its sigma chosen by leave-one-out on the bank: the validation
    split has no part in it. Where a set is smaller than `images`, all of it is used.

    Args:
      model: see `FeaturePass`.
      dataset: the set in distribution; its test split is audited too, as "test".
      sets: other images, by name.
      mean, std: per channel, of the training split.
      bank: training images, evenly spread; 0 takes all.
      images: of the validation split, the test split and every set, evenly spread.
      batch_size: images at a time.

    Raises:
      ValueError: for a bank below 0 or fewer than `FEWEST` images.
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset,
        sets: Mapping[str, Split],
        *,
        mean: Float[Array, " c"],
        std: Float[Array, " c"],
        bank: int = 10_000,
        images: int = 2000,
        batch_size: int = 500,
    ) -> None:
        checks.positive_int("eval.drift.bank", bank, minimum=0)
        checks.positive_int("eval.drift.images", images, minimum=FEWEST)
        self._bank = data.take_evenly(dataset.train, bank)
        self._held = data.take_evenly(dataset.validation, images)
        self._sets = {name: data.take_evenly(split, images) for name, split in {"test": dataset.test, **sets}.items()}
        shape = dataset.image_shape
        self._pass = FeaturePass(model, image_shape=shape, mean=mean, std=std, batch_size=batch_size)

    def run(self, variables: PyTree, *, progress: Progress | None = None) -> dict[str, Any]:
        """The block "drift" of results.json; "failed" says why where features, or those of a set, allow no audit."""
        bank, held = (self._features(variables, split) for split in (self._bank, self._held))
        held = held[~drift.copies(held, bank)]
        about = {"space": "features", "bank": len(bank), "held": len(held), "dimensions": bank.shape[1]}
        try:
            sigma = float(drift.choose_theta(drift.Gaussian, bank).theta)
        except ValueError as error:  # such as a dead network, all of whose features are equal
            return about | {"failed": str(error)}
        rows = []
        for number, (name, split) in enumerate(self._sets.items()):
            rows.append({"name": name, "images": len(split)})
            try:
                rows[-1] |= self._row(bank, held, self._features(variables, split), sigma)
            except ValueError as error:  # such as a set of one image, which has no companion
                rows[-1]["failed"] = str(error)
            if progress is not None:
                progress("drift", number + 1, len(self._sets))
        return about | {"sigma": sigma, "sets": rows}

    def _features(self, variables: PyTree, split: Split) -> Float32[np.ndarray, "n d"]:
        return self._pass.run(variables, split).features

    def _row(
        self, bank: Float32[np.ndarray, "n d"], held: Float32[np.ndarray, "h d"], new: Any, sigma: float
    ) -> dict[str, Any]:
        found = drift.audit(bank, held, new, drift.Gaussian(sigma), baselines=False)
        limit = float(np.quantile(found.held_contributions, 0.95))
        return {
            "excess": {key: getattr(found.excess, key) for key in ("value", "low", "high", "p_value")},
            "companion": {key: getattr(found.companion, key) for key in ("value", "low", "high", "p_value")},
            "detectable": found.detectable,
            "effect": found.excess.value / max(float(found.held_contributions.std(ddof=1)), 1e-12),
            "flagged": float((found.new_contributions > limit).mean()),
        }
