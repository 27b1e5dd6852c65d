"""From `config.invariance` to what learns transforms in a run: augmenter, controller, optimizer, prediction."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from mollax import checks, invariance, models, objectives, optim
from mollax.image import standardize, unstandardize

PyTree = Any
AUGMENTERS: dict[str, type[nn.Module]] = {
    "uniform": invariance.Uniform,
    "augerino": invariance.Augerino,
    "instaaug": invariance.InstaAug,
    "gaussian": invariance.Gaussian,
    "crop_grid": invariance.CropGrid,
    "flow": invariance.FlowAugmenter,
    "flow_and_grid": invariance.FlowAndGrid,
}
CONTROLLERS: dict[str, type] = {
    "fixed": invariance.Fixed,
    "annealed": invariance.Annealed,
    "pid": invariance.PID,
    "range": invariance.EntropyRange,
}
_NEEDED = {
    "annealed": {"period": '"50 %"'},
    "pid": {"target": "nats"},
    "range": {"minimum": "nats", "maximum": "nats"},
}
POSES = ("cnn", "crop_network")
# Fields that other settings decide.
_WIRED = {"kind", "entry_range", "pose", "flow", "grid", "dimension", "parent", "name", "weight"}


@dataclass(frozen=True)
class Learned:
    """What a run needs beside the classifier.

    Attributes:
      model: both networks.
      extra: what the state carries, for `extra["invariance"]`.
      adapt: for `step.train_step`.
      plan: warm-up and limits.
    """

    model: invariance.TransformedClassifier
    extra: dict[str, Array]
    adapt: Callable[[PyTree, Mapping[str, Array]], PyTree]
    plan: objectives.Warmup


def _options(kind: type, given: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The given options that are fields of a dataclass; unknown ones are refused, naming the nearest."""
    known = [field.name for field in dataclasses.fields(kind) if field.name not in _WIRED]
    for name in given:
        checks.one_of(f"option of {what}", name, known)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def create_pose(config: ConfigDict) -> nn.Module:
    """The network that embeds images for an augmenter: the paper's CNN, or InstaAug's.

    Raises:
      ValueError: for an unknown one.
    """
    settings = config.invariance
    checks.one_of("invariance.pose", settings.pose, POSES)
    options = settings.pose_options.to_dict()
    if settings.pose == "crop_network":
        if options:
            raise ValueError(f"invariance.pose_options are those of the cnn; the crop_network has none. Got {options}.")
        return invariance.CropNetwork()
    if options.get("batch_norm"):
        raise ValueError("invariance.pose_options.batch_norm: the pose network keeps no averages; leave it off.")
    # Its last layer is linear, so that a classifier of 32 "classes" is the pose network of A.3.4.
    return models.create_model("cnn", classes=settings.embedding, **options)


def _create_flow(config: ConfigDict, options: Mapping[str, Any]) -> invariance.FlowAugmenter:
    settings = config.invariance
    own = {"prior_scale"} & set(options)
    rest = {name: value for name, value in options.items() if name not in own}
    flow = invariance.TransformFlow(
        dimension=invariance.dimension(settings.kind), **_options(invariance.TransformFlow, rest, "flow")
    )
    return invariance.FlowAugmenter(
        kind=settings.kind,
        pose=create_pose(config),
        flow=flow,
        entry_range=settings.entry_range,
        **{name: options[name] for name in own},
    )


def create_augmenter(config: ConfigDict) -> nn.Module:
    """The augmenter that `config.invariance` names, with its options.

    Raises:
      ValueError: for an unknown augmenter, kind or option, or options out of range.
    """
    settings = config.invariance
    name = checks.one_of("invariance.augmenter", settings.augmenter, AUGMENTERS)
    checks.one_of("invariance.kind", settings.kind, invariance.KINDS)
    options = settings.options.to_dict()
    if name == "flow":
        return _create_flow(config, options)
    if name == "flow_and_grid":
        grid = options.pop("grid", {})
        entropy_of = options.pop("entropy_of", "grid")
        return invariance.FlowAndGrid(
            flow=_create_flow(config, options),
            grid=invariance.CropGrid(pose=invariance.CropNetwork(), **_options(invariance.CropGrid, grid, "grid")),
            entropy_of=entropy_of,
            kind=settings.kind,
        )
    kind = AUGMENTERS[name]
    made = _options(kind, options, name)
    if name == "crop_grid":
        return invariance.CropGrid(kind=settings.kind, pose=invariance.CropNetwork(), **made)
    if "pose" in {field.name for field in dataclasses.fields(kind)}:
        made["pose"] = create_pose(config)
    return kind(kind=settings.kind, entry_range=settings.entry_range, **made)


