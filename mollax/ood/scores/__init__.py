"""Scores of how far an input is from what a classifier was trained on: high for out-of-distribution.

Each score is a module with `NEEDS`, `fit(features, logits, labels, head) -> State` and, where it needs "features",
`score(state, features, logits) -> (n,)`. The others say in their `score` what they take instead: "images" and the
network, "feature_maps", or the outputs of a "critic".
"""

from types import ModuleType

from mollax.ood.scores import (
    ash,
    bfact,
    energy,
    generalized_odin,
    gradnorm,
    knn,
    mahalanobis,
    max_logit,
    msp,
    odin,
    rankfeat,
    react,
    relative_mahalanobis,
    tv,
    vim,
)
from mollax.ood.scores.store import load_states, save_states

SCORES: dict[str, ModuleType] = {
    "msp": msp,
    "max_logit": max_logit,
    "energy": energy,
    "odin": odin,
    "generalized_odin": generalized_odin,
    "mahalanobis": mahalanobis,
    "relative_mahalanobis": relative_mahalanobis,
    "knn": knn,
    "ash": ash,
    "vim": vim,
    "react": react,
    "bfact": bfact,
    "rankfeat": rankfeat,
    "gradnorm": gradnorm,
    "tv": tv,
}

__all__ = [
    "SCORES",
    "ash",
    "bfact",
    "energy",
    "generalized_odin",
    "gradnorm",
    "knn",
    "load_states",
    "mahalanobis",
    "max_logit",
    "msp",
    "odin",
    "rankfeat",
    "react",
    "relative_mahalanobis",
    "save_states",
    "tv",
    "vim",
]
