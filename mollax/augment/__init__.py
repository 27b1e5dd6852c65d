"""Augmentation on the device: pure functions `(key, image, *, options) -> image` of one example.

Batch with `jax.vmap`. Images are (height, width, channels), float32 in [0, 1], before standardization and
mollification; results keep shape and range. Each option that switches a part off leaves the random draws of
the other parts as they were.

- geometric: flips, crops, small rotations (FCR).
- trivial, rand, auto, augmix: the policies, with torchvision's operations and magnitudes, on 1 or 3 channels. They are
  made of the operations of `operations` (`(image, amount) -> image`, PIL's color operations) and `warps`.
- fast_auto: another policy, with its authors' magnitudes and `cutout` besides.
- mix: MixUp and CutMix, functions `(key, images, labels) -> (images, labels)` of a batch.
"""

from mollax.augment.augmix import augmix, augmix_pair
from mollax.augment.auto import auto_augment
from mollax.augment.cutout import cutout
from mollax.augment.fast_auto import fast_auto_augment
from mollax.augment.geometric import flip_crop_rotate, random_crop, random_flip, random_rotation
from mollax.augment.mix import cutmix, mixup, neighbors
from mollax.augment.operations import (
    auto_contrast,
    brightness,
    color,
    contrast,
    equalize,
    invert,
    posterize,
    sharpness,
    solarize,
)
from mollax.augment.rand import rand_augment
from mollax.augment.trivial import trivial_augment
from mollax.augment.warps import geometric_matrix, rotate, shear_x, shear_y, translate_x, translate_y

__all__ = [
    "augmix",
    "augmix_pair",
    "auto_augment",
    "auto_contrast",
    "brightness",
    "color",
    "contrast",
    "cutmix",
    "cutout",
    "equalize",
    "fast_auto_augment",
    "flip_crop_rotate",
    "geometric_matrix",
    "invert",
    "mixup",
    "neighbors",
    "posterize",
    "rand_augment",
    "random_crop",
    "random_flip",
    "random_rotation",
    "rotate",
    "sharpness",
    "shear_x",
    "shear_y",
    "solarize",
    "translate_x",
    "translate_y",
    "trivial_augment",
]
