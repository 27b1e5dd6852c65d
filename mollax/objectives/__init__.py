"""Where methods meet models: functions of (params, batch, key) that return a loss, metrics and new state."""

from mollax.objectives.classification import LOSSES, classification_objective, prepare

__all__ = ["LOSSES", "classification_objective", "prepare"]
