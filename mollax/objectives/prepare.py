"""What a network is shown in training: 8-bit images augmented, mixed, standardised and mollified on the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Integer, PRNGKeyArray, UInt8

from mollax import augment as augmentation
from mollax import keys, mollify
from mollax.image import standardize

Augment = Callable[[PRNGKeyArray, Float[Array, "h w c"]], Float[Array, "h w c"]]
Views = Callable[[PRNGKeyArray, Float[Array, "h w c"]], Float[Array, "v h w c"]]
# (key, images, labels, partners=, first_index=) -> images, labels
Mix = Callable[..., tuple[Float[Array, "n h w c"], Float[Array, "n k"]]]
MIX_GROUP = 8  # images whose partners are among themselves; a device's slice of the batch is a multiple of it


def augmented(
    key: PRNGKeyArray,
    images: UInt8[Array, "n h w c"],
    labels: Int[Array, " n"],
    *,
    classes: int,
    augment: Augment | None = None,
    mix: Mix | None = None,
    repeats: int = 1,
    first_index: int | Integer[Array, ""] = 0,
) -> tuple[Float[Array, "m h w c"], Float[Array, "m k"]]:
    """The first half of `prepare`: 8-bit -> repeated -> [0, 1] -> classic augmentation -> mixed; one-hot labels."""
    augment_key, _, mix_key, _ = jax.random.split(key, 4)
    inputs = images.astype(jnp.float32) / 255.0
    targets = jax.nn.one_hot(labels, classes, dtype=jnp.float32)
    inputs, targets = mollify.repeat_examples(inputs, targets, repeats)
    first = jnp.asarray(first_index, jnp.uint32) * jnp.uint32(repeats)
    if augment is not None:
        inputs = jax.vmap(augment)(keys.example_keys(augment_key, first, len(inputs)), inputs)
    if mix is not None:
        others = augmentation.neighbors(mix_key, len(images), group=MIX_GROUP, first_index=first_index)
        partners = (others[:, None] * repeats + jnp.arange(repeats, dtype=jnp.int32)[None]).reshape(-1)
        inputs, targets = mix(mix_key, inputs, targets, partners=partners, first_index=first)
    return inputs, targets


def mollified(
    key: PRNGKeyArray,
    images: Float[Array, "n h w c"],
    labels: Float[Array, "n k"],
    *,
    mollifier: Mapping[str, Any] | None,
    first_index: int | Integer[Array, ""] = 0,
) -> mollify.Mollified:
    """The second half of `prepare`, from standardised images and soft labels; None leaves them as they are."""
    if mollifier is None:
        zeros = jnp.zeros(len(images), jnp.float32)
        return mollify.Mollified(images, labels, zeros, jnp.zeros(len(images), jnp.int32), zeros)
    mollify_key = jax.random.split(key, 4)[1]
    return mollify.mollify_batch(mollify_key, images, labels, first_index=first_index, **mollifier)


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
    inputs, targets = augmented(
        key, images, labels, classes=classes, augment=augment, mix=mix, repeats=repeats, first_index=first_index
    )
    first = jnp.asarray(first_index, jnp.uint32) * jnp.uint32(repeats)

    def finish(version: Float[Array, "n h w c"]) -> mollify.Mollified:
        return mollified(key, standardize(version, mean, std), targets, mollifier=mollifier, first_index=first)

    if views is None:
        return finish(inputs)
    view_key = jax.random.split(key, 4)[3]
    more = jax.vmap(views)(keys.example_keys(view_key, first, len(inputs)), inputs)
    # One version after the other: a vmap would compute the blur of every image.
    made = jax.lax.map(finish, jnp.concatenate([inputs[None], jnp.moveaxis(more, 1, 0)]))
    return mollify.Mollified(*(leaf.reshape(-1, *leaf.shape[2:]) for leaf in made))
