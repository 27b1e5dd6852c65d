"""From `config.ood` to what learns to detect in a run: critic, penalty, outliers, optimizer, margins from data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from mollax import checks, data, evaluators, objectives, ood
from mollax.data import Dataset, Split
from mollax.image import standardize
from mollax.objectives import Penalty, Seen
from mollax.parallel import AXIS
from mollax.state import TrainState

PyTree = Any
LOSSES = ("exposure", "energy", "balanced_energy")  # of logits, without a critic
METHODS = (*ood.DIVERGENCES, *LOSSES)
OPTIONS: dict[str, tuple[str, ...]] = {
    "dv": ("decay",),
    "reverse_kl": ("clip",),
    "energy": ("m_in", "m_out"),
    "balanced_energy": ("m_in", "m_out", "gamma_margin", "gamma_weight", "shift"),
}
MEASURED = 2000  # images of each kind from which margins and class frequencies are chosen


@dataclass(frozen=True)
class Detector:
    """What a run needs to learn from outliers.

    Attributes:
      model: the classifier, with a critic where the method has one.
      penalty: see `objectives.outlier_objective`.
      counts: outliers of each source in a slice of the batch.
      extra: what the state carries at first, for `extra["ood"]`.
      auxiliary: images of another set; None where no source needs them.
      notes: on those.
    """

    model: nn.Module
    penalty: Penalty
    counts: dict[str, int]
    extra: PyTree
    auxiliary: Split | None = None
    notes: tuple[str, ...] = ()


def create_detector(config: ConfigDict, classifier: nn.Module, dataset: Dataset) -> Detector | None:
    """All of `config.ood`, or None if no method trains.

    Raises:
      FileNotFoundError: if the auxiliary set is missing.
      ValueError: for settings that make no sense.
    """
    settings = config.ood
    if not settings.method:
        return None
    method = checks.one_of("ood.method", settings.method, METHODS)
    for option in settings.options:
        checks.one_of(f"option of {method}", option, OPTIONS.get(method, ()))
    for field, off in (("invariance.augmenter", ""), ("mollify.repeats", 1), ("loss.consistency", 0.0)):
        section, name = field.split(".")
        if config[section][name] != off:
            raise ValueError(f"{field} does not go with ood.method; train one first and continue it with init_from.")
    if config.mollify.enabled and config.mollify.label_form in ("extra", "extra_keep"):
        raise ValueError('mollify.label_form with an extra class does not go with ood.method; use "smooth".')
    counts = _counts(config)
    classes = len(dataset.class_names)
    model = with_critic(config, classifier, classes)
    extra = {"average": jnp.float32(0)} if method == "dv" else _unmeasured(method, classes)
    if settings.hidden and model is classifier:
        raise ValueError(f"ood.hidden is for a critic, which {method} does not have; leave it empty.")
    if "auxiliary" not in counts:
        return Detector(model, create_penalty(config, dataset), counts, extra)
    foreign = data.load_foreign(**_reading(settings.auxiliary), shape=dataset.image_shape, seed=config.data.split_seed)
    held_out = {"the validation split": dataset.validation, "the test split": dataset.test}
    auxiliary, shared = data.without_shared(foreign.split, held_out)
    return Detector(model, create_penalty(config, dataset), counts, extra, auxiliary, (*foreign.notes, *shared))


def with_critic(config: ConfigDict, classifier: nn.Module, classes: int) -> nn.Module:
    """The classifier with the critic of `config.ood`, or alone where the method has none."""
    settings = config.ood
    if settings.method not in ood.DIVERGENCES:
        return classifier
    critic = ood.Critic(classes, hidden=tuple(settings.hidden), stop_gradient=settings.mode == "head")
    return ood.CriticClassifier(classifier=classifier, critic=critic)


def _reading(settings: ConfigDict) -> dict[str, Any]:
    options = settings.to_dict()
    if not options["reader"]:
        raise ValueError('The source "auxiliary" needs ood.auxiliary.reader and .path: a set of images to learn from.')
    return options


def _counts(config: ConfigDict) -> dict[str, int]:
    checks.in_range("ood.ratio", config.ood.ratio, 0.0, open_low=True)
    size = config.train.batch_size // (jax.device_count() * config.optim.accumulate)
    return objectives.share_out(max(1, round(config.ood.ratio * size)), config.ood.sources.to_dict())


def outlier_batch_size(config: ConfigDict, detector: Detector) -> int:
    """Auxiliary images of a step over all devices and processes."""
    return detector.counts["auxiliary"] * jax.device_count() * config.optim.accumulate


def _unmeasured(method: str, classes: int) -> dict[str, Array]:
    """Places for what `measure` finds; NaN until then, so that nothing trains on a guess."""
    nan = jnp.float32(jnp.nan)
    found = {"m_in": nan, "m_out": nan} if "energy" in method else {}
    return found | ({"prior": jnp.full(classes, jnp.nan, jnp.float32)} if method == "balanced_energy" else {})


def class_frequencies(dataset: Dataset) -> Float[np.ndarray, " k"]:
    """Shares of the classes in the training split."""
    counts = np.bincount(np.asarray(dataset.train.labels), minlength=len(dataset.class_names))
    return counts / counts.sum()


def create_penalty(config: ConfigDict, dataset: Dataset) -> Penalty:
    """The penalty of `config.ood.method`, to be minimised.

    Raises:
      ValueError: for options out of range.
    """
    method, options = config.ood.method, config.ood.options.to_dict()
    if method == "exposure":
        return lambda seen, carried: (ood.outlier_exposure(seen.logits_ood), {}, carried)
    if method in LOSSES:
        return partial(_energy_penalty, method, {k: v for k, v in options.items() if not k.startswith("m_")})
    shares = jnp.asarray(class_frequencies(dataset), jnp.float32)
    return partial(_divergence_penalty, method, shares, config.ood.id_share, options)


def _divergence_penalty(
    method: str, shares: Array, id_share: float, options: Mapping[str, Any], seen: Seen, carried: PyTree
) -> tuple[Array, dict[str, Array], PyTree]:
    assert seen.critic_id is not None  # every divergence has a critic
    assert seen.critic_ood is not None
    arguments = {k: v for k, v in options.items() if k == "clip"}
    if method == "dv":
        mine = ood.update_average(carried["average"], seen.critic_id, seen.critic_ood, shares, id_share, **options)
        # The mean over devices of what is carried as a logarithm.
        most = jax.lax.pmax(mine, AXIS)
        carried = {"average": most + jnp.log(jax.lax.pmean(jnp.exp(mine - most), AXIS))}
        arguments = carried
    value = ood.divergence_objective(
        method, seen.critic_id, seen.labels, seen.critic_ood, shares, id_share, **arguments
    )
    return -value, {"divergence": value}, carried


def _energy_penalty(
    method: str, options: Mapping[str, Any], seen: Seen, carried: PyTree
) -> tuple[Array, dict[str, Array], PyTree]:
    margins = {"m_in": carried["m_in"], "m_out": carried["m_out"]}
    if method == "energy":
        value = ood.energy_margin(seen.logits_id, seen.logits_ood, **margins)
    else:
        value = ood.balanced_energy(
            seen.logits_id, seen.logits_ood, prior=carried["prior"], axis_name=AXIS, **margins, **options
        )
    energies = {"id": seen.logits_id, "ood": seen.logits_ood}
    return value, {f"energy_{name}": jnp.mean(ood.free_energy(logits)) for name, logits in energies.items()}, carried


def create_optimizer(config: ConfigDict, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """The run's optimizer for all that learns: of the critic alone with mode "head"."""
    if config.ood.mode != "head":
        return optimizer

    def labels(params: PyTree) -> PyTree:
        return {name: jax.tree.map(lambda _, name=name: name, part) for name, part in params.items()}

    return optax.multi_transform({"classifier": optax.set_to_zero(), "critic": optimizer}, labels)


