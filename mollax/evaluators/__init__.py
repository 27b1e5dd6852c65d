"""Evaluators: `run(state)` returns plain numbers for results.json; each is built once from a predictor and data."""

from mollax.evaluators.classification import ClassificationEvaluator
from mollax.evaluators.corrupter import Corrupter
from mollax.evaluators.corruption import CorruptionEvaluator, relative_corruption_error
from mollax.evaluators.predictor import Predictor, stack
from mollax.evaluators.stress import KINDS, create_stress, create_stresses, describe, parse

__all__ = [
    "KINDS",
    "ClassificationEvaluator",
    "Corrupter",
    "CorruptionEvaluator",
    "Predictor",
    "create_stress",
    "create_stresses",
    "describe",
    "parse",
    "relative_corruption_error",
    "stack",
]
