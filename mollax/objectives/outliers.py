"""Learning to tell outliers from what is known: labelled images and outliers in one batch (METHODS section 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from mollax import augment as augmentation
from mollax import checks, keys, ood
from mollax.image import standardize
from mollax.objectives.classification import negative_log_likelihood
from mollax.objectives.prepare import Augment, Mix, augmented, mollified

PyTree = Any
MODES = ("joint", "head")
BATCH_NORMS = ("together", "id")
MADE = ("block_shuffle", "augmix", "cutmix")  # sources that come from the labelled images of the batch
SOURCES = (*MADE, "auxiliary", "gan")
GENERATED = ("features", "pixels")


class Seen(NamedTuple):
    """What both networks say about a slice of a batch.

    Attributes:
      logits_id, logits_ood: (n, k) and (m, k) of the classifier.
      critic_id, critic_ood: (n, k + 1) and (m, k + 1), free outputs; None without a critic.
      labels: (n, k), rows sum to 1.
      cross_entropy: mean over the labelled images.
    """

    logits_id: Float[Array, "n k"]
    logits_ood: Float[Array, "m k"]
    critic_id: Float[Array, "n c"] | None
    critic_ood: Float[Array, "m c"] | None
    labels: Float[Array, "n k"]
    cross_entropy: Float[Array, ""]


# (what is seen, extra["ood"]) -> penalty, metrics, new extra["ood"]
Penalty = Callable[[Seen, PyTree], tuple[Array, dict[str, Array], PyTree]]
# (key of the step, one key an outlier, extra["gan"]) -> features or images in [0, 1]
Generate = Callable[[PRNGKeyArray, Array, PyTree], Array]


def share_out(count: int, weights: Mapping[str, float]) -> dict[str, int]:
    """`count` outliers among sources in proportion to their weights: largest remainders, ties to the first.

    Raises:
      ValueError: for an unknown source, a negative weight, none above 0, or a source too light to get an outlier.
    """
    checks.positive_int("count", count)
    for name, weight in weights.items():
        checks.one_of("source of outliers", name, SOURCES)
        checks.in_range(f"weight of {name}", weight, 0.0)
    used = {name: weight for name, weight in weights.items() if weight > 0}
    if not used:
        raise ValueError(f"At least one of the sources {', '.join(SOURCES)} needs a weight above 0.")
    exact = {name: count * weight / sum(used.values()) for name, weight in used.items()}
    shares = {name: int(value) for name, value in exact.items()}
    for name in sorted(used, key=lambda name: shares[name] - exact[name])[: count - sum(shares.values())]:
        shares[name] += 1
    if empty := [name for name, share in shares.items() if share == 0]:
        raise ValueError(
            f"{count} outliers in a slice of the batch are too few for {', '.join(empty)}: make its weight, "
            "ood.ratio or the batch larger."
        )
    return shares


def make_outliers(
    key: PRNGKeyArray,
    images: Float[Array, "n h w c"],
    counts: Mapping[str, int],
    *,
    auxiliary: Float[Array, "m h w c"] | None,
    generated: Float[Array, "g h w c"] | None = None,
    grid: int = 4,
    first_index: int | Integer[Array, ""] = 0,
) -> Float[Array, "o h w c"]:
    """Outliers of every source, one source after the other; random per (key, source, first_index + position).

    Args:
      key: what makes the draws random.
      images: labelled images in [0, 1]; source images are taken from the start, again and again where there are more
        outliers than images.
      counts: outliers of each source; `auxiliary` and `generated` have those of "auxiliary" and "gan". May be empty.
      auxiliary: images of another set in [0, 1].
      generated: a GAN's, in [0, 1].
      grid: blocks a side.
      first_index: index of the slice's first image in the whole batch.

    Raises:
      ValueError: for auxiliary or generated images that are missing or not as many as counted.
    """
    brought = {"auxiliary": ("auxiliary", auxiliary), "gan": ("generated", generated)}
    made = [images[:0]]
    for number, (name, count) in enumerate(counts.items()):
        if name in brought:
            kind, given = brought[name]
            if given is None or len(given) != count:
                found = "none" if given is None else str(len(given))
                raise ValueError(f"The batch must bring {count} {kind} images; it has {found}.")
            made.append(given)
            continue
        base, block_key = jax.random.split(jax.random.fold_in(key, number))
        chosen = images[jnp.arange(count, dtype=jnp.int32) % len(images)]
        first = _first(first_index, len(images), count)
        if name == "augmix":
            chosen = jax.vmap(augmentation.augmix)(keys.example_keys(base, first, count), chosen)
        elif name == "cutmix":
            chosen = _cutmix(base, chosen, first)
        shuffle = jax.vmap(lambda key, image: ood.block_shuffle(key, image, grid=grid))
        made.append(shuffle(keys.example_keys(block_key, first, count), chosen))
    return jnp.concatenate(made)


def _first(first_index: int | Integer[Array, ""], slice_size: int, count: int) -> Array:
    """Index of a slice's first outlier among all of the batch, `count` in a slice."""
    return jnp.asarray(first_index, jnp.uint32) // jnp.uint32(slice_size) * jnp.uint32(count)


