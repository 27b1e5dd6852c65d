"""Choosing images: exact class sizes, seeds, order, and no decoding on the way."""

import pickle
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mollax.data.dataset import LazyImages, RawData, Split
from mollax.data.options import (
    check_labels,
    class_counts,
    evenly_spaced,
    keep_classes,
    limit_per_class,
    limit_total,
    long_tail,
    long_tail_sizes,
    quotas,
    stratified_split,
    take,
)


@dataclass
class Counting:
    """Image i is filled with i; remembers what was asked for."""

    calls: list = field(default_factory=list)

    def __call__(self, index: int) -> np.ndarray:
        self.calls.append(index)
        return np.full((2, 2, 1), index, np.uint8)


def make(counts: list[int], *, lazy: bool = False) -> Split:
    """Images numbered in order, labels shuffled."""
    labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    np.random.default_rng(0).shuffle(labels)
    n = len(labels)
    if lazy:
        return Split(LazyImages(Counting(), (n, 2, 2, 1)), labels)
    return Split((np.zeros((n, 2, 2, 1)) + np.arange(n)[:, None, None, None]).astype(np.uint8), labels)


def numbers(split: Split) -> list[int]:
    return [int(split.images[i][0, 0, 0]) for i in range(len(split))]


def test_take_composes_without_decoding_and_pickles():
    split = make([6, 6], lazy=True)
    twice = take(take(split, np.arange(10, 0, -2)), np.array([3, 0]))
    assert split.images.decode.calls == []
    assert twice.images.decode.decode is split.images.decode  # one list of positions, not two
    assert numbers(twice) == [4, 10]
    np.testing.assert_array_equal(twice.labels, split.labels[[4, 10]])
    assert pickle.loads(pickle.dumps(twice.images.decode))(1)[0, 0, 0] == 10


@pytest.mark.parametrize("lazy", [False, True])
def test_stratified_split_is_exact_disjoint_and_ordered(lazy):
    split = make([40, 20, 10], lazy=lazy)
    rest, part = stratified_split(split, 0.1, classes=3, seed=0)
    if lazy:
        assert split.images.decode.calls == []
    assert class_counts(part, 3).tolist() == [4, 2, 1]
    assert sorted(numbers(rest) + numbers(part)) == list(range(70))
    assert numbers(part) == sorted(numbers(part))
    for piece in (rest, part):
        np.testing.assert_array_equal(piece.labels, split.labels[numbers(piece)])


def test_stratified_split_depends_on_seed_and_purpose_only():
    split = make([30, 30])
    first = numbers(stratified_split(split, 0.2, classes=2, seed=0)[1])
    assert first == numbers(stratified_split(split, 0.2, classes=2, seed=0)[1])
    assert first != numbers(stratified_split(split, 0.2, classes=2, seed=1)[1])
    assert first != numbers(stratified_split(split, 0.2, classes=2, seed=0, purpose="test")[1])


@given(st.lists(st.integers(1, 30), min_size=2, max_size=6), st.floats(0.05, 0.95))
@settings(max_examples=40, deadline=None)
def test_split_never_empties_a_class_of_the_rest(counts, fraction):
    split = make(counts)
    wanted = round(fraction * len(split))
    possible = min(wanted, sum(c - 1 for c in counts))
    if possible == 0:
        with pytest.raises(ValueError, match="leaves validation empty"):
            stratified_split(split, fraction, classes=len(counts), seed=3)
        return
    rest, part = stratified_split(split, fraction, classes=len(counts), seed=3)
    assert len(part) == possible
    assert (class_counts(rest, len(counts)) > 0).all()
    if possible == wanted and min(counts) > 1 and fraction < 0.5:
        assert np.abs(class_counts(part, len(counts)) - fraction * np.array(counts)).max() < 1.5


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.integers(0, 400))
@settings(max_examples=40, deadline=None)
def test_quotas_reach_the_total_within_bounds(counts, total):
    counts = np.array(counts)
    share = quotas(counts, total, low=np.minimum(counts, 1), high=counts)
    assert (share >= np.minimum(counts, 1)).all()
    assert (share <= counts).all()
    assert share.sum() == np.clip(total, np.minimum(counts, 1).sum(), counts.sum())


