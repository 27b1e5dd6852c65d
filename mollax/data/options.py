"""Choosing images: classes, long tails, limits and seeded splits, as pure functions of `Split` and `RawData`.

Only labels are looked at, so `LazyImages` are never decoded here. Every draw comes from (seed, purpose)
alone, chosen
images keep their order, and quotas are exact: largest remainders, not independent coins.
"""

from __future__ import annotations

import difflib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int, Int32

from mollax.checks import in_range, positive_int
from mollax.data.dataset import LazyImages, RawData, Split


@dataclass(frozen=True)
class TakenDecode:
    """`decode` behind a list of positions: picklable, for worker processes."""

    decode: Callable[[int], np.ndarray]
    positions: np.ndarray

    def __call__(self, index: int) -> np.ndarray:
        return self.decode(int(self.positions[index]))


def take(split: Split, positions: Int[np.ndarray, " m"]) -> Split:
    """The images and labels at `positions`, in that order; images that are decoded on demand stay so."""
    images = split.images
    if not isinstance(images, LazyImages):
        return Split(images[positions], split.labels[positions])
    decode = images.decode
    if isinstance(decode, TakenDecode):  # one list of positions, however many times a split is cut
        taken = TakenDecode(decode.decode, decode.positions[positions])
    else:
        taken = TakenDecode(decode, np.asarray(positions))
    return Split(LazyImages(taken, (len(positions), *images.shape[1:])), split.labels[positions])


def evenly_spaced(total: int, count: int) -> Int[np.ndarray, " m"]:
    """Positions of `count` of `total` images, spread over all of them; every position if `count` is 0 or too large."""
    return np.linspace(0, total - 1, count).astype(np.int64) if 0 < count < total else np.arange(total)


def take_evenly(split: Split, count: int) -> Split:
    """`count` images of a split, evenly spread; all of them if it has no more or `count` is 0."""
    return take(split, evenly_spaced(len(split), count)) if 0 < count < len(split) else split


def check_labels(labels: Int32[np.ndarray, " n"], classes: int, *, name: str) -> None:
    """Raises ValueError at the first label that is not in [0, classes); `name` says where it was."""
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise ValueError(
            f"{name}: label {labels[wrong[0]]} of image {wrong[0]} is not in [0, {classes}); "
            f"{len(wrong)} of {len(labels)} labels are out of range. "
            "Labels count from 0, one class name each."
        )


