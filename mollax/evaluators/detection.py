"""Out-of-distribution detection by many scores on many sets, from one pass over the images (METHODS section 3)."""

from __future__ import annotations

import ast
import inspect
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Array, Float

from mollax import checks, data, metrics, ood
from mollax.data import Dataset, Split
from mollax.evaluators import drift_score
from mollax.evaluators.features import FeaturePass, Pass, is_decomposed
from mollax.ood.scores import generalized_odin, odin

PyTree = Any
Progress = Callable[[str, int, int], None]
GROUPS = ("near", "far", "shifted")
TPR = 0.95
CURVE_POINTS, HISTOGRAM_BINS = 100, 40
SCORES = {**ood.scores.SCORES, "drift": drift_score}


@dataclass(frozen=True)
class OtherSet:
    """A set to detect.

    Attributes:
      split: its images.
      group: how far it is: "near", "far", or "shifted" for known classes under other conditions.
      notes: what was done to the images.
      stored: the images before a codec, as of `mollax.data.Foreign`; None without one.
      made_of_test: whether they were computed from the test images, which are then not looked for among them.
    """

    split: Split
    group: str
    notes: tuple[str, ...] = ()
    stored: Split | None = None
    made_of_test: bool = False


def parse_score(text: str) -> tuple[str, dict[str, Any]]:
    """("ash", {"variant": "b", "percentile": 65}) for "ash:variant=b,percentile=65".

    Raises:
      ValueError: for an unknown score or option, or an option without a value.
    """
    name, _, rest = text.partition(":")
    checks.one_of("score", name, SCORES)
    known = [p.name for p in inspect.signature(SCORES[name].fit).parameters.values() if p.kind is p.KEYWORD_ONLY]
    options = {}
    for part in filter(None, rest.split(",")):
        option, equals, value = part.partition("=")
        checks.one_of(f"option of {name}", option, known)
        if not equals:
            raise ValueError(f'An option of a score is written "name:option=value"; got {text!r}.')
        try:
            options[option] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[option] = value  # a word
    return name, options