def test_long_tail_is_the_formula_of_methods():
    sizes = long_tail_sizes(np.full(10, 5000), 10.0)
    np.testing.assert_array_equal(sizes, np.rint(5000 * 10 ** (-np.arange(10) / 9)))
    assert sizes[0] == 5000
    assert sizes[-1] == 500
    np.testing.assert_array_equal(long_tail_sizes(np.full(4, 7), 1.0), [7, 7, 7, 7])


def test_long_tail_of_an_unbalanced_set_keeps_the_profile():
    sizes = long_tail_sizes(np.array([100, 40, 100]), 4.0)  # class 1 has 40 = n_max / 2
    np.testing.assert_array_equal(sizes, [80, 40, 20])


def test_long_tail_draws_by_seed():
    split = make([50, 50, 50], lazy=True)
    cut = long_tail(split, 25.0, classes=3, seed=0)
    assert class_counts(cut, 3).tolist() == [50, 10, 2]
    assert split.images.decode.calls == []
    assert numbers(cut) == numbers(long_tail(split, 25.0, classes=3, seed=0))
    assert numbers(cut) != numbers(long_tail(split, 25.0, classes=3, seed=1))


def test_limits():
    split = make([60, 30, 10])
    assert class_counts(limit_total(split, 10, classes=3, seed=0), 3).tolist() == [6, 3, 1]
    assert class_counts(limit_total(split, 3, classes=3, seed=0), 3).tolist() == [1, 1, 1]
    assert limit_total(split, 100, classes=3, seed=0) is split
    assert class_counts(limit_per_class(split, 20, classes=3, seed=0), 3).tolist() == [20, 20, 10]


@pytest.mark.parametrize(
    "total, count, expected",
    [(9, 3, [0, 4, 8]), (9, 4, [0, 2, 5, 8]), (3, 1, [0]), (3, 3, [0, 1, 2]), (3, 0, [0, 1, 2]), (3, 7, [0, 1, 2])],
)
def test_evenly_spaced_positions_reach_both_ends(total, count, expected):
    assert evenly_spaced(total, count).tolist() == expected


def test_keep_classes_by_name_and_index_relabels_in_order():
    split = make([3, 4, 5])
    raw = RawData({"train": split}, ("cat", "dog", "eel"), notes=("before",), class_ids=("n1", "n2", "n3"))
    kept = keep_classes(raw, ["eel", 0])
    assert kept.class_names == ("eel", "cat")
    assert kept.class_ids == ("n3", "n1")
    assert kept.notes == ("before", "kept 2 of 3 classes: eel, cat")
    part = kept.splits["train"]
    assert class_counts(part, 2).tolist() == [5, 3]
    old = np.array([2, 0])[part.labels]
    np.testing.assert_array_equal(old, split.labels[numbers(part)])
    assert part.labels.dtype == np.int32


def test_bad_input():
    raw = RawData({"train": make([3, 3])}, ("cat", "dog"))
    with pytest.raises(ValueError, match=r"No class is called 'dgo'; .*Did you mean 'dog'"):
        keep_classes(raw, ["dgo"])
    with pytest.raises(ValueError, match="Class index 2 is out of range: there are 2 classes"):
        keep_classes(raw, [2])
    with pytest.raises(ValueError, match="names a class twice"):
        keep_classes(raw, ["cat", 0])
    with pytest.raises(ValueError, match="at least one class"):
        keep_classes(raw, [])
    with pytest.raises(ValueError, match="limit=2 is less than one image for each of 3 classes"):
        limit_total(make([5, 5, 5]), 2, classes=3, seed=0)
    with pytest.raises(ValueError, match=r"long_tail must be in \[1, inf\); got 0.5"):
        long_tail_sizes(np.array([5, 5]), 0.5)
    with pytest.raises(ValueError, match="long_tail=100 leaves class 1 without an image"):
        long_tail_sizes(np.array([5, 5]), 100.0)
    with pytest.raises(ValueError, match="at least two classes"):
        long_tail_sizes(np.array([5]), 2.0)
    with pytest.raises(ValueError, match=r"validation fraction must be in \(0, 1\); got 1.0"):
        stratified_split(make([5, 5]), 1.0, classes=2, seed=0)
    with pytest.raises(ValueError, match="seed must be at least 0; got -1"):
        stratified_split(make([5, 5]), 0.5, classes=2, seed=-1)
    with pytest.raises(ValueError, match=r"train: label 7 of image 1 is not in \[0, 5\); 1 of 2"):
        check_labels(np.array([0, 7], np.int32), 5, name="train")