def max_entropy(augmenter: nn.Module) -> float:
    """The largest entropy in nats that an augmenter's penalty leads to, however large its weight."""
    match augmenter:
        case invariance.FlowAugmenter():
            prior = _gaussian_entropy(augmenter.kind, augmenter.prior_scale) if augmenter.prior_scale else math.inf
            return min(augmenter.flow.max_entropy(), prior)
        case invariance.InstaAug():
            return invariance.dimension(augmenter.kind) * math.log(2 * augmenter.bound)
        case invariance.Gaussian():
            return _gaussian_entropy(augmenter.kind, augmenter.prior_scale)
        case invariance.Uniform():
            return invariance.dimension(augmenter.kind) * math.log(2 * augmenter.width)
        case invariance.Augerino():
            widest = (1.0 if augmenter.kind == "crop" else augmenter.max_width) / (1 + augmenter.half_width)
            return invariance.dimension(augmenter.kind) * math.log(2 * widest)
        case invariance.CropGrid():
            return math.log(sum(side**2 for side in augmenter.sides))
        case invariance.FlowAndGrid():
            parts = {"flow": max_entropy(augmenter.flow), "grid": max_entropy(augmenter.grid)}
            return parts.get(augmenter.entropy_of, sum(parts.values()) / 2)
    raise TypeError(f"The largest entropy of {type(augmenter).__name__} is not known.")


def _gaussian_entropy(kind: str, scale: float) -> float:
    return invariance.dimension(kind) * math.log(scale * math.sqrt(2 * math.pi * math.e))


def create_controller(config: ConfigDict, augmenter: nn.Module, part: Callable[[str, str], int]) -> Any:
    """The controller of the penalty's weight.

    Args:
      config: of the run.
      augmenter: its augmenter.
      part: as of `create_learned`.

    Raises:
      ValueError: for an unknown one, unknown options, a target that this augmenter cannot reach, or any if it learns
        nothing.
    """
    settings = config.invariance
    name = checks.one_of("invariance.controller", settings.controller, CONTROLLERS)
    options = _options(CONTROLLERS[name], settings.controller_options.to_dict(), f"controller {name}")
    needed = _NEEDED.get(name, {})
    for option, value in needed.items():
        if option not in options:
            raise ValueError(
                f'invariance.controller "{name}" needs invariance.controller_options {{"{option}": {value}}}.'
            )
    if "period" in options:
        options["period"] = part("invariance.controller_options.period", options["period"])
    controller = CONTROLLERS[name](weight=settings.weight, **options)
    if needed and isinstance(augmenter, invariance.Uniform):
        raise ValueError(f'A "uniform" augmenter learns nothing that a controller could steer; {name} must be "fixed".')
    for target in ("target", "minimum"):
        if target in options:
            invariance.require_reachable(options[target], max_entropy(augmenter))
    return controller


def create_learned(config: ConfigDict, classifier: nn.Module, part: Callable[[str, str], int]) -> Learned | None:
    """All of `config.invariance`, or None if it is off.

    Args:
      config: of the run.
      classifier: its network.
      part: (name of a field, duration) -> steps.

    Raises:
      ValueError: for settings that make no sense.
    """
    settings = config.invariance
    if not settings.augmenter:
        return None
    for name in ("mollify.repeats", "loss.consistency"):
        section, field = name.split(".")
        if config[section][field] != (1 if field == "repeats" else 0.0):
            raise ValueError(f"{name} does not go with an invariance.augmenter; copies are invariance.copies.")
    augmenter = create_augmenter(config)
    if bool(settings.late_from) != bool(settings.late_limits):
        raise ValueError("invariance.late_limits are those from invariance.late_from on: give both, or neither.")
    plan = objectives.Warmup(
        steps=part("invariance.warmup", settings.warmup),
        limits=tuple(settings.limits),
        late_limits=tuple(settings.late_limits or settings.limits),
        late_from=part("invariance.late_from", settings.late_from) if settings.late_from else None,
    )
    extra, adapt = objectives.create_controlled(create_controller(config, augmenter, part))
    model = invariance.TransformedClassifier(classifier=classifier, augmenter=augmenter, padding=settings.padding)
    return Learned(model, extra, adapt, plan)


def last_limits(config: ConfigDict) -> tuple[float, float]:
    """Smallest and largest side of crops at the end of a run."""
    settings = config.invariance
    low, high = settings.late_limits or settings.limits
    return low, high


