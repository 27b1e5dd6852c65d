"""Images turned once: against scipy, by seed, and what is refused."""

import numpy as np
import pytest
import scipy.ndimage

from mollax import data
from mollax.data import LazyImages, Split
from mollax.data.options import generator
from mollax.data.rotated import rotate_split


def smooth(rng, count=6, channels=3):
    noise = rng.uniform(0, 255, (count, 31, 31, channels))
    return scipy.ndimage.gaussian_filter(noise, (0, 4, 4, 0)).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_turn_as_scipy_turns_them(rng, channels):
    images = smooth(rng, channels=channels)
    turned = rotate_split(Split(images, np.zeros(6, np.int32)), 90.0, seed=3, purpose="train").images
    angles = generator(3, "rotated train").uniform(-90, 90, 6)
    expected = [
        scipy.ndimage.rotate(i.astype(float), a, reshape=False, order=1) for i, a in zip(images, angles, strict=True)
    ]
    inside = np.hypot(*np.mgrid[-15:16, -15:16]) < 14
    difference = np.abs(turned - np.stack(expected))[:, inside]
    assert difference.mean() < 1.0
    assert np.abs(turned.astype(float) - images)[:, inside].mean() > 3 * difference.mean()


def test_seed_and_purpose_decide(rng):
    split = Split(smooth(rng), np.arange(6, dtype=np.int32))
    first, again, other, test = (
        rotate_split(split, 180.0, seed=seed, purpose=purpose).images
        for seed, purpose in ((0, "train"), (0, "train"), (1, "train"), (0, "test"))
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first != test).any()
    np.testing.assert_array_equal(rotate_split(split, 0.0, seed=0, purpose="train").images, split.images)


def test_load_turns_every_split_and_says_so():
    plain, turned = (data.load("digits", rotated=degrees) for degrees in (0.0, 180.0))
    for name in ("train", "validation", "test"):
        before, after = getattr(plain, name), getattr(turned, name)
        np.testing.assert_array_equal(before.labels, after.labels)
        assert (before.images != after.images).any()
    assert any("turned once" in note for note in turned.notes)
    assert not any("turned once" in note for note in plain.notes)


def test_bad_input(rng):
    images = smooth(rng)
    with pytest.raises(ValueError, match="rotated must be in"):
        rotate_split(Split(images, np.zeros(6, np.int32)), 200.0, seed=0, purpose="train")
    lazy = LazyImages(lambda i: images[i], images.shape)
    with pytest.raises(ValueError, match="decoded on demand"):
        rotate_split(Split(lazy, np.zeros(6, np.int32)), 20.0, seed=0, purpose="train")
