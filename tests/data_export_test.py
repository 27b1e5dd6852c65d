"""Images and folders of commands that write files."""

import numpy as np
import pytest

from mollax.data import Dataset, Split
from mollax.data.export import choose, class_folders


@pytest.fixture
def dataset(rng):
    split = Split(rng.integers(0, 255, (11, 4, 4, 3), dtype=np.uint8), np.arange(11, dtype=np.int32) % 2)
    return Dataset("pets", split, split, split, ("cat", "dog"))


def test_images_are_those_that_an_evaluation_takes(dataset):
    chosen = choose(dataset, "test", 4)
    np.testing.assert_array_equal(chosen.images, dataset.test.images[[0, 3, 6, 10]])
    assert len(choose(dataset, "validation", 0)) == 11
    with pytest.raises(ValueError, match="--images must be at least 0; got -1"):
        choose(dataset, "test", -1)


def test_every_class_has_a_folder_of_its_own(dataset):
    test = dataset.test
    odd = Dataset("odd", test, test, test, ("a/b", "a:b", ".git", "Ä (x)", "CON?", ""))
    assert class_folders(odd) == ("a_b (0)", "a_b (1)", "_git", "Ä (x)", "CON_", "_")
    known = Dataset("tiny", test, test, test, ("fish", "crane"), class_ids=("n01", "n02"))
    assert class_folders(known) == ("n01", "n02")