def create_optimizer(
    config: ConfigDict,
    classifier: optax.GradientTransformation,
    schedule: Callable[..., optax.Schedule],
    *,
    warmup: int = 0,
) -> optax.GradientTransformation:
    """The classifier's optimizer (none if it is frozen) and the augmenter's own, each on its part of the parameters.

    Args:
      config: of the run.
      classifier: optimizer of the classifier.
      schedule: makes the augmenter's schedule, of a name and a learning rate.
      warmup: steps in which the augmenter's parameters and its optimizer's moments stay as they are. Fed with zeros
        Adam would take its bias correction for done, and its first steps would be several times too large.
    """
    settings = config.invariance.optim
    rates = schedule(settings.schedule, lr=settings.lr)
    own = optim.create_optimizer(
        settings.name,
        lambda count: rates(count + warmup),
        weight_decay=settings.weight_decay,
        clip_norm=settings.clip_norm,
        momentum=config.optim.momentum,
        nesterov=config.optim.nesterov,
        b1=config.optim.b1,
        b2=config.optim.b2,
    )
    if warmup:
        own = optax.conditionally_mask(own, lambda step: step >= warmup)
    first = optax.set_to_zero() if config.invariance.freeze_classifier else classifier

    def labels(params: PyTree) -> PyTree:
        return {name: jax.tree.map(lambda _, name=name: name, part) for name, part in params.items()}

    return optax.multi_transform({"classifier": first, "augmenter": own}, labels)


def create_predict(
    config: ConfigDict, learned: Learned, *, mean: Float[Array, " c"], std: Float[Array, " c"]
) -> Callable[..., Float[Array, "n k"]]:
    """(variables, keys, standardised images) -> log-probabilities, as `config.invariance.predict` says.

    The classifier sees images as they are where `draws` is 0.

    Raises:
      ValueError: for draws, an average or a radius that make no sense for this augmenter.
    """
    settings = config.invariance.predict
    checks.positive_int("invariance.predict.draws", settings.draws, minimum=0)
    checks.one_of("invariance.predict.average", settings.average, invariance.AVERAGES)
    checks.in_range("invariance.predict.radius", settings.radius, 0.0)
    if settings.radius and config.invariance.kind == "crop":
        raise ValueError("invariance.predict.radius is for transforms around the identity; leave it at 0 for crops.")
    require_even(config, "predict.draws", settings.draws)
    apply: Callable[..., Any] = learned.model.apply
    if not settings.draws:
        return lambda variables, keys, images: apply(variables, images, train=False)
    limits = last_limits(config)

    def predict(variables: PyTree, keys: Array, images: Array) -> Array:
        return invariance.predict(
            keys,
            images,
            model=learned.model,
            variables=variables,
            mean=mean,
            std=std,
            n=settings.draws,
            limits=limits,
            average=settings.average,
            radius=settings.radius,
        )

    return predict


def create_aligned_predict(
    config: ConfigDict, learned: Learned, *, mean: Float[Array, " c"], std: Float[Array, " c"]
) -> Callable[..., Float[Array, "n k"]]:
    """As `create_predict`, of images that mean shift has moved first, as `config.eval.transforms` says."""
    settings = config.eval.transforms
    predict = create_predict(config, learned, mean=mean, std=std)

    def aligned(variables: PyTree, keys: Array, images: Array) -> Array:
        moved = invariance.align_batch(
            jax.vmap(lambda key: jax.random.fold_in(key, 2))(keys),
            jnp.clip(unstandardize(images, mean, std), 0, 1),
            model=learned.model,
            variables=variables,
            mean=mean,
            std=std,
            n=settings.align_draws,
            steps=settings.steps,
            step_size=settings.step_size,
        )
        return predict(variables, keys, standardize(moved.image, mean, std))

    return aligned


def require_even(config: ConfigDict, field: str, count: int) -> None:
    """Raises ValueError if two augmenters cannot make half of the draws each."""
    if config.invariance.augmenter == "flow_and_grid" and count % 2:
        raise ValueError(f"flow_and_grid draws in pairs: invariance.{field} must be even; got {count}.")


def create_objective(config: ConfigDict, learned: Learned, **common: Any) -> Callable[..., Any]:
    """The objective of both networks; `common` are those arguments that plain classification has too."""
    settings = config.invariance
    require_even(config, "copies", settings.copies)
    names = ("copies", "include_original", "average", "freeze_classifier")
    return partial(
        objectives.invariance_objective, learned.model, warmup=learned.plan, **{n: settings[n] for n in names}
    )(**common)
