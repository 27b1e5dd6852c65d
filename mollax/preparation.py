"""From a config to what images go through in training: classic augmentation, policies, mixing, the mollifier."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jaxtyping import Array, Float, PRNGKeyArray
from ml_collections import ConfigDict

from mollax import augment, checks, objectives

POLICIES: dict[str, Callable[..., Any]] = {
    "rand": augment.rand_augment,
    "auto": augment.auto_augment,
    "fast_auto": augment.fast_auto_augment,
    "trivial": augment.trivial_augment,
    "augmix": augment.augmix,
}
MIXES: dict[str, objectives.Mix] = {"mixup": augment.mixup, "cutmix": augment.cutmix}


def create_augment(config: ConfigDict) -> objectives.Augment | None:
    """Flips, pad-crops and rotations of `config.augment`, then its policy, or None if all are off.

    With `config.loss.consistency` the policy is left to `create_views`: the first version of an image is without it.

    Raises:
      ValueError: for an unknown policy, or an option that it does not have.
    """
    settings = config.augment
    steps: list[objectives.Augment] = []
    if settings.flip or settings.pad != 0 or settings.degrees != 0:
        classic = functools.partial(
            augment.flip_crop_rotate,
            flip=settings.flip,
            pad=None if settings.pad == -1 else settings.pad,
            degrees=settings.degrees,
            interpolation=settings.interpolation,
            padding=settings.padding,
        )
        steps.append(classic)
    policy = _create_policy(config, POLICIES)
    if policy is not None and not config.loss.consistency:
        steps.append(policy)
    if len(steps) < 2:
        return steps[0] if steps else None

    def in_turn(key: PRNGKeyArray, image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        first, second = jax.random.split(key)
        return steps[1](second, steps[0](first, image))

    return in_turn


def _create_policy(config: ConfigDict, known: Mapping[str, Callable[..., Any]]) -> Callable[..., Any] | None:
    """The function of `augment.policy` with its options, or None."""
    settings = config.augment
    options = settings.policy_options.to_dict()
    if not settings.policy:
        if options:
            raise ValueError(f"augment.policy_options has {sorted(options)}, but augment.policy is empty; name one.")
        return None
    policy = known[checks.one_of("augment.policy", settings.policy, known)]
    names = list(inspect.signature(policy).parameters)[2:]  # after key and image
    for option in options:
        checks.one_of(f"option of {settings.policy}", option, names)
    return functools.partial(policy, **options)


def create_views(config: ConfigDict) -> Callable[..., Any] | None:
    """The two further versions of each image that AugMix's consistency loss compares, or None if it is off.

    Raises:
      ValueError: if the policy is not "augmix".
    """
    if not config.loss.consistency:
        return None
    if config.augment.policy != "augmix":
        raise ValueError(
            f'loss.consistency is {config.loss.consistency}, which needs augment.policy "augmix"; got '
            f'"{config.augment.policy}".'
        )
    return _create_policy(config, {"augmix": augment.augmix_pair})


def create_mix(config: ConfigDict) -> objectives.Mix | None:
    """MixUp or CutMix as `config.augment` says, or None.

    Raises:
      ValueError: for an unknown one, or parts of the batch that are not a multiple of the images mixed together.
    """
    settings = config.augment
    if not settings.mix:
        return None
    mix = MIXES[checks.one_of("augment.mix", settings.mix, MIXES)]
    checks.in_range("augment.mix_alpha", settings.mix_alpha, 0.0, open_low=True)
    parts, group = jax.device_count() * config.optim.accumulate, objectives.MIX_GROUP
    if config.train.batch_size % (parts * group):
        raise ValueError(
            f"augment.mix pairs images in groups of {group} on each device: train.batch_size must be a multiple of "
            f"{group} x devices x optim.accumulate, {parts * group}; got {config.train.batch_size}."
        )
    return functools.partial(mix, alpha=settings.mix_alpha, per_image=settings.mix_per_image)


def create_mollifier(config: ConfigDict) -> dict[str, Any] | None:
    """Keyword arguments of `mollify.mollify_batch` (but for repeats, which come first), or None if it is off."""
    settings = config.mollify.to_dict()
    repeats = settings.pop("repeats")
    if not settings.pop("enabled"):
        if repeats != 1:
            raise ValueError(f"mollify.repeats is {repeats}, but mollify.enabled is False; set it to 1.")
        return None
    return settings
