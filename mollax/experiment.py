"""From a config to the objects of a run: data, model, objective, optimizer. No training happens here."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from mollax import (
    augmenters,
    checks,
    data,
    detectors,
    durations,
    evaluators,
    keys,
    models,
    objectives,
    ood,
    optim,
    preparation,
)
from mollax.checkpoint import read_variables
from mollax.data import Dataset, Split, pipeline
from mollax.parallel import AXIS
from mollax.state import TrainState, create_state

PyTree = Any
HEADS = ("linear", *ood.SIMILARITIES)


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
      detector: what learns from outliers; None where nothing does.
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
    detector: detectors.Detector | None = None


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
    """The classifier of `config.model`, with one more output where the labels have an extra class.

    Raises:
      ValueError: for settings that make no sense, or a decomposed head with `ood.method`.
    """
    classes += config.mollify.enabled and config.mollify.label_form in ("extra", "extra_keep")
    head = checks.one_of("model.head", config.model.head, HEADS)
    if head != "linear" and config.ood.method:
        raise ValueError(f'ood.method goes with model.head "linear" alone; got {head!r}. It learns without outliers.')
    return models.create_model(
        config.model.name,
        classes=classes,
        dtype=config.model.dtype,
        axis_name=AXIS,
        confidence=None if head == "linear" else ood.DecomposedConfidence(classes, kind=head, axis_name=AXIS),
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
    detector = detectors.create_detector(config, model, dataset)
    if detector is not None:
        for note in detector.notes:
            logging.info("note: outliers: %s", note)
        notes = (*dataset.notes, *(f"outliers: {note}" for note in detector.notes))
        dataset = dataclasses.replace(dataset, train=detector.labelled or dataset.train, notes=notes)
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
        "augment": preparation.create_augment(config),
        "mollifier": preparation.create_mollifier(config),
        "mix": preparation.create_mix(config),
        "loss": config.loss.name,
    }
    if learned is not None:
        objective = augmenters.create_objective(config, learned, **common)
    elif detector is not None:
        objective = detectors.create_objective(config, detector, **common)
    else:
        objective = objectives.classification_objective(
            model,
            **common,
            views=preparation.create_views(config),
            consistency=config.loss.consistency,
            marginal=config.loss.marginal,
            repeats=config.mollify.repeats,
        )
    create_schedule = functools.partial(_create_schedule, config, steps, part)
    schedule = create_schedule(config.optim.schedule, lr=config.optim.lr)
    chosen = ("name", "weight_decay", "decay_mask", "momentum", "nesterov", "b1", "b2", "clip_norm")
    decays = None if config.model.head == "linear" else ood.decay_mask
    optimizer = optim.create_optimizer(
        schedule=schedule, decays=decays, **{name: config.optim[name] for name in chosen}
    )
    if learned is not None:
        model = learned.model
        optimizer = augmenters.create_optimizer(config, optimizer, create_schedule, warmup=learned.plan.steps)
    elif detector is not None:
        model, optimizer = detector.model, detectors.create_optimizer(config, optimizer)
    return Experiment(
        dataset=dataset,
        model=model,
        mean=mean,
        std=std,
        objective=objective,
        optimizer=optimizer,
        schedule=schedule,
        steps=steps,
        log_every=_whole_groups(part("log.every", config.log.every), config.train.steps_per_dispatch),
        eval_every=_whole_groups(part("eval.every", config.eval.every), config.train.steps_per_dispatch),
        save_every=_whole_groups(part("checkpoint.every", config.checkpoint.every), config.train.steps_per_dispatch),
        learned=learned,
        detector=detector,
    )


def create_batches(config: ConfigDict, experiment: Experiment) -> pipeline.Batches:
    """The training images in batches, with auxiliary outliers beside them where a detector learns from those."""
    where = {name: config.data[name] for name in ("memory", "limit_mib", "workers")}
    images = pipeline.create_batches(
        experiment.dataset.train, batch_size=config.train.batch_size, seed=config.seed, **where
    )
    detector = experiment.detector
    if detector is None or detector.auxiliary is None:
        return images
    size = detectors.outlier_batch_size(config, detector)
    outliers = pipeline.create_batches(detector.auxiliary, batch_size=size, seed=config.seed, **where)
    return pipeline.PairedBatches(images, outliers)


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
    """The first state with the classifier of the run `init_from`, where that is set; runs with more than one too.

    Raises:
      FileNotFoundError: if that run has no checkpoint.
      ValueError: if its network is another.
    """
    source = config.init_from
    if not source:
        if config.invariance.augmenter and config.invariance.freeze_classifier and not config.model.weights:
            logging.warning(
                "invariance.freeze_classifier keeps a classifier that has learned nothing: give the run that trained "
                "one as init_from."
            )
        return state
    found = _classifier_of(read_variables(Path(source)))
    own = _classifier_of({"params": state.params, **state.model_state})
    for what, names in (("parameters", ("params",)), ("state", sorted({*found, *own} - {"params"}))):
        shapes = [{name: jax.tree.map(jnp.shape, tree.get(name)) for name in names} for tree in (found, own)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"The classifier in {source} is another network: its {what} do not fit model.name.")
    return _with_classifier(state, found)


def _with_classifier(state: TrainState, variables: PyTree) -> TrainState:
    """The state with these variables of the classifier, in the moving average too; its optimizer starts afresh."""
    floats = jax.tree.map(jnp.asarray, variables)
    params, model_state = state.params, state.model_state
    if "classifier" in params:
        params = {**params, "classifier": floats.pop("params")}
        model_state = model_state | {name: {**model_state[name], "classifier": tree} for name, tree in floats.items()}
    else:
        params, model_state = floats.pop("params"), floats
    average = jax.tree.map(jnp.array, {"params": params, "model_state": model_state})
    extra = {**state.extra, "ema": average} if "ema" in state.extra else state.extra
    return state.replace(params=params, model_state=model_state, extra=extra)


def load_weights(config: ConfigDict, experiment: Experiment, state: TrainState) -> TrainState:
    """The first state with the file `model.weights`, where that is set, and a line of log on where a ViT starts.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if `init_from` is set too, the network takes no weights, or they do not fit.
    """
    path = config.model.weights
    if path and config.init_from:
        raise ValueError("model.weights and init_from both say what the classifier starts from; set one of them.")
    if not path:
        if config.model.name.startswith("vit") and not config.init_from:
            logging.info("%s starts at random: model.weights is empty.", config.model.name)
        return state
    own = _classifier_of({"params": state.params, **state.model_state})
    params, notes = models.load_vit(
        path,
        own["params"],
        mean=np.asarray(experiment.mean),
        std=np.asarray(experiment.std),
        statistics=config.model.weights_statistics,
    )
    logging.info("%s starts from %s: %s.", config.model.name, path, "; ".join(notes))
    return _with_classifier(state, {**own, "params": params})


def _classifier_of(variables: PyTree) -> PyTree:
    """The classifier's variables: all, or those under "classifier" where something else is learned beside it."""
    if "classifier" not in variables["params"]:
        return variables
    return {name: tree["classifier"] for name, tree in variables.items() if "classifier" in tree}


