"""Data order is a pure function of (seed, step), the same for resident and streamed data."""

import dataclasses

import jax
import numpy as np
import pytest

from mollax.data import LazyImages, Split
from mollax.data.pipeline import PairedBatches, ResidentBatches, StreamedBatches, create_batches, order
from mollax.step import fetch


@dataclasses.dataclass(frozen=True)
class Numbered:
    """Image i is filled with i; picklable, so workers can decode it."""

    def __call__(self, index: int) -> np.ndarray:
        return np.full((2, 2, 1), index, np.uint8)


def numbered(count):
    labels = np.arange(count, dtype=np.int32)
    return Split(np.stack([Numbered()(i) for i in range(count)]), labels)


def lazy(count):
    return Split(LazyImages(Numbered(), (count, 2, 2, 1)), np.arange(count, dtype=np.int32))


def test_every_epoch_holds_every_example_once_in_another_order():
    epochs = order(3, 0, 30, 10).reshape(3, 10)
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(10))
    assert (epochs[0] != epochs[1]).any()


def test_order_depends_on_position_and_seed_only():
    whole = order(3, 0, 100, 7)
    np.testing.assert_array_equal(whole[23:61], order(3, 23, 61, 7))
    assert (order(4, 0, 100, 7) != whole).any()


def labels_of(batches, taken):
    if "index" in taken:
        return np.asarray(batches.data["label"])[taken["index"]]
    return taken["label"]


@pytest.mark.parametrize("split", [numbered(11), lazy(11)])
def test_resident_and_streamed_batches_agree_and_may_start_anywhere(split):
    resident = ResidentBatches(split, batch_size=8, seed=5)
    streamed = StreamedBatches(split, batch_size=8, seed=5)
    devices = jax.local_device_count()
    for step, count in ((0, 2), (2, 1), (17, 3)):
        a, b = resident.take(step, count), streamed.take(step, count)
        assert b["image"].shape == (devices, count, 8 // devices, 2, 2, 1)
        np.testing.assert_array_equal(labels_of(resident, a), labels_of(streamed, b))
        np.testing.assert_array_equal(b["image"][..., 0, 0, 0], b["label"])
        # Step by step and slice by slice, devices hold the batch in order.
        expected = order(5, step * 8, (step + count) * 8, 11).reshape(count, 8)
        np.testing.assert_array_equal(np.moveaxis(b["label"], 0, 1).reshape(count, 8), expected)


def test_worker_processes_keep_the_order():
    split = lazy(37)
    alone = StreamedBatches(split, batch_size=8, seed=1).take(3, 6)
    helped = StreamedBatches(split, batch_size=8, seed=1, workers=2).take(3, 6)
    np.testing.assert_array_equal(alone["label"], helped["label"])
    np.testing.assert_array_equal(alone["image"], helped["image"])


def test_size_decides_where_data_live():
    split = numbered(100)
    assert isinstance(create_batches(split, batch_size=4, seed=0), ResidentBatches)
    assert isinstance(create_batches(split, batch_size=4, seed=0, limit_mib=0), StreamedBatches)
    assert isinstance(create_batches(split, batch_size=4, seed=0, memory="stream"), StreamedBatches)
    assert isinstance(create_batches(split, batch_size=4, seed=0, memory="device", limit_mib=0), ResidentBatches)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"memory": "gpu"}, "data.memory must be one of"),
        ({"batch_size": 6}, "multiple of the number of devices, 4; got 6"),
        ({"batch_size": 0}, "train.batch_size must be at least 1"),
        ({"memory": "stream", "workers": -1}, "data.workers must be at least 0"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(ValueError, match=message):
        create_batches(numbered(10), **{"batch_size": 4, "seed": 0, **options})


def test_outliers_come_beside_the_images_in_an_order_of_their_own():
    images, outliers = numbered(11), lazy(7)
    paired = PairedBatches(
        create_batches(images, batch_size=8, seed=5), create_batches(outliers, batch_size=4, seed=5, memory="stream")
    )
    taken = paired.take(3, 2)
    alone = StreamedBatches(outliers, batch_size=4, seed=5).take(3, 2)
    np.testing.assert_array_equal(taken["outlier"]["image"], alone["image"])
    # What the step makes of it: labelled images looked up, outliers reduced to images.
    first = jax.tree.map(lambda leaf: leaf[0, 0], taken)
    found = fetch(first, paired.data)
    assert set(found) == {"image", "label", "outlier"}
    np.testing.assert_array_equal(found["image"][:, 0, 0, 0], found["label"])
    np.testing.assert_array_equal(found["outlier"], alone["image"][0, 0])
