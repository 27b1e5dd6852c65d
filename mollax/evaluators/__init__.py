"""Evaluators: `run(state)` returns plain numbers for results.json; each is built once from a predictor and data."""

from mollax.evaluators.classification import ClassificationEvaluator
from mollax.evaluators.predictor import Predictor, stack
from mollax.evaluators.stress import KINDS, create_stress, create_stresses, describe, parse

__all__ = [
    "KINDS",
    "ClassificationEvaluator",
    "Predictor",
    "create_stress",
    "create_stresses",
    "describe",
    "parse",
    "stack",
]
