"""What every reader returns and every consumer takes: labelled 8-bit images in named splits.

Images are NHWC uint8, labels int32 in [0, classes). A split's images are either one array or `LazyImages`, which
decodes an image when it is asked for; both index with an integer and have `shape` and `nbytes`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int32, UInt8


@dataclass(frozen=True)
class LazyImages:
    """Images decoded on demand, for sets that do not fit in memory.

    `decode(i)` returns image i as uint8 (h, w, c) and must be picklable, so that worker processes can call it.
    """

    decode: Callable[[int], np.ndarray]
    shape: tuple[int, int, int, int]

    @property
    def nbytes(self) -> int:
        """Bytes of all images once decoded."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int | np.integer) -> UInt8[np.ndarray, "h w c"]:
        return self.decode(int(index))


Images = np.ndarray | LazyImages


@dataclass(frozen=True)
class Split:
    """Images (n, h, w, c) uint8 and their labels (n,)."""

    images: Images
    labels: Int32[np.ndarray, " n"]

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise ValueError(
                f"A split needs one label per image; got {len(self.images)} images and {len(self.labels)} labels."
            )

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Skip:
    """One input that was left out: where it was and why."""

    where: str
    reason: str


@dataclass(frozen=True)
class ReadOptions:
    """How images are brought to one shape, and what happens to those that resist.

    Attributes:
      image_size: side in pixels of the square result; None keeps the stored size, which must then be one and the same.
      resize: "stretch" (both sides to `image_size`) or "crop" (short side to `image_size`, then the centre).
      channels: 1, 3, or None to keep what is stored, which must then be one and the same.
      alpha: what to do with an alpha channel: "raise", "drop" it, or blend onto "white".
      on_bad_image: "raise" at the first unreadable image, or "skip" it, counted and listed.
      seed: for readers that draw (a split, a drawn figure).
    """

    image_size: int | None = None
    resize: str = "stretch"
    channels: int | None = None
    alpha: str = "raise"
    on_bad_image: str = "raise"
    seed: int = 0


@dataclass(frozen=True)
class RawData:
    """What a reader found: the splits that exist ("train", "validation", "test"), before any option is applied.

    `class_ids` as in `Dataset`.
    """

    splits: dict[str, Split]
    class_names: tuple[str, ...]
    skipped: tuple[Skip, ...] = ()
    notes: tuple[str, ...] = ()
    class_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """Three disjoint splits of one image set.

    Attributes:
      name: what to call it in tables.
      train, validation, test: the splits; anything tuned is tuned on validation.
      class_names: one name per label.
      skipped: inputs left out, each with its reason.
      notes: every change made on the way ("12 gray images repeated to RGB"), to be printed and reported.
      class_ids: the WordNet id of each class, by which folders of other sets name it; empty where there are none.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    skipped: tuple[Skip, ...] = ()
    notes: tuple[str, ...] = field(default=())
    class_ids: tuple[str, ...] = ()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image."""
        _, height, width, channels = self.train.images.shape
        return (height, width, channels)
