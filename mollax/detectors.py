"""From `config.ood` to what learns to detect in a run: critic, penalty, outliers, optimizer, margins from data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

from mollax import checks, data, evaluators, objectives, ood, other_sets, synthetic
from mollax.data import Dataset, Split
from mollax.image import standardize
from mollax.objectives import Penalty, Seen
from mollax.parallel import AXIS
from mollax.state import TrainState

PyTree = Any
LOSSES = ("exposure", "energy", "balanced_energy")  # of logits, without a critic
METHODS = (*ood.DIVERGENCES, *LOSSES, "woods")
OPTIONS: dict[str, tuple[str, ...]] = {
    "dv": ("decay",),
    "reverse_kl": ("clip",),
    "energy": ("m_in", "m_out"),
    "balanced_energy": ("m_in", "m_out", "gamma_margin", "gamma_weight", "shift"),
    "woods": ("share", "false_alarms", "ce_factor", "rate", "tolerance", "growth"),
}
WILD_SHARE = 0.1  # of outliers among the wild images of WOODS, as in its paper
MEASURED = 2000  # images of each kind from which margins and class frequencies are chosen


@dataclass(frozen=True)
class Detector:
    """What a run needs to learn from outliers.

    Attributes:
      model: the classifier, with a critic where the method has one.
      penalty: see `objectives.outlier_objective`.
      counts: outliers of each source in a slice of the batch.
      extra: what the state carries at first, for `extra["ood"]`.
      auxiliary: images of another set, or the wild mixture of WOODS; None where no source needs them.
      notes: on those.
      labelled: the half of the training images that keeps its labels with WOODS; None where all do.
      gan: what generates outliers, and places for `extra["gan"]`; None without the source "gan".
    """

    model: nn.Module
    penalty: Penalty
    counts: dict[str, int]
    extra: PyTree
    auxiliary: Split | None = None
    notes: tuple[str, ...] = ()
    labelled: Split | None = None
    gan: synthetic.Generating | None = None


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
    if method == "woods" and list(counts) != ["auxiliary"]:
        raise ValueError('woods learns from a wild mixture with real outliers: "auxiliary" must be the only source.')
    if settings.hidden and method not in ood.DIVERGENCES:
        raise ValueError(f"ood.hidden is for a critic, which {method} does not have; leave it empty.")
    gan = synthetic.create_gan(config.ood.gan, classifier, dataset.image_shape) if "gan" in counts else None
    if "auxiliary" not in counts:
        return Detector(model, create_penalty(config, dataset), counts, extra, gan=gan)
    auxiliary, notes = other_sets.read_auxiliary(config, dataset)
    if method != "woods":
        return Detector(model, create_penalty(config, dataset), counts, extra, auxiliary, notes, gan=gan)
    labelled, wild, said = other_sets.wild_images(
        dataset, auxiliary, share=settings.options.get("share", WILD_SHARE), seed=config.data.split_seed
    )
    halved = dataclasses.replace(dataset, train=labelled)
    return Detector(model, create_penalty(config, halved), counts, extra, wild, (*notes, said), labelled)


def with_critic(config: ConfigDict, classifier: nn.Module, classes: int) -> nn.Module:
    """The classifier with the critic of `config.ood`, or alone where the method has none."""
    settings = config.ood
    if settings.method == "woods":
        return ood.CriticClassifier(classifier=classifier, critic=ood.LogisticUnit(), on="logits")
    if settings.method not in ood.DIVERGENCES:
        return classifier
    critic = ood.Critic(classes, hidden=tuple(settings.hidden), stop_gradient=settings.mode == "head")
    return ood.CriticClassifier(classifier=classifier, critic=critic)


def _counts(config: ConfigDict) -> dict[str, int]:
    checks.in_range("ood.ratio", config.ood.ratio, 0.0, open_low=True)
    size = config.train.batch_size // (jax.device_count() * config.optim.accumulate)
    return objectives.share_out(max(1, round(config.ood.ratio * size)), config.ood.sources.to_dict())


def outlier_batch_size(config: ConfigDict, detector: Detector) -> int:
    """Auxiliary images of a step over all devices and processes."""
    return detector.counts["auxiliary"] * jax.device_count() * config.optim.accumulate


def _unmeasured(method: str, classes: int) -> dict[str, PyTree]:
    """Places for what `measure` finds; NaN until then, so that nothing trains on a guess."""
    nan = jnp.float32(jnp.nan)
    if method == "woods":
        zero = jnp.float32(0)
        return {"woods": ood.initial_woods(), "pretrained_ce": nan, "u_id": zero, "u_ce": zero, "parts": zero}
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
    if method == "woods":
        parts = max(1, round(len(dataset.train) / config.train.batch_size)) * config.optim.accumulate
        return partial(_woods_penalty, parts, {name: value for name, value in options.items() if name != "share"})
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


def _woods_penalty(
    parts: int, options: Mapping[str, Any], seen: Seen, carried: PyTree
) -> tuple[Array, dict[str, Array], PyTree]:
    """WOODS' whole loss. Multipliers move once an epoch by the means of the constraints in it.

    The authors pass over the training set in evaluation mode for that; ours are the means of the steps themselves.
    """
    limits = {name: options[name] for name in ("false_alarms", "ce_factor") if name in options}
    steps = {name: options[name] for name in ("rate", "tolerance", "growth") if name in options}
    assert seen.critic_id is not None  # the logistic unit
    assert seen.critic_ood is not None
    terms = ood.woods_terms(
        seen.critic_id[:, 0],
        seen.critic_ood[:, 0],
        seen.cross_entropy,
        pretrained_ce=carried["pretrained_ce"],
        axis_name=AXIS,
        **limits,
    )
    value = ood.woods_loss(terms, carried["woods"])
    fixed = jax.lax.stop_gradient(terms)
    u_id, u_ce, count = carried["u_id"] + fixed.u_id, carried["u_ce"] + fixed.u_ce, carried["parts"] + 1
    ended = count >= parts
    moved = ood.update_multipliers(carried["woods"], u_id / count, u_ce / count, **steps)
    state = jax.tree.map(lambda new, old: jnp.where(ended, new, old), moved, carried["woods"])
    rest = {name: jnp.where(ended, 0.0, total) for name, total in (("u_id", u_id), ("u_ce", u_ce), ("parts", count))}
    metrics = {"wild": terms.wild, "u_id": terms.u_id, "u_ce": terms.u_ce, **state._asdict()}
    return value, metrics, {**carried, "woods": state, **rest}


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
    return objectives.outlier_objective(
        detector.model,
        detector.penalty,
        counts=detector.counts,
        generate=None if detector.gan is None else detector.gan.draw,
        generated=config.ood.gan.on,
        constrained=config.ood.method == "woods",
        **chosen,
        **common,
    )


def measure(
    config: ConfigDict,
    detector: Detector,
    dataset: Dataset,
    state: TrainState,
    *,
    mean: Float[Array, " c"],
    std: Float[Array, " c"],
) -> TrainState:
    """The first state with what is taken from data: a GAN, margins of energies, the classifier's class frequencies.

    A GAN learns from training images, or their features; see `synthetic.learn`. Margins are the mean energies of ID
    validation images and of outliers under the classifier that training starts from, which should have been trained
    (`init_from`); `ood.options` may give them. Frequencies are of its predictions for outliers.

    Raises:
      ValueError: if the mean energies are in the wrong order, with advice; as `synthetic.learn`.
    """
    if detector.gan is not None:
        state = synthetic.learn(config, detector.gan, detector.model, dataset, state, mean=mean, std=std)
    if not {"m_in", "woods"} & set(detector.extra):
        return state
    found = _outputs(detector, dataset, state, mean=mean, std=std, grid=config.ood.grid, batch=config.eval.batch_size)
    known, strange = found["id"], found["ood"]
    if "woods" in detector.extra:
        return _start_woods(state, known, strange, np.asarray(data.take_evenly(dataset.validation, MEASURED).labels))
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


def _start_woods(
    state: TrainState,
    known: Float[np.ndarray, "n k"],
    strange: Float[np.ndarray, "m k"],
    labels: Int[np.ndarray, " n"],
) -> TrainState:
    """The pretrained cross-entropy, and the logistic unit at half way between the mean energies of ID and wild images.

    Cross-entropy is of validation images: of training images a pretrained network's is near 0, and so would be the
    limit.
    """
    entropy = optax.softmax_cross_entropy_with_integer_labels(jnp.asarray(known), jnp.asarray(labels)).mean()
    energies = [float(ood.free_energy(jnp.asarray(logits)).mean()) for logits in (known, strange)]
    unit = {**state.params["critic"], "offset": jnp.float32(-sum(energies) / 2)}
    carried = {**state.extra["ood"], "pretrained_ce": entropy.astype(jnp.float32)}
    return state.replace(params={**state.params, "critic": unit}, extra={**state.extra, "ood": carried})


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
    """Logits of ID validation images and of outliers: auxiliary ones, a GAN's, or block-shuffled validation images."""

    def clean(key: Array, image: Array) -> Array:
        return standardize(image, mean, std)

    def shuffled(key: Array, image: Array) -> Array:
        return clean(key, ood.block_shuffle(key, image, grid=grid))

    predictor = evaluators.Predictor(detector.model, {"clean": clean, "shuffled": shuffled}, batch_size=batch, seed=0)
    variables = state.evaluated()
    known = data.take_evenly(dataset.validation, MEASURED)
    logits = {"id": predictor.logits(variables, known)}
    if detector.auxiliary is not None:
        strange = data.take_evenly(detector.auxiliary, MEASURED)
        return logits | {"ood": predictor.logits(variables, strange)}
    if detector.gan is not None:
        lines = detector.gan.examples(state.extra["gan"], MEASURED // detector.gan.number)
        made = lines.reshape(-1, *lines.shape[2:])
        if detector.gan.on == "features":
            apply: Callable[..., Any] = detector.model.apply
            return logits | {"ood": np.asarray(apply(variables, made, method="head"))}
        strange = Split(np.asarray(255 * made).round().astype(np.uint8), np.zeros(len(made), np.int32))
        return logits | {"ood": predictor.logits(variables, strange)}
    return logits | {"ood": predictor.logits(variables, known, stress="shuffled")}
