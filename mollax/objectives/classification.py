"""Mollified classification: from 8-bit images to a loss, everything on the device (METHODS section 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Integer, PRNGKeyArray, UInt8

from mollax import checks, keys, mollify
from mollax.image import standardize

LOSSES = ("cross_entropy", "normalized")
PyTree = Any
Augment = Callable[[PRNGKeyArray, Float[Array, "h w c"]], Float[Array, "h w c"]]


def prepare(
    key: PRNGKeyArray,
    images: UInt8[Array, "n h w c"],
    labels: Int[Array, " n"],
    *,
    classes: int,
    mean: Float[Array, " c"],
    std: Float[Array, " c"],
    augment: Augment | None,
    mollifier: Mapping[str, Any] | None,
    repeats: int = 1,
    first_index: int | Integer[Array, ""] = 0,
) -> mollify.Mollified:
    """What the network sees: 8-bit -> repeated -> [0, 1] -> classic augmentation -> standardized -> mollified.

    Random: augmentation and mollification, per example, from (key, first_index + position).

    Args:
      key: what makes the draws random.
      images, labels: a slice of the batch.
      classes: number of classes K.
      mean, std: per channel, of the training split in [0, 1].
      augment: a function of (key, image), or None.
      mollifier: keyword arguments of `mollify.mollify_batch`, or None for clean images and labels.
      repeats: copies of each example, each augmented and mollified by its own draws.
      first_index: global index of the first example.
    """
    inputs = images.astype(jnp.float32) / 255.0
    targets = jax.nn.one_hot(labels, classes, dtype=jnp.float32)
    inputs, targets = mollify.repeat_examples(inputs, targets, repeats)
    first = jnp.asarray(first_index, jnp.uint32) * jnp.uint32(repeats)
    augment_key, mollify_key = jax.random.split(key)
    if augment is not None:
        inputs = jax.vmap(augment)(keys.example_keys(augment_key, first, len(inputs)), inputs)
    inputs = standardize(inputs, mean, std)
    if mollifier is None:
        zeros = jnp.zeros(len(inputs), jnp.float32)
        return mollify.Mollified(inputs, targets, zeros, jnp.zeros(len(inputs), jnp.int32), zeros)
    return mollify.mollify_batch(mollify_key, inputs, targets, first_index=first, **mollifier)


def classification_objective(
    model: nn.Module,
    *,
    classes: int,
    mean: Float[Array, " c"],
    std: Float[Array, " c"],
    augment: Augment | None = None,
    mollifier: Mapping[str, Any] | None = None,
    loss: str = "cross_entropy",
    marginal: str = "jensen",
    repeats: int = 1,
) -> Callable[..., tuple[Array, tuple[dict[str, Array], PyTree, PyTree]]]:
    """The objective of a mollified (or plain) classifier, for `step.train_step`.

    The loss is the mean over images of -log p, where p is the likelihood of the soft label: "cross_entropy" (eq 14) or
    "normalized" (appendix C). With `repeats` > 1 the draws of an image are joined by `mollify.log_marginal`.

    Returns:
      (params, model_state, extra, batch, key, first_index) -> (loss, (metrics, model_state, extra)); the metrics are
      the loss and the accuracy against the most likely label.

    Raises:
      ValueError: for an unknown loss or marginal, or a marginal that the repeats cannot give.
    """
    checks.one_of("loss.name", loss, LOSSES)
    checks.one_of("loss.marginal", marginal, ("jensen", "naive", "corrected"))
    checks.positive_int("mollify.repeats", repeats)
    if marginal == "corrected" and repeats < 2:
        raise ValueError('loss.marginal "corrected" needs mollify.repeats of at least 2; got 1.')
    negative_log = mollify.normalized_cross_entropy if loss == "normalized" else mollify.soft_cross_entropy

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
        log_probs = -negative_log(logits, examples.labels)
        value = -jnp.mean(mollify.log_marginal(log_probs.reshape(-1, repeats), method=marginal))
        hits = jnp.argmax(logits[:, :classes], -1) == jnp.repeat(batch["label"], repeats)
        metrics = {"loss": value, "accuracy": jnp.mean(hits.astype(jnp.float32))}
        return value, (metrics, new_state, extra)

    return objective
