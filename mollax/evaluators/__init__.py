"""Evaluators: `run(state)` returns plain numbers for results.json; each is built once from a predictor and data."""

from mollax.evaluators.classification import ClassificationEvaluator
from mollax.evaluators.corrupter import CorruptedImages, Corrupter, compiled_ahead, content_hash
from mollax.evaluators.corruption import CorruptionEvaluator, expand
from mollax.evaluators.detection import SCORES, DetectionEvaluator, OtherSet, parse_score
from mollax.evaluators.divergence import DivergenceEvaluator
from mollax.evaluators.drift import DriftEvaluator
from mollax.evaluators.features import FeaturePass, Pass
from mollax.evaluators.predictor import Predictor, stack
from mollax.evaluators.published import PublishedCorruptions
from mollax.evaluators.relative import Baseline, read_baseline, relative_corruption_error
from mollax.evaluators.rotation import RotationEvaluator
from mollax.evaluators.spectrum import corruption_spectra, image_spectrum, mollification_spectra
from mollax.evaluators.stress import KINDS, create_stress, create_stresses, describe, parse
from mollax.evaluators.transforms import TransformEvaluator, alignment_block

__all__ = [
    "KINDS",
    "SCORES",
    "Baseline",
    "ClassificationEvaluator",
    "CorruptedImages",
    "Corrupter",
    "CorruptionEvaluator",
    "DetectionEvaluator",
    "DivergenceEvaluator",
    "DriftEvaluator",
    "FeaturePass",
    "OtherSet",
    "Pass",
    "Predictor",
    "PublishedCorruptions",
    "RotationEvaluator",
    "TransformEvaluator",
    "alignment_block",
    "compiled_ahead",
    "content_hash",
    "corruption_spectra",
    "create_stress",
    "create_stresses",
    "describe",
    "expand",
    "image_spectrum",
    "mollification_spectra",
    "parse",
    "parse_score",
    "read_baseline",
    "relative_corruption_error",
    "stack",
]