def create_objective(config: ConfigDict, detector: Detector, **common: Any) -> Callable[..., Any]:
    """The objective over labelled images and outliers; `common` are arguments that plain classification has too."""
    names = ("weight", "mode", "batch_norm", "grid")
    chosen = {name: config.ood[name] for name in names}
    return objectives.outlier_objective(detector.model, detector.penalty, counts=detector.counts, **chosen, **common)


def measure(
    config: ConfigDict,
    detector: Detector,
    dataset: Dataset,
    state: TrainState,
    *,
    mean: Float[Array, " c"],
    std: Float[Array, " c"],
) -> TrainState:
    """The first state with what the method takes from data: margins of energies, the classifier's class frequencies.

    Margins are the mean energies of ID validation images and of outliers under the classifier that training starts
    from, which should have been trained (`init_from`); `ood.options` may give them. Frequencies are of its predictions
    for outliers.

    Raises:
      ValueError: if the mean energies are in the wrong order, with advice.
    """
    if "m_in" not in detector.extra:
        return state
    found = _outputs(detector, dataset, state, mean=mean, std=std, grid=config.ood.grid, batch=config.eval.batch_size)
    known, strange = found["id"], found["ood"]
    given = {name: config.ood.options[name] for name in ("m_in", "m_out") if name in config.ood.options}
    if len(given) == 1:
        raise ValueError("ood.options has one margin; give both m_in and m_out, or neither.")
    margins = given
    if not given:
        energies = [np.asarray(ood.free_energy(jnp.asarray(logits))) for logits in (known, strange)]
        margins = ood.choose_margins(*energies)._asdict()
    carried = {name: jnp.float32(value) for name, value in margins.items()}
    if "prior" in detector.extra:
        prior = ood.class_prior(strange.argmax(1), classes=strange.shape[1])
        carried["prior"] = jnp.asarray(prior, jnp.float32)
    return state.replace(extra={**state.extra, "ood": carried})


def _outputs(
    detector: Detector,
    dataset: Dataset,
    state: TrainState,
    *,
    mean: Float[Array, " c"],
    std: Float[Array, " c"],
    grid: int,
    batch: int,
) -> dict[str, Float[np.ndarray, "n k"]]:
    """Logits of ID validation images and of outliers: auxiliary ones, or block-shuffled validation images."""

    def clean(key: Array, image: Array) -> Array:
        return standardize(image, mean, std)

    def shuffled(key: Array, image: Array) -> Array:
        return clean(key, ood.block_shuffle(key, image, grid=grid))

    predictor = evaluators.Predictor(detector.model, {"clean": clean, "shuffled": shuffled}, batch_size=batch, seed=0)
    variables = state.evaluated()
    known = data.take_evenly(dataset.validation, MEASURED)
    if detector.auxiliary is None:
        return {
            "id": predictor.logits(variables, known),
            "ood": predictor.logits(variables, known, stress="shuffled"),
        }
    strange = data.take_evenly(detector.auxiliary, MEASURED)
    return {"id": predictor.logits(variables, known), "ood": predictor.logits(variables, strange)}