def class_counts(split: Split, classes: int) -> Int[np.ndarray, " k"]:
    """Images per class."""
    return np.bincount(split.labels, minlength=classes)


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A generator of its own for each (seed, purpose), so that one draw never shifts another."""
    positive_int("seed", seed, minimum=0)
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])


def quotas(
    counts: Int[np.ndarray, " k"], total: int, *, low: Int[np.ndarray, " k"], high: Int[np.ndarray, " k"]
) -> Int[np.ndarray, " k"]:
    """`total` shared out in proportion to `counts` within [low, high]: largest remainders, ties to the first
    class.
    """
    exact = counts * (total / max(int(counts.sum()), 1))
    share = np.clip(np.floor(exact).astype(np.int64), low, high)
    while share.sum() < total and (share < high).any():
        share[np.argmax(np.where(share < high, exact - share, -np.inf))] += 1
    while share.sum() > total and (share > low).any():
        share[np.argmax(np.where(share > low, share - exact, -np.inf))] -= 1
    return share


def draw_per_class(
    labels: Int32[np.ndarray, " n"], wanted: Int[np.ndarray, " k"], *, rng: np.random.Generator
) -> Int[np.ndarray, " m"]:
    """Sorted positions of `wanted[c]` images of each class c, drawn without replacement."""
    chosen = [rng.permutation(np.flatnonzero(labels == c))[:n] for c, n in enumerate(wanted)]
    return np.sort(np.concatenate(chosen))


def stratified_split(
    split: Split, fraction: float, *, classes: int, seed: int, purpose: str = "validation"
) -> tuple[Split, Split]:
    """(rest, part): `part` has round(fraction n) images, each class in proportion, never a class's last
    image.

    Raises:
      ValueError: if `fraction` is not in (0, 1), or so small that `part` would be empty.
    """
    in_range(f"the {purpose} fraction", fraction, 0.0, 1.0, open_low=True, open_high=True)
    counts = class_counts(split, classes)
    total = round(fraction * len(split))
    share = quotas(counts, total, low=np.zeros_like(counts), high=np.maximum(counts - 1, 0))
    if share.sum() == 0:
        raise ValueError(
            f"A {purpose} fraction of {fraction:g} of {len(split)} images in {classes} classes "
            f"leaves {purpose} empty. "
            f"Raise {purpose}=..., or give the reader a {purpose} split of its own."
        )
    part = draw_per_class(split.labels, share, rng=generator(seed, purpose))
    rest = np.setdiff1d(np.arange(len(split)), part)
    return take(split, rest), take(split, part)


def halve(split: Split, *, classes: int, seed: int) -> tuple[Split, Split]:
    """Two halves of a split, each class in proportion, drawn by (seed, "half").

    Raises:
      ValueError: if the second half would be empty.
    """
    return stratified_split(split, 0.5, classes=classes, seed=seed, purpose="half")


def class_index(name: str | int, class_names: tuple[str, ...]) -> int:
    """The label of a class given by name or by index; raises ValueError naming the nearest name."""
    if isinstance(name, int) and not isinstance(name, bool):
        if 0 <= name < len(class_names):
            return name
        raise ValueError(f"Class index {name} is out of range: there are {len(class_names)} classes, from 0.")
    if name in class_names:
        return class_names.index(str(name))
    nearest = difflib.get_close_matches(str(name), class_names, n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    shown = ", ".join(map(repr, class_names[:10])) + (", ..." if len(class_names) > 10 else "")
    raise ValueError(f"No class is called {name!r}; the {len(class_names)} classes are {shown}.{hint}")


def keep_classes(raw: RawData, classes: Sequence[str | int]) -> RawData:
    """Only the images of `classes` (names, or integer indices), relabelled 0, 1, ... in the order given."""
    kept = [class_index(name, raw.class_names) for name in classes]
    if not kept:
        raise ValueError("classes must name at least one class.")
    if len(set(kept)) < len(kept):
        raise ValueError(f"classes names a class twice: {tuple(classes)!r}.")
    new_label = np.full(len(raw.class_names), -1, np.int32)
    new_label[kept] = np.arange(len(kept), dtype=np.int32)
    splits = {}
    for name, split in raw.splits.items():
        part = take(split, np.flatnonzero(new_label[split.labels] >= 0))
        splits[name] = replace(part, labels=new_label[part.labels])
    names = tuple(raw.class_names[k] for k in kept)
    note = f"kept {len(kept)} of {len(raw.class_names)} classes: {', '.join(names)}"
    ids = tuple(raw.class_ids[k] for k in kept) if raw.class_ids else ()
    return RawData(splits, names, raw.skipped, (*raw.notes, note), ids)


def long_tail_sizes(counts: Int[np.ndarray, " k"], rho: float) -> Int[np.ndarray, " k"]:
    """n_c = round(n_max rho^(-c / (K - 1))), rho = n_0 / n_(K-1) >= 1 (METHODS section 2: 5000 x 10^(-c/9)).

    n_max is the largest number for which every class has enough images: in a balanced set the class size.
    """
    in_range("long_tail", rho, 1.0)
    if len(counts) < 2:
        raise ValueError(f"long_tail needs at least two classes; got {len(counts)}.")
    decay = rho ** -(np.arange(len(counts)) / (len(counts) - 1))
    largest = int(np.floor(np.min(counts / decay) + 1e-9))
    sizes = np.minimum(np.rint(largest * decay).astype(np.int64), counts)
    if (sizes == 0).any():
        raise ValueError(
            f"long_tail={rho:g} leaves class {int(np.argmin(sizes))} without an image "
            f"(the largest class would have {largest}). Use a smaller long_tail or more images."
        )
    return sizes


def long_tail(split: Split, rho: float, *, classes: int, seed: int) -> Split:
    """`long_tail_sizes` images of each class, drawn by (seed, "long_tail")."""
    sizes = long_tail_sizes(class_counts(split, classes), rho)
    return take(split, draw_per_class(split.labels, sizes, rng=generator(seed, "long_tail")))


def limit_total(split: Split, limit: int, *, classes: int, seed: int) -> Split:
    """At most `limit` images, classes in proportion and none lost; drawn by (seed, "limit").

    Raises:
      ValueError: if `limit` is less than the number of classes that have images.
    """
    positive_int("limit", limit)
    if limit >= len(split):
        return split
    counts = class_counts(split, classes)
    present = int((counts > 0).sum())
    if limit < present:
        raise ValueError(
            f"limit={limit} is less than one image for each of {present} classes. Raise it, or use classes=."
        )
    share = quotas(counts, limit, low=np.minimum(counts, 1), high=counts)
    return take(split, draw_per_class(split.labels, share, rng=generator(seed, "limit")))


def limit_per_class(split: Split, limit: int, *, classes: int, seed: int) -> Split:
    """At most `limit` images of each class, drawn by (seed, "limit")."""
    positive_int("limit", limit)
    wanted = np.minimum(class_counts(split, classes), limit)
    return take(split, draw_per_class(split.labels, wanted, rng=generator(seed, "limit")))
