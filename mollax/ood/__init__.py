"""Out-of-distribution detection: total variation, its rivals, losses with outliers and scores (METHODS section 3).

Conventions: outputs of a critic are (n, K + 1), the last column that of the extra label of outliers. Energies are in
nats, E = -LSE. A score is high for out-of-distribution; scores are modules of `mollax.ood.scores`.
"""

from mollax.ood import scores
from mollax.ood.balanced_energy import AUTHORS_BALANCE, Balance, balanced_energy, class_prior
from mollax.ood.critic import Critic
from mollax.ood.decomposed import KINDS as SIMILARITIES
from mollax.ood.decomposed import Decomposed, DecomposedConfidence, decay_mask
from mollax.ood.divergences import NAMES as DIVERGENCES
from mollax.ood.divergences import (
    REVERSE_KL_CLIP,
    divergence_estimate,
    divergence_maximum,
    divergence_objective,
    update_average,
)
from mollax.ood.energy_margin import AUTHORS_MARGINS, Margins, choose_margins, energy_margin, free_energy
from mollax.ood.exposure import outlier_exposure
from mollax.ood.gan import Gan, GanParams, GanState, feature_gan, pixel_gan
from mollax.ood.head import Head, apply_head
from mollax.ood.logit_norm import logit_norm
from mollax.ood.model import CriticClassifier
from mollax.ood.negatives import (
    Choice,
    Generators,
    choose_discriminator,
    draw_negatives,
    empty_generators,
    fit_gan,
    gather_generators,
)
from mollax.ood.outliers import block_shuffle
from mollax.ood.total_variation import bounded_critic, gaussian_tv, tv_maximum, tv_objective
from mollax.ood.woods import (
    LogisticUnit,
    WoodsState,
    WoodsTerms,
    initial_woods,
    update_multipliers,
    wild_mixture,
    woods_loss,
    woods_terms,
)

__all__ = [
    "AUTHORS_BALANCE",
    "AUTHORS_MARGINS",
    "DIVERGENCES",
    "REVERSE_KL_CLIP",
    "SIMILARITIES",
    "Balance",
    "Choice",
    "Critic",
    "CriticClassifier",
    "Decomposed",
    "DecomposedConfidence",
    "Gan",
    "GanParams",
    "GanState",
    "Generators",
    "Head",
    "LogisticUnit",
    "Margins",
    "WoodsState",
    "WoodsTerms",
    "apply_head",
    "balanced_energy",
    "block_shuffle",
    "bounded_critic",
    "choose_discriminator",
    "choose_margins",
    "class_prior",
    "decay_mask",
    "divergence_estimate",
    "divergence_maximum",
    "divergence_objective",
    "draw_negatives",
    "empty_generators",
    "energy_margin",
    "feature_gan",
    "fit_gan",
    "free_energy",
    "gather_generators",
    "gaussian_tv",
    "initial_woods",
    "logit_norm",
    "outlier_exposure",
    "pixel_gan",
    "scores",
    "tv_maximum",
    "tv_objective",
    "update_average",
    "update_multipliers",
    "wild_mixture",
    "woods_loss",
    "woods_terms",
]
