"""The embedded set: scikit-learn's 1,797 handwritten digits, 8x8 gray, ten classes. Needs no file and no
network.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from mollax.data.dataset import RawData, ReadOptions, Split
from mollax.data.options import stratified_split
from mollax.data.pixels import conform

TEST_FRACTION = 0.2
# A constant, not options.seed: results on "the digits test set" must compare across runs and configurations.
TEST_SEED = 0


def read_digits(path: str | Path | None, options: ReadOptions) -> RawData:
    """The digits as uint8 round(255 v / 16) for stored v in 0..16 (halves to even), a fixed stratified 80/20
    split.

    The set comes without splits: the test part (359 images) is drawn once with a constant seed, so it depends
    on no seed and no option.

    Raises:
      ValueError: if a path is given.
    """
    if path:
        raise ValueError(
            f"The digits are built into scikit-learn and read no file; got path={str(path)!r}. Leave path empty."
        )
    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    whole = Split(images, bunch.target.astype(np.int32))
    train, test = stratified_split(whole, TEST_FRACTION, classes=10, seed=TEST_SEED, purpose="test")
    notes = (f"digits: a fixed stratified split, {len(train)} train and {len(test)} test images",)
    return conform(RawData({"train": train, "test": test}, tuple("0123456789"), notes=notes), options)