class DetectionEvaluator:
    """Fits scores on training images and measures how well they tell other sets from the test images.

    Anything tuned is tuned on the validation split: thresholds, and the input steps of ODIN. Other sets are seen
    once, at the end.

    Args:
      model: see `FeaturePass`.
      dataset: the set in distribution.
      sets: by name; images that ID splits or the outliers of training hold too are left out, but of sets that are
        made of test images.
      scores: as `parse_score` reads them; the first is what others are compared with.
      mean, std: per channel, of the training split.
      outliers: images of another set that the network learned from; None for none.
      bank: training images that scores are fitted on, evenly spread; 0 takes all.
      images: test images, and images of each set, evenly spread; 0 takes all.
      resamples: of the bootstrap intervals; 0 for none.
      batch_size: images at a time.

    Raises:
      ValueError: for no scores or sets, an unknown group or score, a score that the model cannot give, or a set of
        which nothing is left.
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset,
        sets: Mapping[str, OtherSet],
        *,
        scores: Sequence[str],
        mean: Float[Array, " c"],
        std: Float[Array, " c"],
        outliers: Split | None = None,
        bank: int = 50_000,
        images: int = 0,
        resamples: int = 1000,
        batch_size: int = 500,
    ) -> None:
        for name, value in (("bank", bank), ("images", images), ("resamples", resamples)):
            checks.positive_int(f"eval.ood.{name}", value, minimum=0)
        if not sets or not scores:
            raise ValueError("Detection needs at least one of eval.ood.sets and one of eval.ood.scores.")
        for other in sets.values():
            checks.one_of("group of a set", other.group, GROUPS)
        self._scores = {text: parse_score(text) for text in scores}
        for text, (name, _) in self._scores.items():
            _require_model(text, SCORES[name].NEEDS, name, model)
        self._dataset, self._std, self._resamples = dataset, std, resamples
        self._train = data.take_evenly(dataset.train, bank)
        self._test = data.take_evenly(dataset.test, images)
        known = {"training": dataset.train, "validation": dataset.validation, "test": dataset.test}
        known |= {"outliers that were learned from": outliers} if outliers is not None else {}
        self._sets, self._notes = {}, {}
        for name, other in sets.items():
            self._sets[name], shared = _chosen_images(name, other, images, known)
            self._notes[name] = (*other.notes, *shared)
        self._groups = {name: other.group for name, other in sets.items()}
        shape = dataset.image_shape
        self._pass = FeaturePass(model, image_shape=shape, mean=mean, std=std, batch_size=batch_size)
        self._by_images = {
            name: self._pass.image_score(SCORES[name])
            for name, _ in self._scores.values()
            if SCORES[name].NEEDS in ("images", "feature_maps")
        }
        self.states: dict[str, Any] = {}

    def run(self, variables: PyTree, *, progress: Progress | None = None) -> dict[str, Any]:
        """The block "ood" of results.json; fitted states are then in `states`, by the scores' names."""
        splits = {"train": self._train, "validation": self._dataset.validation, "test": self._test}
        splits |= {f"set {name}": split for name, split in self._sets.items()}
        passes = {}
        for number, (name, split) in enumerate(splits.items()):
            passes[name] = self._pass.run(variables, split)
            if progress is not None:
                progress("detection: features", number + 1, len(splits))
        head = jax.device_get(self._pass.head(variables))
        rows: list[dict[str, Any]] = []
        values: dict[str, dict[str, np.ndarray]] = {}
        left_out: dict[str, str] = {}
        for number, text in enumerate(self._scores):
            try:
                row, state, scored = self._measure(text, passes, splits, head, variables)
            # Such as a singular covariance, or NaN for one image: the other scores are not lost for it.
            except ValueError as error:
                logging.warning("The score %s is left out: %s", text, error)
                left_out[text] = str(error)
                continue
            self.states[text], values[text] = state, scored
            rows.append(row)
            if progress is not None:
                progress("detection: scores", number + 1, len(self._scores))
        if not rows:
            raise ValueError(f"No score is left: {left_out}.")
        return {**self._block(rows, values), "left_out": left_out}

    def _measure(
        self,
        text: str,
        passes: Mapping[str, Pass],
        splits: Mapping[str, Split],
        head: ood.Head | None,
        variables: PyTree,
    ) -> tuple[dict[str, Any], Any, dict[str, np.ndarray]]:
        """A score's row, state and values of every split; ValueError if it cannot be fitted, or gives no order."""
        name, options = self._scores[text]
        state, chosen = self._fit(name, options, passes["train"], head, variables)
        scored, seconds = self._score_all(name, state, passes, splits, variables)
        threshold = _threshold(scored)
        row = {
            "name": text,
            "needs": SCORES[name].NEEDS,
            "chosen": chosen,
            "threshold": threshold,
            "accepted": float((scored["test"] <= threshold).mean()),
            "microseconds": 1e6 * seconds / len(self._test),
        }
        return row, state, scored

    def _fit(
        self, name: str, options: Mapping[str, Any], train: Pass, head: ood.Head | None, variables: PyTree
    ) -> tuple[Any, dict[str, Any]]:
        """The score's state, and what was chosen on validation images for it."""
        module, labels = SCORES[name], np.asarray(self._train.labels)
        options = dict(options)
        if "deviation" in inspect.signature(module.fit).parameters:
            options.setdefault("deviation", tuple(float(v) for v in np.asarray(self._std)))
        first = train.critic if module.NEEDS == "critic" else train.features
        state = module.fit(first, train.logits, labels, head, **options)
        if module in (odin, generalized_odin) and "epsilon" not in options:
            batches = self._pass.batches(self._dataset.validation)
            state, choice = module.choose_epsilon(state, batches, self._pass.network(variables, module))
            return state, {"epsilon": choice.epsilon}
        return state, {}

    def _score_all(
        self, name: str, state: Any, passes: Mapping[str, Pass], splits: Mapping[str, Split], variables: PyTree
    ) -> tuple[dict[str, np.ndarray], float]:
        """Scores of every split but the training images, and the seconds of the test images once compiled."""
        module = SCORES[name]
        if name in self._by_images:
            by_image = self._by_images[name]

            def score(which: str) -> np.ndarray:
                return by_image(variables, state, splits[which])
        else:
            compiled = module.score if name == "knn" else jax.jit(module.score)  # knn compiles its own parts

            def score(which: str) -> np.ndarray:
                part = passes[which]
                first = part.critic if module.NEEDS == "critic" else part.features
                return np.asarray(compiled(state, first, part.logits))

        scored = {which: score(which) for which in splits if which != "train"}
        began = time.perf_counter()
        score("test")
        return scored, time.perf_counter() - began

    def _block(self, rows: list[dict[str, Any]], values: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
        table: dict[str, dict[str, Any]] = {}
        first = next(iter(values))
        for row in rows:
            text = row["name"]
            known = values[text]["test"]
            cells = {}
            for name in self._sets:
                strange = values[text][f"set {name}"]
                cell: dict[str, Any] = dict(metrics.detection_summary(known, strange, tpr=TPR))
                if not math.isfinite(cell["accept_threshold"]):  # of test images; JSON has no infinity
                    cell["accept_threshold"] = None
                cell["flagged"] = float((strange > row["threshold"]).mean())
                if self._resamples:
                    found = metrics.detection_intervals(known, strange, tpr=TPR, resamples=self._resamples)
                    cell["intervals"] = {key: list(pair) for key, pair in found.items()}
                    if text != first:
                        pair = values[first]["test"], values[first][f"set {name}"]
                        both = metrics.paired_detection_intervals(
                            (known, strange), pair, tpr=TPR, resamples=self._resamples
                        )
                        cell["against_first"] = {key: list(pair) for key, pair in both.items()}
                cell["curve"] = _curve(known, strange)
                cells[name] = cell
            table[text] = cells
            row["histogram"] = _histogram(values[text], tuple(self._sets))
        return {
            "tpr": TPR,
            "positive": "id",
            "bank": len(self._train),
            "images": len(self._test),
            "validation": len(self._dataset.validation),
            "sets": [
                {
                    "name": name,
                    "group": self._groups[name],
                    "images": len(split),
                    "notes": list(self._notes[name]),
                }
                for name, split in self._sets.items()
            ],
            "scores": rows,
            "table": table,
        }


def _require_model(text: str, needs: str, name: str, model: nn.Module) -> None:
    if needs == "critic" and not (isinstance(model, ood.CriticClassifier) and model.on == "features"):
        raise ValueError(f'The score {text!r} needs a critic: train with ood.method, such as "tv".')
    if name == "generalized_odin" and not is_decomposed(model):
        logging.info("generalized_odin on a head that is not decomposed takes the largest logit for h.")


def _chosen_images(name: str, other: OtherSet, count: int, known: dict[str, Split]) -> tuple[Split, tuple[str, ...]]:
    """`count` images of a set, evenly spread, without those that `known` splits hold too, and notes on these."""
    split = data.take_evenly(other.split, count)
    if other.made_of_test:
        return split, ()
    stored = None if other.stored is None else data.take_evenly(other.stored, count)
    split, shared = data.without_shared(split, known, stored=stored)
    if len(split) == 0:
        raise ValueError(f"Nothing is left of eval.ood.sets.{name}: {'; '.join(shared)}. Give other images.")
    return split, shared


def _threshold(scored: Mapping[str, np.ndarray]) -> float:
    """Below or at which `TPR` of the validation images are; ValueError for NaN in any split or no finite threshold."""
    for which, scores in scored.items():
        bad = np.flatnonzero(np.isnan(scores))
        if bad.size:
            raise ValueError(f"{bad.size} of {len(scores)} scores of {which} are NaN, the first is of image {bad[0]}.")
    threshold = metrics.accept_threshold(scored["validation"], share=TPR)
    if not math.isfinite(threshold):
        raise ValueError(f"Its threshold on validation images would be {threshold}: too many of its scores are.")
    return threshold


def _curve(known: np.ndarray, strange: np.ndarray) -> dict[str, list[float]]:
    """ROC and precision-recall points with ID positive, five digits each."""
    curve = metrics.detection_curve(known, strange, points=CURVE_POINTS)
    return {name: [round(float(v), 5) for v in getattr(curve, name)] for name in ("tpr", "fpr", "precision")}


def _histogram(values: Mapping[str, np.ndarray], sets: Sequence[str]) -> dict[str, Any]:
    """Shares of images in equal bins between the 0.5 and 99.5 % points of all; what lies outside is at the ends.

    The points are those of finite scores; without any, bins go from 0 to 1.
    """
    groups = {"test": values["test"], **{name: values[f"set {name}"] for name in sets}}
    together = np.concatenate(list(groups.values())).astype(np.float64)
    finite = together[np.isfinite(together)]
    low, high = np.percentile(finite, [0.5, 99.5]) if finite.size else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1.0, HISTOGRAM_BINS + 1)
    shares = {}
    for name, scores in groups.items():
        inside = np.clip(scores.astype(np.float64), edges[0], edges[-1])
        shares[name] = (np.histogram(inside, edges)[0] / len(scores)).round(5).tolist()
    return {"edges": edges.tolist(), "shares": shares}
