"""Moments in pieces against scikit-learn and NumPy on the whole, far from 0, from a file."""

import numpy as np
import pytest
from ood_distances import features
from sklearn.covariance import EmpiricalCovariance

from mollax.ood.scores.inputs import pieces
from mollax.ood.scores.moments import class_moments, second_moment


@pytest.mark.parametrize("rows", [7, 300, 1000])
def test_class_moments_against_scikit_learn(rows):
    data = features()
    counts, means, within = class_moments(data.train, data.labels, 4, rows=rows)
    np.testing.assert_array_equal(counts, np.bincount(data.labels))
    for label in range(4):
        np.testing.assert_allclose(means[label], data.train[data.labels == label].mean(axis=0), rtol=1e-12)
    centered = data.train - means[data.labels]
    np.testing.assert_allclose(within, EmpiricalCovariance(assume_centered=True).fit(centered).covariance_, atol=1e-12)


def test_second_moment_against_scikit_learn():
    data = features()
    origin = np.arange(12.0)
    expected = EmpiricalCovariance(assume_centered=True).fit(data.train - origin).covariance_
    np.testing.assert_allclose(second_moment(data.train, origin, rows=11), expected, rtol=1e-12)


def test_no_cancellation_far_from_zero():
    data = features()
    near = class_moments(data.train, data.labels, 4).within
    far = class_moments(data.train + 1e6, data.labels, 4).within
    np.testing.assert_allclose(far, near, atol=1e-7)


def test_a_file_is_read_in_pieces(tmp_path):
    data = features(n=50)
    np.save(tmp_path / "bank.npy", data.train.astype(np.float32))
    bank = np.load(tmp_path / "bank.npy", mmap_mode="r")
    parts = list(pieces(bank, rows=20))
    assert [len(part) for _, part in parts] == [20, 20, 10]
    assert {part.dtype for _, part in parts} == {np.dtype(np.float64)}
    from_file, from_memory = (class_moments(array, data.labels, 4) for array in (bank, np.array(bank)))
    np.testing.assert_array_equal(from_file.within, from_memory.within)


def test_a_class_without_examples_is_named():
    data = features(n=40)
    with pytest.raises(ValueError, match="2 of 6 have none, the first is class 4"):
        class_moments(data.train, data.labels, 6)
