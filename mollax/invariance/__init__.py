"""Learned instance-wise invariance (Singhal et al., ICCV 2023, "Learning to Transform"; METHODS section 2).

Transforms of images are vectors of parameters, 1 to 6 numbers, which `affine_matrix` turns into 2x3 pull matrices in
coordinates [-1, 1] (see `mollax.image.affine`). An augmenter, the flow or a rival, draws them for an image (`Draws`);
`TransformedClassifier` joins it with a classifier. Log-densities and entropies are in nats of the parameters.
"""

from mollax.invariance.align import Aligned, align, require_finite
from mollax.invariance.augerino import Augerino
from mollax.invariance.average import AVERAGES, average_predictions, choose_small
from mollax.invariance.base import Mixture
from mollax.invariance.crop_grid import CropGrid, CropNetwork, FlowAndGrid, crop_boxes
from mollax.invariance.draws import Draws, surrogate_losses
from mollax.invariance.entropy import PID, Annealed, EntropyRange, Fixed, require_reachable
from mollax.invariance.flow import TransformFlow
from mollax.invariance.flow_augmenter import FlowAugmenter
from mollax.invariance.gaussian import Gaussian
from mollax.invariance.instaaug import InstaAug
from mollax.invariance.model import TransformedClassifier, align_batch, predict, warp_standardized
from mollax.invariance.prototypes import angle_spread, class_spread, turn_angle
from mollax.invariance.transforms import (
    DEFAULT_LIMITS,
    GENERATORS,
    KINDS,
    affine_matrix,
    crop_matrix,
    dimension,
    lie_algebra,
    parameter_names,
    rotation_error,
)
from mollax.invariance.uniform import Uniform

__all__ = [
    "AVERAGES",
    "DEFAULT_LIMITS",
    "GENERATORS",
    "KINDS",
    "PID",
    "Aligned",
    "Annealed",
    "Augerino",
    "CropGrid",
    "CropNetwork",
    "Draws",
    "EntropyRange",
    "Fixed",
    "FlowAndGrid",
    "FlowAugmenter",
    "Gaussian",
    "InstaAug",
    "Mixture",
    "TransformFlow",
    "TransformedClassifier",
    "Uniform",
    "affine_matrix",
    "align",
    "align_batch",
    "angle_spread",
    "average_predictions",
    "choose_small",
    "class_spread",
    "crop_boxes",
    "crop_matrix",
    "dimension",
    "lie_algebra",
    "parameter_names",
    "predict",
    "require_finite",
    "require_reachable",
    "rotation_error",
    "surrogate_losses",
    "turn_angle",
    "warp_standardized",
]
