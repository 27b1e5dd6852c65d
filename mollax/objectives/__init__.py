"""Where methods meet models: functions of (params, batch, key) that return a loss, metrics and new state."""

from mollax.objectives.classification import LOSSES, classification_objective
from mollax.objectives.consistency import jensen_shannon
from mollax.objectives.invariance import Warmup, create_controlled, invariance_objective
from mollax.objectives.outliers import Penalty, Seen, outlier_objective, share_out
from mollax.objectives.prepare import MIX_GROUP, Augment, Mix, prepare

__all__ = [
    "LOSSES",
    "MIX_GROUP",
    "Augment",
    "Mix",
    "Penalty",
    "Seen",
    "Warmup",
    "classification_objective",
    "create_controlled",
    "invariance_objective",
    "jensen_shannon",
    "outlier_objective",
    "prepare",
    "share_out",
]
