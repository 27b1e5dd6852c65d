"""Pixel primitives, each a pure function of one image (batch with `jax.vmap`).

Images are (height, width, channels), float32 in [0, 1] unless a docstring says otherwise; sigma and shifts
are in pixels, angles in radians, affine matrices in normalized coordinates [-1, 1] with align_corners=True,
and they pull: they send output positions to input positions. Nothing clips but `quantize`.

- affine: 2x3 matrices. warp: reading images through them. filters: Gaussian blur in space.
- color: contrast, luminance, the 8-bit grid, standardization.
"""

from mollax.image.affine import (
    compose,
    flip_horizontal,
    from_pixels,
    identity,
    invert,
    pixel_aspect,
    rotation,
    scaling,
    translation,
)
from mollax.image.color import adjust_contrast, quantize, standardize, to_gray, unstandardize
from mollax.image.filters import gaussian_blur, gaussian_matrix
from mollax.image.warp import affine_warp, sample

__all__ = [
    "adjust_contrast",
    "affine_warp",
    "compose",
    "flip_horizontal",
    "from_pixels",
    "gaussian_blur",
    "gaussian_matrix",
    "identity",
    "invert",
    "pixel_aspect",
    "quantize",
    "rotation",
    "sample",
    "scaling",
    "standardize",
    "to_gray",
    "translation",
    "unstandardize",
]
