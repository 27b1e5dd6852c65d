"""A classifier and an augmenter under one roof: one tree of variables, one contract with evaluators and OOD scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray, Shaped

from mollax import checks
from mollax.image import affine_warp, standardize, unstandardize
from mollax.invariance.align import Aligned, align
from mollax.invariance.average import average_predictions, choose_small
from mollax.invariance.draws import Draws, Limit
from mollax.invariance.transforms import DEFAULT_LIMITS

PyTree = Any
CANDIDATES = 32
"""Transforms drawn for each that is classified, where large ones are rejected: a new flow in 6-d keeps 2 % of them."""


class TransformedClassifier(nn.Module):
    """p(C|I) = E_{T ~ g(T; I)} f(C; A_T(I)) (eq 7) from a classifier f and an augmenter g.

    Parameters are under "classifier" and "augmenter". Called as a network, it is the classifier alone on the images as
    they are, with its features, maps and head; the function `predict` averages over transforms.

    Attributes:
      classifier: a network of `mollax.models`.
      augmenter: see `Draws`.
      padding: what a warp reads outside of the image; see `mollax.image.affine_warp`.
    """

    classifier: nn.Module
    augmenter: nn.Module
    padding: str = "zeros"

    def __call__(self, images: Shaped[Array, "*image"], *, train: bool) -> Float[Array, "n k"]:
        """Logits of standardised images (n, h, w, c) as they are."""
        return self.classifier(images, train=train)

    def features(self, images: Shaped[Array, "*image"], *, train: bool) -> Float[Array, "n d"]:
        """Penultimate features of the classifier."""
        return self.classifier.features(images, train=train)

    def feature_maps(self, images: Shaped[Array, "*image"], *, train: bool) -> Float[Array, "n h w d"]:
        """Maps before pooling of the classifier."""
        return self.classifier.feature_maps(images, train=train)

    def similarities(self, images: Shaped[Array, "*image"], *, train: bool) -> Float[Array, "n k"]:
        """Similarities of the classifier's head where it is decomposed, else its logits."""
        return self.classifier.similarities(images, train=train)

    def head(self, features: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """Logits of features."""
        return self.classifier.head(features)

    def draw(
        self,
        keys: Key[Array, " b"],
        images: Float[Array, "b h w c"],
        *,
        n: int,
        limits: tuple[Limit, Limit] = DEFAULT_LIMITS,
    ) -> Draws:
        """n transforms of each standardised image, by its key."""
        return self.augmenter(keys, images, n=n, limits=limits)

    def start(self, keys: Key[Array, " b"], images: Float[Array, "b h w c"]) -> None:
        """Touches both parts, so that `init` makes the variables of both."""
        self.classifier(images, train=False)
        self.augmenter(keys, images, n=2, limits=DEFAULT_LIMITS)


def predict(
    keys: Key[Array, " b"],
    images: Float[Array, "b h w c"],
    *,
    model: TransformedClassifier,
    variables: PyTree,
    mean: Float[Array, " c"],
    std: Float[Array, " c"],
    n: int,
    limits: tuple[Limit, Limit] = DEFAULT_LIMITS,
    average: str = "probs",
    radius: float = 0.0,
) -> Float[Array, "b k"]:
    """log p(C|I), averaged over n transforms of each standardised image (eq 7; random: by the image's key).

    The draws are classified one after the other, so that n costs time but no memory.

    Args:
      keys: one an image.
      images: standardised by mean and std; they are warped in [0, 1], where black is 0.
      model, variables: as trained.
      mean, std: per channel.
      n: draws.
      limits: of crops.
      average: of "probs" (eq 7), "logits" or "log_probs"; see `average_predictions`.
      radius: above 0, transforms whose parameters have a larger norm are rejected before they are classified, and the
        image as it is counts as one more (A.3.12: fewer draws are enough). `CANDIDATES` n are drawn; an image of which
        fewer than n are small enough has fewer. Not for crops, whose 0 is not the image.

    Raises:
      ValueError: for an unknown average, fewer draws than one, a negative radius, or a radius of crops.
    """
    checks.positive_int("n", n)
    checks.in_range("radius", radius, 0.0)
    augmenter: Any = model.augmenter
    if radius and augmenter.kind == "crop":
        raise ValueError("A radius is for transforms around the identity; the 0 of crops is none. Leave it at 0.")
    apply: Callable[..., Any] = model.apply
    draws = apply(variables, keys, images, n=n * CANDIDATES if radius else n, limits=limits, method="draw")
    matrices = draws.matrices
    if radius:
        places, keep = choose_small(draws.params, radius=radius, n=n)
        matrices = jnp.take_along_axis(matrices, places[..., None, None], axis=1)

    def classify(matrices: Float[Array, "b 2 3"]) -> Float[Array, "b k"]:
        warped = warp_standardized(images, matrices, mean=mean, std=std, padding=model.padding)
        return apply(variables, warped, train=False)

    logits = jnp.moveaxis(jax.lax.map(classify, jnp.moveaxis(matrices, 1, 0)), 0, 1)
    if not radius:
        return average_predictions(logits, average=average)
    logits = jnp.concatenate([logits, apply(variables, images, train=False)[:, None]], 1)
    keep = jnp.pad(keep, ((0, 0), (0, 1)), constant_values=True)  # the image itself
    return average_predictions(logits, average=average, keep=keep)


def align_batch(
    keys: Key[Array, " b"],
    images: Float[Array, "b h w c"],
    *,
    model: TransformedClassifier,
    variables: PyTree,
    mean: Float[Array, " c"],
    std: Float[Array, " c"],
    n: int,
    steps: int,
    step_size: float,
) -> Aligned:
    """`align` of each image in [0, 1] by the model's own augmenter, n draws a step (random: by the image's key).

    Raises:
      ValueError: as `align`.
    """
    apply: Callable[..., Any] = model.apply
    augmenter: Any = model.augmenter

    def draw(key: PRNGKeyArray, image: Float[Array, "h w c"]) -> Float[Array, "n d"]:
        plain = standardize(image, mean, std)
        return apply(variables, key[None], plain[None], n=n, method="draw").params[0]

    def one(key: PRNGKeyArray, image: Float[Array, "h w c"]) -> Aligned:
        return align(
            key,
            image,
            draw,
            kind=augmenter.kind,
            steps=steps,
            step_size=step_size,
            entry_range=augmenter.entry_range,
            padding=model.padding,
        )

    return jax.vmap(one)(keys, images)


def warp_standardized(
    images: Float[Array, "b h w c"],
    matrices: Float[Array, "b 2 3"],
    *,
    mean: Float[Array, " c"],
    std: Float[Array, " c"],
    padding: str = "zeros",
) -> Float[Array, "b h w c"]:
    """Standardised images warped as in [0, 1], where the outside is black, and standardised again."""
    plain = unstandardize(images, mean, std)
    warped = jax.vmap(lambda image, matrix: affine_warp(image, matrix, padding=padding))(plain, matrices)
    return standardize(warped, mean, std)
