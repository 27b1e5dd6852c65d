"""From a config to the evaluators of a run; each gives a block of results.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from mollax import augmenters, detectors, evaluators, ood, other_sets
from mollax.experiment import Experiment
from mollax.state import TrainState


def create_evaluator(config: ConfigDict, experiment: Experiment) -> evaluators.ClassificationEvaluator:
    """The evaluator of clean and stressed test images that `config.eval` describes."""
    stresses = evaluators.create_stresses(config.eval.stress, mean=experiment.mean, std=experiment.std)
    predict: Any = experiment.model
    if experiment.learned is not None:
        predict = augmenters.create_predict(config, experiment.learned, mean=experiment.mean, std=experiment.std)
    # Noise for evaluation is the same for every training seed, so that runs are compared on equal images.
    predictor = evaluators.Predictor(predict, stresses, batch_size=config.eval.batch_size, seed=0)
    return evaluators.ClassificationEvaluator(
        predictor,
        experiment.dataset,
        stresses=tuple(config.eval.stress),
        bins=config.eval.bins,
        resamples=config.eval.resamples,
    )


def create_further_evaluators(
    config: ConfigDict, experiment: Experiment, predictor: evaluators.Predictor
) -> dict[str, Any]:
    """The evaluators that `config.eval` asks for beside the first, by their block's name in results.json."""
    sets = other_sets.read_detected(config, experiment.dataset)
    made = {
        "corruptions": create_corruption_evaluator(config, experiment, predictor),
        "invariance": create_transform_evaluator(config, experiment),
        "rotations": create_rotation_evaluator(config, experiment),
        "divergence": create_divergence_evaluator(config, experiment),
        "ood": create_detection_evaluator(config, experiment, sets),
        "drift": create_drift_evaluator(config, experiment, sets),
    }
    return {name: evaluator for name, evaluator in made.items() if evaluator is not None}


def create_validation(
    evaluator: evaluators.ClassificationEvaluator, further: Mapping[str, Any]
) -> Callable[[TrainState], dict[str, float]]:
    """What is measured on the validation split while training goes on; "validation/..." of metrics.jsonl."""
    transforms = further.get("invariance")

    def validate(state: TrainState) -> dict[str, float]:
        found = evaluator.validate(state)
        return found if transforms is None else found | transforms.validate(state.evaluated())

    return validate


def create_transform_evaluator(config: ConfigDict, experiment: Experiment) -> evaluators.TransformEvaluator | None:
    """The evaluator of what an augmenter has learned, or None without one."""
    learned = experiment.learned
    if learned is None:
        return None
    return evaluators.TransformEvaluator(
        learned.model,
        experiment.dataset,
        mean=experiment.mean,
        std=experiment.std,
        name=config.invariance.augmenter,
        max_entropy=augmenters.max_entropy(learned.model.augmenter),
        limits=augmenters.last_limits(config),
        **config.eval.transforms.to_dict(),
    )


def create_rotation_evaluator(config: ConfigDict, experiment: Experiment) -> evaluators.RotationEvaluator | None:
    """The evaluator of turned test images that `config.eval.rotations` asks for, or None."""
    settings = config.eval.rotations.to_dict()
    if not settings["angles"] and not settings["kl_degrees"]:
        return None
    predictions: dict[str, Any] = {"as it is": experiment.model}
    if experiment.learned is not None:
        options = {"mean": experiment.mean, "std": experiment.std}
        # Without draws it would be the plain classifier again.
        if config.invariance.predict.draws:
            predictions["averaged"] = augmenters.create_predict(config, experiment.learned, **options)
        # Mean shift is a sum of steps from the identity, which crops do not have.
        if config.eval.transforms.aligned and config.invariance.kind != "crop":
            predictions["aligned"] = augmenters.create_aligned_predict(config, experiment.learned, **options)
    return evaluators.RotationEvaluator(
        predictions,
        experiment.dataset,
        mean=experiment.mean,
        std=experiment.std,
        batch_size=config.eval.batch_size,
        **settings,
    )


def create_corruption_evaluator(
    config: ConfigDict, experiment: Experiment, predictor: evaluators.Predictor
) -> evaluators.CorruptionEvaluator | None:
    """The corruption benchmark that `config.eval` asks for, or None."""
    if not config.eval.corruptions:
        return None
    corrupted: evaluators.CorruptedImages
    if config.eval.corruption_path:
        corrupted = evaluators.PublishedCorruptions(
            config.eval.corruption_path,
            experiment.dataset,
            names=config.eval.corruptions,
            images=config.eval.corrupted_images,
            resize=config.data.resize,
        )
    else:
        corrupted = evaluators.Corrupter(batch_size=config.eval.batch_size, cache=config.eval.corruption_cache)
    baseline = None
    if config.eval.baseline:
        baseline = evaluators.read_baseline(
            config.eval.baseline,
            names=evaluators.expand(config.eval.corruptions),
            data=experiment.dataset.name,
            classes=len(experiment.dataset.class_names),
            published=bool(config.eval.corruption_path),
            source=corrupted.describe(experiment.dataset.test)["source"],
        )
    return evaluators.CorruptionEvaluator(
        predictor,
        corrupted,
        experiment.dataset,
        names=config.eval.corruptions,
        images=config.eval.corrupted_images,
        bins=config.eval.bins,
        baseline=baseline,
    )


def create_divergence_evaluator(config: ConfigDict, experiment: Experiment) -> evaluators.DivergenceEvaluator | None:
    """The evaluator of a critic's objective on test images, or None without a critic."""
    if not isinstance(experiment.model, ood.CriticClassifier) or config.ood.method not in ood.DIVERGENCES:
        return None
    return evaluators.DivergenceEvaluator(
        experiment.model,
        experiment.dataset,
        name=config.ood.method,
        class_freq=detectors.class_frequencies(experiment.dataset),
        id_share=config.ood.id_share,
        mean=experiment.mean,
        std=experiment.std,
        grid=config.ood.grid,
        clip=config.ood.options.get("clip", ood.REVERSE_KL_CLIP),
        batch_size=config.eval.batch_size,
    )


def create_detection_evaluator(
    config: ConfigDict, experiment: Experiment, sets: Mapping[str, evaluators.OtherSet]
) -> evaluators.DetectionEvaluator | None:
    """The detection of other sets that `config.eval.ood` asks for, or None.

    Raises:
      ValueError: for scores without sets, sets without scores, or either that make no sense.
    """
    settings = config.eval.ood.to_dict()
    given = settings.pop("sets")
    if not sets and (given or not settings["scores"]):
        return None
    return evaluators.DetectionEvaluator(
        experiment.model,
        experiment.dataset,
        sets,
        mean=experiment.mean,
        std=experiment.std,
        outliers=None if experiment.detector is None else experiment.detector.auxiliary,
        batch_size=config.eval.batch_size,
        **settings,
    )


def create_drift_evaluator(
    config: ConfigDict, experiment: Experiment, sets: Mapping[str, evaluators.OtherSet]
) -> evaluators.DriftEvaluator | None:
    """The audit of test images and other sets on features that `config.eval.drift` asks for, or None."""
    settings = config.eval.drift.to_dict()
    if not settings["images"]:
        return None
    return evaluators.DriftEvaluator(
        experiment.model,
        experiment.dataset,
        {name: other.split for name, other in sets.items()},
        mean=experiment.mean,
        std=experiment.std,
        batch_size=config.eval.batch_size,
        **settings,
    )
