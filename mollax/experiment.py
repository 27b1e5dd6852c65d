"""From a config to the objects of a run: data, model, objective, optimizer. No training happens here."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray
from ml_collections import ConfigDict

from mollax import augment, augmenters, checks, data, durations, evaluators, keys, models, objectives, optim
from mollax.checkpoint import read_variables
from mollax.data import Dataset, Split
from mollax.parallel import AXIS
from mollax.state import TrainState, create_state

POLICIES: dict[str, Callable[..., Any]] = {
    "rand": augment.rand_augment,
    "auto": augment.auto_augment,
    "fast_auto": augment.fast_auto_augment,
    "trivial": augment.trivial_augment,
    "augmix": augment.augmix,
}
MIXES: dict[str, objectives.Mix] = {"mixup": augment.mixup, "cutmix": augment.cutmix}


@dataclass(frozen=True)
class Experiment:
    """All that a config stands for, ready to train and evaluate.

    Attributes:
      dataset: its splits.
      model: the network, with an augmenter where one is learned.
      mean, std: per channel, of the training split in [0, 1].
      objective: for `step.train_step`.
      optimizer, schedule: updates and their learning rate.
      steps: length of the run.
      log_every, eval_every, save_every: in steps.
      learned: what belongs to an augmenter; None without one.
    """

    dataset: Dataset
    model: nn.Module
    mean: Float[Array, " c"]
    std: Float[Array, " c"]
    objective: Callable[..., Any]
    optimizer: optax.GradientTransformation
    schedule: optax.Schedule
    steps: int
    log_every: int
    eval_every: int
    save_every: int
    learned: augmenters.Learned | None = None


def load_data(config: ConfigDict) -> Dataset:
    """Reads the data that `config.data` names and logs what was found."""
    options = config.data.to_dict()
    for name in ("memory", "limit_mib", "workers"):
        options.pop(name)
    reader = options.pop("reader")
    unset = {"path": None, "image_size": None, "channels": None}
    options.update({name: options[name] or none for name, none in unset.items()})
    dataset = data.load(reader, **options)
    for line in data.describe(dataset):
        logging.info("%s", line)
    return dataset


def channel_statistics(
    split: Split, *, images: int = 20_000
) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"]]:
    """Mean and standard deviation of each channel in [0, 1], from (at most) the first `images` evenly spaced images.

    A constant channel gets deviation 1/255, so that standardizing stays finite.
    """
    count = len(split)
    chosen = np.linspace(0, count - 1, min(count, images)).astype(np.int64)
    # Sums of 8-bit values are exact in integers, whatever the number of images.
    total: Any = 0
    squares: Any = 0
    for start in range(0, len(chosen), 1000):
        block = evaluators.stack(split, chosen[start : start + 1000]).astype(np.int64)
        total, squares = total + block.sum((0, 1, 2)), squares + (block**2).sum((0, 1, 2))
    pixels = len(chosen) * int(np.prod(split.images.shape[1:3]))
    mean = total / pixels / 255.0
    variance = squares / pixels / 255.0**2 - mean**2
    return mean, np.maximum(np.sqrt(np.maximum(variance, 0.0)), 1.0 / 255.0)


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


def _check_numbers(config: ConfigDict) -> None:
    """Settings that would otherwise be found out by a failure deep in the step."""
    batch_size = checks.positive_int("train.batch_size", config.train.batch_size)
    checks.positive_int("train.steps_per_dispatch", config.train.steps_per_dispatch)
    checks.in_range("optim.ema", config.optim.ema, 0.0, 1.0, open_high=True)
    parts = jax.device_count() * checks.positive_int("optim.accumulate", config.optim.accumulate)
    if batch_size % parts:
        raise ValueError(
            f"train.batch_size must be a multiple of devices x optim.accumulate, {parts}, so that parts are equal; "
            f"got {batch_size}."
        )


def _whole_groups(interval: int, group: int) -> int:
    """The nearest multiple of the dispatched group, so that all groups are alike and one program runs them."""
    return max(1, round(interval / group)) * group if interval else 0


def create_network(config: ConfigDict, classes: int) -> nn.Module:
    """The classifier of `config.model`, with one more output where the labels have an extra class."""
    extra = config.mollify.enabled and config.mollify.label_form in ("extra", "extra_keep")
    return models.create_model(
        config.model.name,
        classes=classes + extra,
        dtype=config.model.dtype,
        axis_name=AXIS,
        **config.model.options.to_dict(),
    )


def create(config: ConfigDict, dataset: Dataset) -> Experiment:
    """Builds everything but the state.

    Raises:
      ValueError, TypeError: for settings that make no sense; the message names the field.
    """
    _check_numbers(config)
    classes = len(dataset.class_names)
    model = create_network(config, classes)
    mean, std = (jnp.asarray(values, jnp.float32) for values in channel_statistics(dataset.train))
    steps_per_epoch = len(dataset.train) / config.train.batch_size
    to_steps = functools.partial(durations.to_steps, steps_per_epoch=steps_per_epoch)
    steps = to_steps("train.duration", config.train.duration)
    part = functools.partial(to_steps, total=steps)
    learned = augmenters.create_learned(config, model, part)
    common = {
        "classes": classes,
        "mean": mean,
        "std": std,
        "augment": create_augment(config),
        "mollifier": create_mollifier(config),
        "mix": create_mix(config),
        "loss": config.loss.name,
    }
    if learned is None:
        objective = objectives.classification_objective(
            model,
            **common,
            views=create_views(config),
            consistency=config.loss.consistency,
            marginal=config.loss.marginal,
            repeats=config.mollify.repeats,
        )
    else:
        objective = augmenters.create_objective(config, learned, **common)
    create_schedule = functools.partial(_create_schedule, config, steps, part)
    schedule = create_schedule(config.optim.schedule, lr=config.optim.lr)
    chosen = ("name", "weight_decay", "decay_mask", "momentum", "nesterov", "b1", "b2", "clip_norm")
    optimizer = optim.create_optimizer(schedule=schedule, **{name: config.optim[name] for name in chosen})
    return Experiment(
        dataset=dataset,
        model=model if learned is None else learned.model,
        mean=mean,
        std=std,
        objective=objective,
        optimizer=optimizer if learned is None else augmenters.create_optimizer(config, optimizer, create_schedule),
        schedule=schedule,
        steps=steps,
        log_every=_whole_groups(part("log.every", config.log.every), config.train.steps_per_dispatch),
        eval_every=_whole_groups(part("eval.every", config.eval.every), config.train.steps_per_dispatch),
        save_every=_whole_groups(part("checkpoint.every", config.checkpoint.every), config.train.steps_per_dispatch),
        learned=learned,
    )


def _create_schedule(
    config: ConfigDict, steps: int, part: Callable[[str, str], int], name: str, *, lr: float
) -> optax.Schedule:
    """A schedule over the whole run with the warm-up, milestones and factor of `config.optim`."""
    return optim.create_schedule(
        name,
        lr=lr,
        steps=steps,
        warmup=part("optim.warmup", config.optim.warmup),
        milestones=[part("optim.milestones", text) for text in config.optim.milestones] if name == "step" else (),
        factor=config.optim.factor,
    )


def start_classifier(config: ConfigDict, state: TrainState) -> TrainState:
    """The first state with the classifier of `invariance.classifier_from`, where that is set.

    Raises:
      FileNotFoundError: if that run has no checkpoint.
      ValueError: if its network is another, or there is no augmenter.
    """
    source = config.invariance.classifier_from
    if not source:
        return state
    if not config.invariance.augmenter:
        raise ValueError("invariance.classifier_from is for runs with an invariance.augmenter; name one.")
    saved = read_variables(Path(source))
    own_state = {name: value["classifier"] for name, value in state.model_state.items() if "classifier" in value}
    # A run without an augmenter is a classifier and nothing else.
    params = saved["params"].get("classifier", saved["params"])
    model_state = {name: saved[name].get("classifier", saved[name]) for name in saved if name != "params"}
    for what, found, own in (
        ("parameters", params, state.params["classifier"]),
        ("state", model_state, own_state),
    ):
        shapes = [jax.tree.map(jnp.shape, tree) for tree in (found, own)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"The classifier in {source} is another network: its {what} do not fit model.name.")
    merged = {name: {**value, "classifier": model_state[name]} for name, value in state.model_state.items()}
    floats = jax.tree.map(jnp.asarray, {"params": {**state.params, "classifier": params}, "model_state": merged})
    extra = {**state.extra, "ema": jax.tree.map(jnp.array, floats)} if "ema" in state.extra else state.extra
    return state.replace(**floats, extra=extra)


def init_state(config: ConfigDict, experiment: Experiment) -> TrainState:
    """The state at step 0; parameters are random from `config.seed`."""
    example = jnp.zeros((1, *experiment.dataset.image_shape), jnp.float32)
    key, learned = keys.stream_key(config.seed, "init"), experiment.learned
    if learned is None:
        initialize = jax.jit(functools.partial(experiment.model.init, train=False))
        return create_state(initialize(key, example), experiment.optimizer, ema=config.optim.ema > 0)
    start = jax.jit(functools.partial(learned.model.init, method="start"))
    variables = start(key, keys.example_keys(key, 0, 1), example)
    return create_state(variables, experiment.optimizer, ema=config.optim.ema > 0, extra={"invariance": learned.extra})
