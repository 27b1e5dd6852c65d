"""The embedded digits: what scikit-learn holds, in a split that nothing moves."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from mollax.data.dataset import ReadOptions
from mollax.data.digits import read_digits
from mollax.data.duplicates import content_hashes


def test_every_digit_is_there_once_with_its_label():
    raw = read_digits(None, ReadOptions())
    bunch = load_digits()
    ours = np.concatenate([raw.splits[s].images for s in ("train", "test")])
    labels = np.concatenate([raw.splits[s].labels for s in ("train", "test")])
    assert ours.shape == (1797, 8, 8, 1)
    # Undo the scaling: 16 levels are far enough apart in 8 bit.
    back = np.rint(ours[..., 0] / 255 * 16).astype(int)
    found = sorted((image.tobytes(), int(label)) for image, label in zip(back, labels, strict=True))
    expected = zip(bunch.images.astype(int), bunch.target, strict=True)
    assert found == sorted((image.tobytes(), int(label)) for image, label in expected)
    assert ours.max() == 255
    assert raw.class_names == tuple("0123456789")


def test_split_is_stratified_and_independent_of_the_seed():
    first, second = (read_digits("", ReadOptions(seed=seed)) for seed in (0, 7))
    test = first.splits["test"]
    assert (len(first.splits["train"]), len(test)) == (1438, 359)
    counts = np.bincount(load_digits().target)
    assert np.abs(np.bincount(test.labels) - 0.2 * counts).max() < 1
    np.testing.assert_array_equal(test.images, second.splits["test"].images)
    assert not set(content_hashes(test.images)) & set(content_hashes(first.splits["train"].images))


def test_options_apply():
    raw = read_digits(None, ReadOptions(image_size=16, channels=3))
    assert raw.splits["test"].images.shape == (359, 16, 16, 3)
    assert "test: 359 images gray repeated to RGB" in raw.notes


def test_a_path_is_refused():
    with pytest.raises(ValueError, match="built into scikit-learn and read no file; got path='/data'"):
        read_digits("/data", ReadOptions())
