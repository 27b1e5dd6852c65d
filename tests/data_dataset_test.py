"""Splits hold one label per image; lazy images decode when asked."""

import numpy as np
import pytest

from mollax.data import Dataset, LazyImages, Split

LAZY = LazyImages(lambda i: np.full((4, 6, 3), i, np.uint8), (5, 4, 6, 3))


def test_lazy_images_decode_one_at_a_time():
    assert len(LAZY) == 5
    assert LAZY.nbytes == 5 * 4 * 6 * 3
    assert LAZY[np.int64(3)].max() == 3


def test_every_image_needs_a_label():
    with pytest.raises(ValueError, match="one label per image; got 5 images and 4 labels"):
        Split(LAZY, np.zeros(4, np.int32))


def test_image_shape_is_that_of_the_training_images():
    split = Split(LAZY, np.zeros(5, np.int32))
    assert Dataset("d", split, split, split, ("a",)).image_shape == (4, 6, 3)
