"""Learning a classifier and the transforms it should not care about, together (METHODS section 2, eq 9 and 10)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from mollax import checks, invariance, keys
from mollax.image import affine, affine_warp, standardize
from mollax.objectives.classification import negative_log_likelihood
from mollax.objectives.prepare import Augment, Mix, augmented, mollified

PyTree = Any
Limits = tuple[float, float]
AVERAGES = ("loss", "logits")


@dataclass(frozen=True)
class Warmup:
    """What changes while a run goes on, in steps.

    Attributes:
      steps: before this many, images stay as they are and the augmenter learns nothing.
      limits: smallest and largest size of crops.
      late_limits: those from step `late_from` on.
      late_from: None keeps `limits`.

    Raises:
      ValueError: for limits that are not 0 < low <= high <= 1, or a negative number of steps.
    """

    steps: int = 0
    limits: Limits = invariance.DEFAULT_LIMITS
    late_limits: Limits = invariance.DEFAULT_LIMITS
    late_from: int | None = None

    def __post_init__(self) -> None:
        checks.positive_int("invariance.warmup", self.steps, minimum=0)
        for name, (low, high) in (("limits", self.limits), ("late_limits", self.late_limits)):
            if not 0 < low <= high <= 1:
                raise ValueError(f"invariance.{name} of crops must be 0 < low <= high <= 1; got ({low:g}, {high:g}).")

    def limits_at(self, step: Integer[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Limits of crops at a step."""
        late = jnp.bool_(False) if self.late_from is None else step >= self.late_from
        pairs = zip(self.limits, self.late_limits, strict=True)
        low, high = (jnp.where(late, after, before).astype(jnp.float32) for before, after in pairs)
        return low, high


def create_controlled(controller: Any) -> tuple[dict[str, Array], Callable[[PyTree, Mapping[str, Array]], PyTree]]:
    """What the state carries for the augmenter, and how it changes after each step.

    Args:
      controller: one of `mollax.invariance`'s; during the warm-up it rests.

    Returns:
      The initial `extra["invariance"]`, {"step": count of updates, **controller.initial()}, and a function of (extra,
      averaged metrics) for `step.train_step`.
    """

    def adapt(extra: PyTree, metrics: Mapping[str, Array]) -> PyTree:
        before = extra["invariance"]
        after = {"step": before["step"] + 1, **controller.update(_without_step(before), metrics["entropy"])}
        resting = {**before, "step": before["step"] + 1}
        warm = metrics["augmenting"] > 0
        chosen = jax.tree.map(lambda new, old: jnp.where(warm, new, old), after, resting)
        return {**extra, "invariance": chosen}

    return {"step": jnp.int32(0), **controller.initial()}, adapt


def _without_step(state: Mapping[str, Array]) -> dict[str, Array]:
    return {name: value for name, value in state.items() if name != "step"}


