"""Augmentation on the device: pure functions `(key, image, *, options) -> image` of one example.

Batch with `jax.vmap`. Images are (height, width, channels), float32 in [0, 1], before standardization and
mollification; results keep shape and range. Each option that switches a part off leaves the random draws of
the other parts as they were.
"""

from mollax.augment.geometric import flip_crop_rotate, random_crop, random_flip, random_rotation

__all__ = ["flip_crop_rotate", "random_crop", "random_flip", "random_rotation"]
