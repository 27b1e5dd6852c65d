"""Mollified classification: from 8-bit images to a loss, everything on the device (METHODS section 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Integer, PRNGKeyArray, UInt8

from mollax import augment as augmentation
from mollax import checks, keys, mollify
from mollax.image import standardize
from mollax.objectives.consistency import jensen_shannon

LOSSES = ("cross_entropy", "normalized")
PyTree = Any
Augment = Callable[[PRNGKeyArray, Float[Array, "h w c"]], Float[Array, "h w c"]]
Views = Callable[[PRNGKeyArray, Float[Array, "h w c"]], Float[Array, "v h w c"]]
# (key, images, labels, partners=, first_index=) -> images, labels
Mix = Callable[..., tuple[Float[Array, "n h w c"], Float[Array, "n k"]]]
MIX_GROUP = 8  # images whose partners are among themselves; a device's slice of the batch is a multiple of it


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
    mix: Mix | None = None,
    views: Views | None = None,
    repeats: int = 1,
    first_index: int | Integer[Array, ""] = 0,
) -> mollify.Mollified:
    """What the network sees: 8-bit -> repeated -> [0, 1] -> classic augmentation -> mixed -> standardized -> mollified.

    Random: augmentation, mixing and mollification, per example, from (key, first_index + position).

    Args:
      key: what makes the draws random.
      images, labels: a slice of the batch.
      classes: number of classes K.
      mean, std: per channel, of the training split in [0, 1].
      augment: a function of (key, image), or None.
      mollifier: keyword arguments of `mollify.mollify_batch`, or None for clean images and labels.
      mix: such as `augment.mixup`, or None. Partners are among `MIX_GROUP` neighbours, so that slices need not be
        joined, and have the same number among their image's repeats.
      views: further versions of the augmented image, such as `augment.augmix_pair`. They follow the batch, all first
        versions, then all second ones, each with its image's own role, temperature, noise and label.
      repeats: copies of each example, each augmented and mollified by its own draws.
      first_index: global index of the first example.
    """
    inputs = images.astype(jnp.float32) / 255.0
    targets = jax.nn.one_hot(labels, classes, dtype=jnp.float32)
    inputs, targets = mollify.repeat_examples(inputs, targets, repeats)
    first = jnp.asarray(first_index, jnp.uint32) * jnp.uint32(repeats)
    augment_key, mollify_key, mix_key, view_key = jax.random.split(key, 4)
    count = len(inputs)
    if augment is not None:
        inputs = jax.vmap(augment)(keys.example_keys(augment_key, first, count), inputs)
    if mix is not None:
        others = augmentation.neighbors(mix_key, len(images), group=MIX_GROUP, first_index=first_index)
        partners = (others[:, None] * repeats + jnp.arange(repeats, dtype=jnp.int32)[None]).reshape(-1)
        inputs, targets = mix(mix_key, inputs, targets, partners=partners, first_index=first)
    if views is None:
        return _mollify(mollify_key, standardize(inputs, mean, std), targets, mollifier, first)
    more = jax.vmap(views)(keys.example_keys(view_key, first, count), inputs)
    versions = standardize(jnp.concatenate([inputs[None], jnp.moveaxis(more, 1, 0)]), mean, std)
    # One version after the other: a vmap would compute the blur of every image.
    mollified = jax.lax.map(lambda x: _mollify(mollify_key, x, targets, mollifier, first), versions)
    return mollify.Mollified(*(leaf.reshape(-1, *leaf.shape[2:]) for leaf in mollified))


def _mollify(
    key: PRNGKeyArray,
    inputs: Float[Array, "n h w c"],
    targets: Float[Array, "n k"],
    mollifier: Mapping[str, Any] | None,
    first: Integer[Array, ""],
) -> mollify.Mollified:
    if mollifier is None:
        zeros = jnp.zeros(len(inputs), jnp.float32)
        return mollify.Mollified(inputs, targets, zeros, jnp.zeros(len(inputs), jnp.int32), zeros)
    return mollify.mollify_batch(key, inputs, targets, first_index=first, **mollifier)


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
    checks.one_of("loss.name", loss, LOSSES)
    checks.one_of("loss.marginal", marginal, ("jensen", "naive", "corrected"))
    checks.positive_int("mollify.repeats", repeats)
    if marginal == "corrected" and repeats < 2:
        raise ValueError('loss.marginal "corrected" needs mollify.repeats of at least 2; got 1.')
    checks.in_range("loss.consistency", consistency, 0.0)
    if (views is None) != (consistency == 0.0):
        raise ValueError("A consistency loss needs views of each image, and views need a loss.consistency above 0.")
    if views is not None and (repeats != 1 or mix is not None):
        raise ValueError("loss.consistency compares versions of one image: no mollify.repeats, no augment.mix.")
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
