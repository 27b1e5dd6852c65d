"""Where methods meet models: functions of (params, batch, key) that return a loss, metrics and new state."""

from mollax.objectives.classification import LOSSES, Augment, classification_objective, prepare

__all__ = ["LOSSES", "Augment", "classification_objective", "prepare"]
