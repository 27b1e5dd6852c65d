"""TinyImageNet in its original layout, from tiny-imagenet-200.zip or the folder unpacked from it.

The labels of its test images were never published, so its val images are our test set (METHODS section 1);
validation images are cut from train by `mollax.data.load`. Gray images are 1-channel JPEG files.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mollax.data.dataset import RawData, ReadOptions
from mollax.data.decode import decode_splits
from mollax.data.folder import Files, Tree, is_image, list_tree, strip_top

ORIGINAL = "the original tiny-imagenet-200.zip, or the folder unpacked from it"
VAL_IS_TEST = "the original val images are the test set (the original test set has no public labels)"
PER_CLASS = 500

Records = dict[str, list[tuple[str, int]]]


@dataclass(frozen=True)
class TinyFiles:
    """Where every image is and what it shows.

    Attributes:
      files: opens the keys of `records`.
      wnids: WordNet ids in sorted order; the label is the position here.
      class_names: the first word for each, with its id where two share it.
      records: (key, label) pairs of "train" and "test", the latter being the original val.
      notes: what was passed over.
    """

    files: Files
    wnids: tuple[str, ...]
    class_names: tuple[str, ...]
    records: Records
    notes: tuple[str, ...]


def _lines(tree: Tree, name: str) -> list[str]:
    if name not in tree.keys:
        raise FileNotFoundError(f"{tree.files.path} holds no {name}. Expected {ORIGINAL}.")
    return tree.files.text(tree.keys[name]).splitlines()


def _read_wnids(tree: Tree) -> tuple[str, ...]:
    wnids = [line.strip() for line in _lines(tree, "wnids.txt") if line.strip()]
    twice = [wnid for wnid, count in Counter(wnids).items() if count > 1]
    if twice or not wnids:
        problem = f"names {twice[0]} twice" if twice else "is empty"
        raise ValueError(f"{tree.files.path}: wnids.txt {problem}. Expected one WordNet id a line.")
    return tuple(sorted(wnids))


def class_words(lines: Sequence[str], wnids: Sequence[str], where: str) -> tuple[str, ...]:
    """The first word that words.txt gives for each id, as "crane (n03126707)" where two ids share it.

    Raises:
      ValueError: for a line that is not an id, a tab and words, or an id without a line.
    """
    words = {}
    for number, line in enumerate(lines, 1):
        wnid, tab, synonyms = line.partition("\t")
        first = synonyms.split(",")[0].strip()
        if line.strip() and not (tab and first):
            raise ValueError(f"{where}, line {number}: expected an id, a tab and words; got {line!r}.")
        words[wnid] = first
    missing = [wnid for wnid in wnids if wnid not in words]
    if missing:
        raise ValueError(f"{where} has no line for {missing[0]} ({len(missing)} of {len(wnids)} ids are missing).")
    counts = Counter(words[wnid] for wnid in wnids)
    return tuple(f"{words[wnid]} ({wnid})" if counts[words[wnid]] > 1 else words[wnid] for wnid in wnids)


def _train_records(tree: Tree, labels: Mapping[str, int]) -> list[tuple[str, int]]:
    """Images of train/<wnid>/images, in sorted order."""
    found: dict[str, list[str]] = {wnid: [] for wnid in labels}
    for name in sorted(name for name in tree.keys if name.startswith("train/") and is_image(name)):
        _, wnid, *rest = name.split("/")
        if wnid not in labels:
            raise ValueError(f"{tree.files.where(name)}: {wnid!r} is not among the ids of wnids.txt.")
        if len(rest) != 2 or rest[0] != "images":
            raise ValueError(f"{tree.files.where(name)} is not in train/<id>/images. Expected {ORIGINAL}.")
        found[wnid].append(tree.keys[name])
    empty = [wnid for wnid, keys in found.items() if not keys]
    if empty:
        raise ValueError(
            f"{tree.files.path} holds no training images of {empty[0]} ({len(empty)} of {len(labels)} "
            f"classes have none). Expected {ORIGINAL}."
        )
    return [(key, labels[wnid]) for wnid, keys in found.items() for key in keys]


def _val_records(tree: Tree, labels: Mapping[str, int]) -> list[tuple[str, int]]:
    """Images of val/images, in the order of val_annotations.txt: file, id and the four numbers of a box."""
    annotations = "val/val_annotations.txt"
    where = tree.files.where(annotations)
    records: dict[str, int] = {}
    for number, line in enumerate(_lines(tree, annotations), 1):
        if not line.strip():
            continue
        fields = line.split("\t")
        if len(fields) != 6:
            raise ValueError(f"{where}, line {number}: expected file, id and four numbers between tabs; got {line!r}.")
        name, wnid = f"val/images/{fields[0]}", fields[1]
        if wnid not in labels:
            raise ValueError(f"{where}, line {number}: {wnid!r} is not among the ids of wnids.txt.")
        if name not in tree.keys:
            raise FileNotFoundError(f"{where}, line {number}: {tree.files.where(name)} does not exist.")
        if tree.keys[name] in records:
            raise ValueError(f"{where}, line {number}: {fields[0]} is listed twice.")
        records[tree.keys[name]] = labels[wnid]
    if not records:
        raise ValueError(f"{where} lists no images. Expected {ORIGINAL}.")
    images = [name for name in tree.keys if name.startswith("val/images/") and is_image(name)]
    without = sorted(name for name in images if tree.keys[name] not in records)
    if without:
        raise ValueError(f"{where} has no line for {without[0]} ({len(without)} of {len(images)} images).")
    return list(records.items())


def _size_notes(tree: Tree, records: Records) -> Iterator[str]:
    counts = Counter(label for _, label in records["train"]).values()
    low, high = min(counts), max(counts)
    if (low, high) != (PER_CLASS, PER_CLASS):
        held = str(low) if low == high else f"{low} to {high}"
        yield f"{held} training images per class; the original has {PER_CLASS}"
    yield VAL_IS_TEST
    unlabelled = sum(name.startswith("test/") and is_image(name) for name in tree.keys)
    if unlabelled:
        yield f"{unlabelled:,} test images without labels ignored"


def list_tiny_imagenet(path: Path) -> TinyFiles:
    """What the zip or folder holds; no image is read.

    Raises:
      FileNotFoundError: if `path`, one of its three text files or an image that they list is missing.
      ValueError: for a malformed line, an unknown id, a class without training images or an unlabelled image.
    """
    tree = strip_top(list_tree(Path(path)))
    wnids = _read_wnids(tree)
    names = class_words(_lines(tree, "words.txt"), wnids, tree.files.where("words.txt"))
    labels = {wnid: label for label, wnid in enumerate(wnids)}
    records = {"train": _train_records(tree, labels), "test": _val_records(tree, labels)}
    return TinyFiles(tree.files, wnids, names, records, (*tree.notes, *_size_notes(tree, records)))


def duplicate_notes(files: Files, records: Records) -> Iterator[str]:
    """Notes on files with the same bytes, in train and test or both in train, which validation comes from."""
    hashes: dict[str, list[bytes]] = {split: [] for split in records}
    for split, pairs in records.items():
        for key, _ in pairs:
            with contextlib.suppress(OSError), files.open(key) as file:  # a bad file that was skipped
                hashes[split].append(hashlib.blake2b(file.read(), digest_size=16).digest())
    known = set(hashes["train"])
    shared = sum(value in known for value in hashes["test"])
    copies = len(hashes["train"]) - len(known)
    if shared:
        yield f"{shared:,} of {len(hashes['test']):,} test images are also in train, byte for byte"
    if copies:
        yield f"{copies:,} of {len(hashes['train']):,} training images repeat another one, byte for byte"


def read_tiny_imagenet(path: Path, options: ReadOptions) -> RawData:
    """Reads "train" and "test" (the original val) of TinyImageNet; fewer than 500 images a class are noted.

    `options.channels` None means 3 here: gray images are repeated to RGB, and counted in a note. Images that
    train and test share byte for byte are counted, not removed.

    Raises:
      FileNotFoundError, ValueError: see `list_tiny_imagenet`.
      BadImageError: at the first bad image, unless `options.on_bad_image` is "skip".
    """
    tiny = list_tiny_imagenet(path)
    options = replace(options, channels=options.channels or 3)
    splits, skipped, converted = decode_splits(tiny.files, tiny.records, options, tiny.class_names)
    shared = duplicate_notes(tiny.files, tiny.records)
    return RawData(splits, tiny.class_names, skipped, (*tiny.notes, *converted, *shared), tiny.wnids)