def _cutmix(key: PRNGKeyArray, images: Float[Array, "n h w c"], first: Array) -> Float[Array, "n h w c"]:
    """Each image with a box of the next one of the slice; labels play no part."""
    partners = jnp.roll(jnp.arange(len(images), dtype=jnp.int32), -1)
    none = jnp.zeros((len(images), 1), images.dtype)
    return augmentation.cutmix(key, images, none, per_image=True, partners=partners, first_index=first)[0]


def _augmented_alike(
    key: PRNGKeyArray,
    images: Float[Array, "m h w c"],
    augment: Augment | None,
    first: Array,
) -> Float[Array, "m h w c"]:
    """Other images in [0, 1], augmented as the labelled ones: a shifted border must not tell them apart."""
    if augment is None:
        return images
    return jax.vmap(augment)(keys.example_keys(key, first, len(images)), images)


def outlier_objective(
    model: nn.Module,
    penalty: Penalty,
    *,
    classes: int,
    mean: Float[Array, " c"],
    std: Float[Array, " c"],
    counts: Mapping[str, int],
    augment: Augment | None = None,
    mollifier: Mapping[str, Any] | None = None,
    mix: Mix | None = None,
    loss: str = "cross_entropy",
    weight: float = 1.0,
    constrained: bool = False,
    mode: str = "joint",
    batch_norm: str = "together",
    grid: int = 4,
    generate: Generate | None = None,
    generated: str = "features",
) -> Callable[..., tuple[Array, tuple[dict[str, Array], PyTree, PyTree]]]:
    """Cross-entropy of labelled images plus `weight` times a penalty that outliers take part in, for `step.train_step`.

    Labelled images are prepared as by `classification_objective`. Outliers come from the same images before they are
    mollified (`make_outliers`), from batch["outlier"], 8-bit, augmented in the same way, or from a GAN in extra["gan"]:
    images, which are augmented too, or features, which go to head and critic as they are.

    Args:
      model: a `CriticClassifier`, or a classifier where the penalty needs no critic.
      penalty: of what both say; carries what it needs from step to step in extra["ood"].
      classes, mean, std, augment, mollifier, mix, loss: as in `classification_objective`.
      counts: outliers of each source in a slice; from `share_out`.
      weight: of the penalty.
      constrained: the penalty holds the cross-entropy itself, as a constraint (WOODS): it is not added again.
      mode: "joint" trains all; with "head" the classifier runs as in evaluation and only the critic has a loss: its
        optimizer must leave the classifier alone.
      batch_norm: what statistics in training are of: labelled images and outliers "together", or of "id" images alone;
        outliers are then normalised by the running averages.
      grid: of the block shuffle.
      generate: draws the outliers of the source "gan"; None without it.
      generated: what it draws, "features" or "pixels".

    Returns:
      As `classification_objective`; further metrics are "cross_entropy", "penalty" and the penalty's own.

    Raises:
      ValueError: for an unknown mode, batch norm, loss or kind of generated outliers, a mode without a critic to train,
        or the source "gan" without `generate`.
    """
    checks.one_of("ood.mode", mode, MODES)
    checks.one_of("ood.batch_norm", batch_norm, BATCH_NORMS)
    checks.one_of("ood.gan.on", generated, GENERATED)
    if "gan" in counts and generate is None:
        raise ValueError('The source "gan" needs what generates its outliers.')
    as_features = "gan" in counts and generated == "features"
    as_images = {name: count for name, count in counts.items() if not (as_features and name == "gan")}
    critic = isinstance(model, ood.CriticClassifier)
    if mode == "head" and not critic:
        raise ValueError('ood.mode "head" trains a critic alone, but this method has none; use "joint".')
    if "cutmix" in counts and counts["cutmix"] < 2:
        raise ValueError("CutMix needs at least two outliers in a slice of the batch.")
    negative_log = negative_log_likelihood(loss)
    apply: Callable[..., Any] = model.apply

    def objective(
        params: PyTree,
        model_state: PyTree,
        extra: PyTree,
        batch: dict[str, Array],
        key: PRNGKeyArray,
        first_index: int | Integer[Array, ""],
    ) -> tuple[Array, tuple[dict[str, Array], PyTree, PyTree]]:
        data_key, dropout_key, outlier_key, other_key = jax.random.split(key, 4)
        images, labels = augmented(
            data_key,
            batch["image"],
            batch["label"],
            classes=classes,
            augment=augment,
            mix=mix,
            first_index=first_index,
        )
        auxiliary = made = None
        if "outlier" in batch:
            first = _first(first_index, len(images), len(batch["outlier"]))
            auxiliary = _augmented_alike(other_key, batch["outlier"].astype(jnp.float32) / 255.0, augment, first)
        if generate is not None:
            step_key, draw_key, augment_key = jax.random.split(jax.random.fold_in(outlier_key, len(counts)), 3)
            first = _first(first_index, len(images), counts["gan"])
            made = generate(step_key, keys.example_keys(draw_key, first, counts["gan"]), extra["gan"])
            if not as_features:
                made = _augmented_alike(augment_key, made, augment, first)
        outliers = make_outliers(
            outlier_key,
            images,
            as_images,
            auxiliary=auxiliary,
            generated=None if as_features else made,
            grid=grid,
            first_index=first_index,
        )
        examples = mollified(
            data_key, standardize(images, mean, std), labels, mollifier=mollifier, first_index=first_index
        )
        variables = {"params": params, **model_state}
        # Dropout masks are drawn for the slice as a whole, so their key must differ between slices.
        rngs = {"dropout": jax.random.fold_in(dropout_key, first_index)}

        def features(shown: Array, *, train: bool) -> tuple[Array, PyTree]:
            return apply(variables, shown, train=train, mutable=list(model_state), rngs=rngs, method="features")

        count, strange = len(examples.images), standardize(outliers, mean, std)
        if batch_norm == "together":
            found, new_state = features(jnp.concatenate([examples.images, strange]), train=mode == "joint")
        else:
            found, new_state = features(examples.images, train=mode == "joint")
            if as_images:
                found = jnp.concatenate([found, features(strange, train=False)[0]])
        if as_features:
            assert made is not None  # there is what generates them
            found = jnp.concatenate([found, made])
        logits = apply(variables, found, method="head")
        judged = apply(variables, found, method="judge") if critic else None
        cross_entropy = jnp.mean(negative_log(logits[:count], examples.labels))
        seen = Seen(
            logits[:count],
            logits[count:],
            None if judged is None else judged[:count],
            None if judged is None else judged[count:],
            examples.labels,
            cross_entropy,
        )
        value, more, carried = penalty(seen, extra["ood"])
        alone = mode == "head" or constrained
        total = weight * value + (0.0 if alone else cross_entropy)
        hits = jnp.argmax(logits[:count], -1) == batch["label"]
        metrics = {
            "loss": total,
            "accuracy": jnp.mean(hits.astype(jnp.float32)),
            "cross_entropy": cross_entropy,
            "penalty": value,
            **more,
        }
        return total, (metrics, new_state, {**extra, "ood": carried})

    return objective
