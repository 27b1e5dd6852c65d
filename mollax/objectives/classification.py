"""Mollified classification: from 8-bit images to a loss, everything on the device (METHODS section 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from mollax import checks, mollify, ood
from mollax.objectives.consistency import jensen_shannon
from mollax.objectives.prepare import Augment, Mix, Views, prepare

LOSSES = ("cross_entropy", "normalized", "logit_norm")
PyTree = Any


def negative_log_likelihood(loss: str) -> Callable[[Array, Array], Array]:
    """-log p of soft labels by name, from logits and labels: "cross_entropy" (eq 14), "normalized" (appendix C) or
    "logit_norm" (cross-entropy of logits of one length, temperature .04; `mollax.ood.logit_norm`).

    Raises:
      ValueError: for another name.
    """
    checks.one_of("loss.name", loss, LOSSES)
    if loss == "logit_norm":
        return lambda logits, labels: mollify.soft_cross_entropy(ood.logit_norm(logits), labels)
    return mollify.normalized_cross_entropy if loss == "normalized" else mollify.soft_cross_entropy


def classification_objective(
    model: nn.Module,
    *,
    classes: int,
    mean: Float[Array, " c"],
    std: Float[Array, " c"],
    augment: Augment | None = None,
    mollifier: Mapping[str, Any] | None = None,
    mix: Mix | None = None,
    views: Views | None = None,
    consistency: float = 0.0,
    loss: str = "cross_entropy",
    marginal: str = "jensen",
    repeats: int = 1,
) -> Callable[..., tuple[Array, tuple[dict[str, Array], PyTree, PyTree]]]:
    """The objective of a mollified (or plain) classifier, for `step.train_step`.

    The loss is the mean over images of -log p, where p is the likelihood of the soft label: "cross_entropy" (eq 14) or
    "normalized" (appendix C). With `repeats` > 1 the draws of an image are joined by `mollify.log_marginal`. With
    `views`, `consistency` times the Jensen-Shannon divergence of an image's predictions is added (AugMix); batch norm
    sees all versions together, the likelihood is that of the first. `augment` to `views` are those of `prepare`.

    Returns:
      (params, model_state, extra, batch, key, first_index) -> (loss, (metrics, model_state, extra)); the metrics are
      the loss and the accuracy against the most likely label, with `views` the consistency too.

    Raises:
      ValueError: for an unknown loss or marginal, a marginal that the repeats cannot give, a consistency without views
        or a negative one, or views of repeated or mixed images.
    """
    negative_log = negative_log_likelihood(loss)
    checks.one_of("loss.marginal", marginal, ("jensen", "naive", "corrected"))
    checks.positive_int("mollify.repeats", repeats)
    if marginal == "corrected" and repeats < 2:
        raise ValueError('loss.marginal "corrected" needs mollify.repeats of at least 2; got 1.')
    checks.in_range("loss.consistency", consistency, 0.0)
    if (views is None) != (consistency == 0.0):
        raise ValueError("A consistency loss needs views of each image, and views need a loss.consistency above 0.")
    if views is not None and (repeats != 1 or mix is not None):
        raise ValueError("loss.consistency compares versions of one image: no mollify.repeats, no augment.mix.")

    def objective(
        params: PyTree,
        model_state: PyTree,
        extra: PyTree,
        batch: dict[str, Array],
        key: PRNGKeyArray,
        first_index: int | Integer[Array, ""],
    ) -> tuple[Array, tuple[dict[str, Array], PyTree, PyTree]]:
        data_key, dropout_key = jax.random.split(key)
        examples = prepare(
            data_key,
            batch["image"],
            batch["label"],
            classes=classes,
            mean=mean,
            std=std,
            augment=augment,
            mollifier=mollifier,
            mix=mix,
            views=views,
            repeats=repeats,
            first_index=first_index,
        )
        logits, new_state = model.apply(
            {"params": params, **model_state},
            examples.images,
            train=True,
            mutable=list(model_state),
            # Dropout masks are drawn for the slice as a whole, so their key must differ between slices.
            rngs={"dropout": jax.random.fold_in(dropout_key, first_index)},
        )
        first = slice(len(batch["label"]) * repeats)
        log_probs = -negative_log(logits[first], examples.labels[first])
        value = -jnp.mean(mollify.log_marginal(log_probs.reshape(-1, repeats), method=marginal))
        hits = jnp.argmax(logits[first, :classes], -1) == jnp.repeat(batch["label"], repeats)
        metrics = {"accuracy": jnp.mean(hits.astype(jnp.float32))}
        if views is not None:
            versions = logits.reshape(-1, len(batch["label"]), logits.shape[-1])
            metrics["consistency"] = jnp.mean(jensen_shannon(versions))
            value += consistency * metrics["consistency"]
        metrics["loss"] = value
        return value, (metrics, new_state, extra)

    return objective
