"""Learned instance-wise invariance (Singhal et al., ICCV 2023, "Learning to Transform"; METHODS section 2).

Transforms of images are vectors of parameters, d numbers in [-1, 1], which `affine_matrix` turns into 2x3 pull matrices
in coordinates [-1, 1] (see `mollax.image.affine`). So far: these transforms.
"""

from mollax.invariance.transforms import (
    GENERATORS,
    KINDS,
    affine_matrix,
    crop_matrix,
    dimension,
    lie_algebra,
    rotation_error,
)

__all__ = [
    "GENERATORS",
    "KINDS",
    "affine_matrix",
    "crop_matrix",
    "dimension",
    "lie_algebra",
    "rotation_error",
]
