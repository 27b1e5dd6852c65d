"""What every score refuses to be fitted on, by message; and that looking at it takes little memory."""

import tracemalloc

import numpy as np
import pytest

from mollax.ood.head import Head
from mollax.ood.scores import inputs, knn, mahalanobis, relative_mahalanobis, tv
from mollax.ood.scores.inputs import check_fit


def good():
    rng = np.random.default_rng(0)
    return {
        "features": rng.normal(size=(6, 4)).astype(np.float32),
        "logits": rng.normal(size=(6, 3)).astype(np.float32),
        "labels": np.array([0, 1, 2, 0, 1, 2], np.int32),
        "head": Head(np.zeros((4, 3), np.float32), np.zeros(3, np.float32)),
    }


def test_what_belongs_together_passes():
    check_fit(**good())
    check_fit(**{**good(), "head": None})


@pytest.mark.parametrize(
    "change, message",
    [
        ({"features": np.zeros((5, 4), np.float32)}, "features has 5, logits has 6"),
        ({"features": np.zeros((6, 4, 1), np.float32)}, "features must have 2 axes"),
        ({"labels": np.array([0, 1, 2, 0, 1, 3], np.int32)}, r"labels must be in 0 \.\. 2.*got 0 \.\. 3"),
        ({"labels": np.array([0, 1, 2, 0, 1, -1], np.int32)}, r"got -1 \.\. 2"),
        ({"head": Head(np.zeros((5, 3), np.float32), np.zeros(3, np.float32))}, "maps 5 features to 3 logits"),
        ({"features": np.full((6, 4), np.nan, np.float32)}, "features of 6 examples are not finite"),
        ({"logits": np.full((6, 3), np.inf, np.float32)}, "logits of 6 examples are not finite, the first is number 0"),
    ],
)
def test_bad_input(unhooked, change, message):
    with pytest.raises(ValueError, match=message):
        check_fit(**{**good(), **change})


def test_nothing_at_all(unhooked):
    with pytest.raises(ValueError, match="needs examples to be fitted on; got none"):
        check_fit(np.zeros((0, 4)), np.zeros((0, 3)), np.zeros(0, np.int32), None)


def test_rows_that_are_not_finite_are_counted_over_pieces(unhooked, monkeypatch):
    monkeypatch.setattr(inputs, "ROWS", 2)
    given = good()
    given["features"][[3, 5], 1] = np.inf, np.nan
    with pytest.raises(ValueError, match="features of 2 examples are not finite, the first is number 3"):
        check_fit(**given)


@pytest.mark.parametrize("module", [inputs, knn, mahalanobis, relative_mahalanobis, tv])
def test_a_bank_on_disk_is_read_in_pieces(tmp_path, monkeypatch, module):
    """The peak of all that NumPy takes is a small part of the bank: an entry a row, and a piece."""
    monkeypatch.setattr(inputs, "ROWS", 256)
    bank = np.lib.format.open_memmap(tmp_path / "bank.npy", mode="w+", dtype=np.float32, shape=(60_000, 64))
    bank[:] = np.random.default_rng(0).normal(size=(1000, 64)).astype(np.float32)[np.arange(60_000) % 1000]
    logits = np.zeros((60_000, 63 if module is tv else 2), np.float32)
    labels = np.arange(60_000, dtype=np.int32) % 2
    look = check_fit if module is inputs else module.fit
    look(np.array(bank[:200]), logits[:200], labels[:200], None)  # what is made once
    tracemalloc.start()
    try:
        look(bank, logits, labels, None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < bank.nbytes / 8
