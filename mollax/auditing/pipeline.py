"""The whole augmentation that trained a run, as a function that draws one version of an image's pixels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mollax import augmenters, invariance, mollify, preparation
from mollax.drift.augmented import Draw
from mollax.finished_run import FinishedRun
from mollax.image import affine_warp, standardize, unstandardize


def training_draw(run: FinishedRun) -> tuple[Draw, str]:
    """What training did to an image, and the same in words.

    Classic augmentation and policy, then the learned transforms, then the mollifier, each where the run has it. MixUp
    and CutMix are left out, as they need a second image. Points are pixels in [0, 1], flattened.

    Raises:
      ValueError: if the run trained without augmentation.
    """
    height, width, channels = run.results["data"]["image_shape"]
    augment, mollifier = preparation.create_augment(run.config), preparation.create_mollifier(run.config)
    learned, degrading = learns_transforms(run), _roles(mollifier)
    parts = [
        *(["flips, crops, rotations and policy as configured"] if augment else []),
        *([f"learned transforms ({run.config.invariance.augmenter})"] if learned else []),
        *([f"the mollifier's {' and '.join(degrading)}"] if degrading else []),
    ]
    if not parts:
        raise ValueError('The run trained without augmentation, so --kernel="run" has none; use --kernel=gaussian.')

    def draw(key: PRNGKeyArray, points: Float[Array, "n d"]) -> Float[Array, "n d"]:
        # One image at a time, as `Augmented` gives them.
        return jax.vmap(_one)(jax.random.split(key, len(points)), points)

    def _one(key: PRNGKeyArray, point: Float[Array, " d"]) -> Float[Array, " d"]:
        classic, flow, degrade = jax.random.split(key, 3)
        image = point.reshape(height, width, channels)
        if augment is not None:
            image = augment(classic, image)
        if learned:
            image = _moved(run, flow, image)
        if mollifier is not None and degrading:
            plain = standardize(image, run.mean, run.std)[None]
            degraded = mollify.mollify_batch(degrade, plain, jnp.ones((1, 1), jnp.float32), **_images_only(mollifier))
            image = unstandardize(degraded.images[0], run.mean, run.std)
        return image.reshape(-1)

    return draw, ", then ".join(parts)


def learns_transforms(run: FinishedRun) -> bool:
    """Whether the run's augmentation was learned from its training images, in whole or in part."""
    return isinstance(run.model, invariance.TransformedClassifier)


def identity(run: FinishedRun) -> str:
    """What tells the run's augmentation from that of others, wherever the run is kept: a hash of its weights and of
    what its config says of augmentation."""
    digest = hashlib.blake2b(digest_size=16)
    for name in ("augment", "mollify", "invariance"):
        digest.update(json.dumps(run.config[name].to_dict(), sort_keys=True).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(run.variables):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def _roles(mollifier: dict[str, Any] | None) -> list[str]:
    """The roles that change an image, in words."""
    roles = () if mollifier is None else mollifier["roles"]
    return [role.replace("_", " ") for role in dict.fromkeys(roles) if role != "none"]


def _images_only(mollifier: dict[str, Any]) -> dict[str, Any]:
    """The mollifier's options without those of labels."""
    names = ("roles", "alpha", "beta", "min_scale", "generator")
    return {name: mollifier[name] for name in names if name in mollifier}


def _moved(run: FinishedRun, key: PRNGKeyArray, image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
    """The image after one draw of the learned transforms."""
    apply: Callable[..., Any] = run.model.apply
    model: Any = run.model
    plain = standardize(image, run.mean, run.std)
    limits = augmenters.last_limits(run.config)
    drawn = apply(run.variables, key[None], plain[None], n=1, limits=limits, method="draw")
    return affine_warp(image, drawn.matrices[0, 0], padding=model.padding)
