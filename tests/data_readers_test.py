"""The table of readers: paths that must exist, arguments that belong to one reader only."""

import numpy as np
import pytest

from mollax.data import ReadOptions
from mollax.data.readers import READERS, SPECIFIC, check_options, check_path, check_specific


def test_a_reader_without_source_takes_no_path(tmp_path):
    assert check_path("digits", None) is None
    assert check_path("digits", "") is None
    assert check_path("folder", tmp_path) == tmp_path


def test_a_missing_path_says_what_to_give_and_that_nothing_is_downloaded():
    with pytest.raises(ValueError, match=r"idx reader needs data\.path=.*MNIST.*mollax downloads nothing"):
        check_path("idx", None)
    with pytest.raises(FileNotFoundError, match=r"data\.path='nowhere' does not exist.*mollax downloads nothing"):
        check_path("tiny_imagenet", "nowhere")


def test_arguments_of_another_reader_are_refused():
    assert check_specific("sprites", {**SPECIFIC, "angles": "90"})["angles"] == "90"
    assert check_specific("digits", dict(SPECIFIC)) == {}
    with pytest.raises(ValueError, match="label_kind='coarse' belongs to the cifar reader; the idx reader does not"):
        check_specific("idx", {**SPECIFIC, "label_kind": "coarse"})


def test_tfds_needs_a_name(tmp_path):
    with pytest.raises(ValueError, match=r"needs data\.name="):
        READERS["tfds"].read(tmp_path, ReadOptions(), name="")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"image_size": 0}, "image_size must be at least 1"),
        ({"channels": 4}, r"channels must be 1 \(gray\), 3 \(RGB\) or None"),
        ({"resize": "strech"}, "Did you mean 'stretch'"),
        ({"alpha": "black"}, "alpha must be one of"),
        ({"on_bad_image": "skp"}, "Did you mean 'skip'"),
        ({"seed": -1}, "split_seed must be at least 0"),
    ],
)
def test_every_option_is_checked(options, message):
    with pytest.raises(ValueError, match=message):
        check_options(ReadOptions(**options))


def test_embedded_digits_come_through_the_table():
    raw = READERS["digits"].read(None, ReadOptions())
    assert raw.splits["train"].images.dtype == np.uint8
    assert len(raw.class_names) == 10
