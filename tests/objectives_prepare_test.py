"""The two halves of `prepare` make the whole."""

import jax
import jax.numpy as jnp
import numpy as np
import tiny

from mollax import augment, objectives
from mollax.image import standardize
from mollax.objectives.prepare import augmented, mollified


def test_halves_make_the_whole(key):
    images, labels = (jnp.asarray(array) for array in tiny.digits(16))
    options = {"classes": 10, "augment": lambda k, x: augment.flip_crop_rotate(k, x, pad=1), "repeats": 2}
    whole = objectives.prepare(
        key, images, labels, mean=tiny.MEAN, std=tiny.STD, mollifier={}, first_index=32, **options
    )
    shown, targets = augmented(key, images, labels, first_index=32, **options)
    assert shown.shape == (32, 8, 8, 1)
    made = mollified(key, standardize(shown, tiny.MEAN, tiny.STD), targets, mollifier={}, first_index=64)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), whole, made)
    assert len(np.unique(np.asarray(whole.role))) == 3


def test_without_anything_images_and_labels_are_as_they_were(key):
    images, labels = (jnp.asarray(array) for array in tiny.digits(4))
    shown, targets = augmented(key, images, labels, classes=10)
    np.testing.assert_allclose(shown, images.astype(jnp.float32) / 255)
    np.testing.assert_array_equal(targets.argmax(1), labels)
    made = mollified(key, shown, targets, mollifier=None)
    np.testing.assert_array_equal(made.images, shown)
    assert not np.asarray(made.t).any()