def invariance_objective(
    model: invariance.TransformedClassifier,
    *,
    classes: int,
    mean: Float[Array, " c"],
    std: Float[Array, " c"],
    augment: Augment | None = None,
    mollifier: Mapping[str, Any] | None = None,
    mix: Mix | None = None,
    loss: str = "cross_entropy",
    copies: int = 1,
    include_original: bool = False,
    average: str = "loss",
    freeze_classifier: bool = False,
    warmup: Warmup | None = None,
) -> Callable[..., tuple[Array, tuple[dict[str, Array], PyTree, PyTree]]]:
    """The objective of a classifier with an augmenter, for `step.train_step`.

        L = E_T[-log f(C; A_T I)] + weight * penalty of the augmenter        (eq 9, 10; T ~ g(.; I), `copies` draws)

    One gradient serves both: the classifier's parameters are not in the penalty. An image is augmented classically
    (and mixed) first, then transformed, then standardised and mollified, with a label as the mollifier says: each copy
    has its own role, temperature and noise. The weight is `extra["invariance"]["weight"]`. During the warm-up the
    transforms are the identity and the weight is 0.

    Args:
      model: both networks.
      classes, mean, std, augment, mollifier, mix, loss: as in `classification_objective`.
      copies: transforms of each image.
      include_original: adds the cross-entropy of the image as it is.
      average: over copies, of the "loss" (eq 9) or of the "logits" before it (as in LILA).
      freeze_classifier: the classifier runs as in evaluation; its optimizer must leave it alone.
      warmup: see `Warmup`; None for none.

    Returns:
      As `classification_objective`; further metrics are "cross_entropy", "entropy", "penalty", "weight" and
      "augmenting" (1, or 0 during the warm-up).

    Raises:
      ValueError: for an unknown loss or average, fewer copies than one, or averaged logits of one copy or of mollified
        images, which have no common label.
    """
    checks.positive_int("invariance.copies", copies)
    checks.one_of("invariance.average", average, AVERAGES)
    if average == "logits" and copies == 1:
        raise ValueError('invariance.average "logits" is over copies of an image; set invariance.copies above 1.')
    if average == "logits" and mollifier is not None:
        raise ValueError(
            'invariance.average "logits" needs one label for all copies of an image, but each is mollified by its own '
            'temperature; use "loss", or turn mollify.enabled off.'
        )
    negative_log = negative_log_likelihood(loss)
    apply: Callable[..., Any] = model.apply
    plan = Warmup() if warmup is None else warmup

    def objective(
        params: PyTree,
        model_state: PyTree,
        extra: PyTree,
        batch: dict[str, Array],
        key: PRNGKeyArray,
        first_index: int | Integer[Array, ""],
    ) -> tuple[Array, tuple[dict[str, Array], PyTree, PyTree]]:
        data_key, dropout_key, draw_key = jax.random.split(key, 3)
        carried, count = extra["invariance"], len(batch["label"])
        images, labels = augmented(
            data_key,
            batch["image"],
            batch["label"],
            classes=classes,
            augment=augment,
            mix=mix,
            first_index=first_index,
        )
        on = carried["step"] >= plan.steps
        # In the warm-up the augmenter gets no gradient at all: 0 times a penalty that is not finite would be NaN.
        augmenter = params.get("augmenter", {})
        learning = jax.tree.map(lambda leaf: jnp.where(on, leaf, jax.lax.stop_gradient(leaf)), augmenter)
        variables = {"params": {**params, "augmenter": learning}, **model_state}
        draws = apply(
            variables,
            keys.example_keys(draw_key, first_index, count),
            standardize(images, mean, std),
            n=copies,
            limits=plan.limits_at(carried["step"]),
            method="draw",
        )
        matrices = jnp.where(on, draws.matrices, affine.identity()[None, None])
        warped = _warp_all(images, matrices, model.padding)
        shown = jnp.concatenate([warped, images[:, None]], 1) if include_original else warped
        each = shown.shape[1]
        first = jnp.asarray(first_index, jnp.uint32) * jnp.uint32(each)
        examples = mollified(
            data_key,
            standardize(shown.reshape(-1, *images.shape[1:]), mean, std),
            jnp.repeat(labels, each, axis=0),
            mollifier=mollifier,
            first_index=first,
        )
        logits, new_state = apply(
            variables,
            examples.images,
            train=not freeze_classifier,
            mutable=list(model_state),
            # Dropout masks are drawn for the slice as a whole, so their key must differ between slices.
            rngs={"dropout": jax.random.fold_in(dropout_key, first_index)},
        )
        logits = logits.reshape(count, each, -1)
        targets = examples.labels.reshape(count, each, -1)
        score = None if draws.score is None else jnp.where(on, draws.score, 0.0)
        if average == "logits":
            losses = negative_log(jnp.mean(logits[:, :copies], 1), targets[:, 0])[:, None]
            score = None if score is None else jnp.sum(score, 1, keepdims=True)  # of all copies at once
        else:
            losses = negative_log(logits[:, :copies], targets[:, :copies])
        cross_entropy = jnp.mean(invariance.surrogate_losses(losses, score))
        if include_original:
            cross_entropy += jnp.mean(negative_log(logits[:, -1], targets[:, -1]))
        weight = jnp.where(on, carried["weight"], 0.0)
        penalty = jnp.mean(draws.penalty)
        value = cross_entropy + jnp.where(on, weight * penalty, 0.0)
        hits = jnp.argmax(logits[:, :copies, :classes], -1) == batch["label"][:, None]
        metrics = {
            "loss": value,
            "accuracy": jnp.mean(hits.astype(jnp.float32)),
            "cross_entropy": cross_entropy,
            "entropy": jnp.mean(draws.entropy),
            "penalty": penalty,
            "weight": weight,
            "augmenting": on.astype(jnp.float32),
        }
        return value, (metrics, new_state, extra)

    return objective


def _warp_all(
    images: Float[Array, "b h w c"], matrices: Float[Array, "b n 2 3"], padding: str
) -> Float[Array, "b n h w c"]:
    def copies(image: Float[Array, "h w c"], some: Float[Array, "n 2 3"]) -> Float[Array, "n h w c"]:
        return jax.vmap(lambda matrix: affine_warp(image, matrix, padding=padding))(some)

    return jax.vmap(copies)(images, matrices)
