"""Where methods meet models: functions of (params, batch, key) that return a loss, metrics and new state."""

from mollax.objectives.classification import LOSSES, MIX_GROUP, Augment, Mix, classification_objective, prepare
from mollax.objectives.consistency import jensen_shannon

__all__ = ["LOSSES", "MIX_GROUP", "Augment", "Mix", "classification_objective", "jensen_shannon", "prepare"]
