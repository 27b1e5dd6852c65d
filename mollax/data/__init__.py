"""Labelled images: readers, options and the loader.

Images are NHWC uint8 in [0, 255] in storage, gray (1 channel) or RGB (3), all of one square size; labels are
int32 in [0, classes). `load` gives three disjoint splits and records in `Dataset.notes` whatever it did to
the data. Nothing is ever downloaded.
"""

from mollax.data.corrupted import CorruptedArrays, CorruptedFolders, read_corrupted
from mollax.data.dataset import Dataset, LazyImages, RawData, ReadOptions, Skip, Split
from mollax.data.foreign import Foreign, join, load_foreign, without_shared
from mollax.data.load import describe, load
from mollax.data.options import halve, take_evenly

__all__ = [
    "CorruptedArrays",
    "CorruptedFolders",
    "Dataset",
    "Foreign",
    "LazyImages",
    "RawData",
    "ReadOptions",
    "Skip",
    "Split",
    "describe",
    "halve",
    "join",
    "load",
    "load_foreign",
    "read_corrupted",
    "take_evenly",
    "without_shared",
]