def init_state(config: ConfigDict, experiment: Experiment) -> TrainState:
    """The state at step 0; parameters are random from `config.seed`."""
    example = jnp.zeros((1, *experiment.dataset.image_shape), jnp.float32)
    key, model = keys.stream_key(config.seed, "init"), experiment.model
    extra: dict[str, PyTree] = {}
    if experiment.learned is not None:
        extra = {"invariance": experiment.learned.extra}
        variables = jax.jit(functools.partial(model.init, method="start"))(key, keys.example_keys(key, 0, 1), example)
    elif isinstance(model, ood.CriticClassifier):
        variables = jax.jit(functools.partial(model.init, method="start"))(key, example)
    else:
        variables = jax.jit(functools.partial(model.init, train=False))(key, example)
    if experiment.detector is not None:
        extra = {"ood": experiment.detector.extra}
        if experiment.detector.gan is not None:
            extra["gan"] = experiment.detector.gan.places
    return create_state(variables, experiment.optimizer, ema=config.optim.ema > 0, extra=extra)


def first_state(config: ConfigDict, experiment: Experiment, state: TrainState) -> TrainState:
    """The state that training starts from: `init_state` with the classifier of a file or run, and what is measured.

    Raises:
      FileNotFoundError: if the file `model.weights` is missing, or the run `init_from` has no checkpoint.
      ValueError: if its network is another, or nothing can be learned from what is measured.
    """
    state = start_classifier(config, load_weights(config, experiment, state))
    if experiment.detector is None:
        return state
    return detectors.measure(
        config, experiment.detector, experiment.dataset, state, mean=experiment.mean, std=experiment.std
    )
