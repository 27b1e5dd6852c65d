"""Data sets of the tensorflow-datasets catalogue, read without TensorFlow.

tfds reads record files without TensorFlow if they were prepared as `array_record`, and prepares them without
it if their builder hands over encoded image bytes. Builders that hand over arrays (mnist, cifar10, ...) need
TensorFlow once, to prepare; reading them does not. Reading never downloads: `prepare_tfds` alone does.
"""

from __future__ import annotations

import difflib
import functools
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mollax.data.dataset import RawData, ReadOptions
from mollax.data.decode import ByteFile, decode_splits
from mollax.data.tiny_imagenet import VAL_IS_TEST

SPLITS = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
TINY = "tiny_imagenet200"


@functools.lru_cache(maxsize=16)
def _examples(name: str, data_dir: str, image: str, split: str, process: int) -> Sequence[Any]:
    """Examples of a split, images as stored bytes; one handle per process, as forked ones would share it."""
    import tensorflow_datasets as tfds

    builder = _builder(name, data_dir)
    skip = isinstance(builder.info.features[image], tfds.features.Image)
    decoders = {image: tfds.decode.SkipDecoding()} if skip else None
    return builder.as_data_source(split, decoders=decoders)


@dataclass(frozen=True)
class Records:
    """Encoded images of a prepared data set; a key is (split, position)."""

    name: str
    data_dir: str
    image: str

    def example(self, key: tuple[str, int]) -> dict[str, Any]:
        """All features of one example, the image as stored."""
        split, index = key
        return _examples(self.name, self.data_dir, self.image, split, os.getpid())[index]

    def open(self, key: tuple[str, int]) -> ByteFile:
        """The image as an encoded file; an array becomes an uncompressed PNG, which keeps every pixel."""
        stored = self.example(key)[self.image]
        if isinstance(stored, bytes):
            return io.BytesIO(stored)
        file = io.BytesIO()
        array = np.asarray(stored)
        picture = Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array)
        picture.save(file, "PNG", compress_level=0)
        file.seek(0)
        return file

    def where(self, key: tuple[str, int]) -> str:
        """Name, split and position, such as "beans/train[17]"."""
        return f"{self.name}/{key[0]}[{key[1]}]"


def _base(name: str) -> str:
    """`name` without configuration and version."""
    return name.split("/")[0].split(":")[0]


def _builder(name: str, data_dir: str, **arguments: Any) -> Any:
    """The builder of a catalogue name, or one made from the files if the set was prepared by other code."""
    import tensorflow_datasets as tfds

    if _base(name) == TINY:
        from mollax.data.tiny_imagenet_builder import TinyImagenet200

        return TinyImagenet200(data_dir=data_dir, **arguments)
    try:
        return tfds.builder(name, data_dir=data_dir, **arguments)
    except tfds.core.registered.DatasetNotFoundError as error:
        known = [*tfds.list_builders(with_community_datasets=False), TINY]
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise ValueError(
            f"{name!r} is not in the tensorflow-datasets catalogue, nor prepared in {data_dir}.{hint}"
        ) from error


def how_to_prepare(name: str, data_dir: str) -> str:
    """What to do where `name` has not been prepared in `data_dir`."""
    if _base(name) == TINY:
        return f"Run mollax.data.tiny_imagenet_builder.prepare('tiny-imagenet-200.zip', {data_dir!r})."
    return (
        f"Run mollax.data.tfds.prepare_tfds({name!r}, {data_dir!r}) where there is network access; if that "
        f"is another machine, copy {_base(name)}/ from its data_dir to this one."
    )


def _ready_builder(name: str, data_dir: str) -> Any:
    """The builder, after a check that its files are there in a format that is read without TensorFlow."""
    builder = _builder(name, data_dir)
    if not builder.is_prepared():
        raise FileNotFoundError(
            f"{name!r} is not prepared: {builder.data_path} is missing. Reading downloads nothing. "
            f"{how_to_prepare(name, data_dir)}"
        )
    formats = {stored.value for stored in builder.info.available_file_formats()}
    if "array_record" not in formats:
        raise ValueError(
            f"{builder.data_path} was prepared as {', '.join(sorted(formats))}, which needs TensorFlow. "
            f"Prepare it as array_record in another data_dir. {how_to_prepare(name, 'OTHER_DATA_DIR')}"
        )
    return builder


def _features(builder: Any, name: str) -> tuple[str, str]:
    """Names of the image and label features; raises ValueError unless they are an 8-bit image and a class."""
    import tensorflow_datasets as tfds

    keys = builder.info.supervised_keys or ("image", "label")
    features = builder.info.features
    listed = ", ".join(f"{key}: {type(feature).__name__}" for key, feature in sorted(features.items()))
    if len(keys) != 2 or not all(isinstance(key, str) and key in features for key in keys):
        raise ValueError(f"{name!r} is not a set of images with one label each. Its features: {listed}.")
    image, label = keys
    array = isinstance(features[image], tfds.features.Tensor) and len(features[image].shape) in (2, 3)
    encoded = isinstance(features[image], tfds.features.Image)
    if not (encoded or array) or features[image].np_dtype != np.uint8:
        raise ValueError(f"{name!r}: {image!r} is not an 8-bit image. Its features: {listed}.")
    if not isinstance(features[label], tfds.features.ClassLabel):
        raise ValueError(f"{name!r}: {label!r} is not a class label. Its features: {listed}.")
    return image, label


def _class_names(feature: Any) -> tuple[str, ...]:
    return tuple(feature.int2str(label) for label in range(feature.num_classes))


def _target_splits(splits: Sequence[str], name: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Our split for each of theirs, and notes on those without one."""
    found = {split: SPLITS[split.lower()] for split in splits if split.lower() in SPLITS}
    notes: tuple[str, ...] = ()
    if _base(name) == TINY and "test" not in found.values():
        found = {split: "test" if target == "validation" else target for split, target in found.items()}
        notes = (VAL_IS_TEST,)
    if len(set(found.values())) < len(found):
        raise ValueError(f"{name!r} has two splits for one of train, validation and test: {', '.join(found)}.")
    others = [split for split in splits if split not in found]
    if not found:
        raise ValueError(f"{name!r} has none of the splits train, validation and test, only {', '.join(others)}.")
    if others:
        notes += (f"splits ignored: {', '.join(others)}",)
    return found, notes


def _labels(records: Records, split: str, label: str, n: int, classes: int) -> np.ndarray:
    """Labels of a split; all -1 if it has none."""
    labels = np.array([records.example((split, i))[label] for i in range(n)], np.int64)
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong) and not (labels == -1).all():
        where = records.where((split, int(wrong[0])))
        raise ValueError(f"{where} has label {labels[wrong[0]]}; expected 0 to {classes - 1}.")
    return labels


def read_tfds(path: Path, options: ReadOptions, *, name: str) -> RawData:
    """Reads a prepared set: `name` as in the tensorflow-datasets catalogue, "mnist" or "cmaterdb/devanagari".

    The set must have supervised keys (image, label) and is sought in the data_dir `path`, as tfds laid it
    out. Its splits train, validation (also valid, val, dev) and test are read, others noted; a split whose
    labels are all -1 is noted and left out. "tiny_imagenet200" is our own builder's, whose validation images
    are our test set and for which `options.channels` None means 3, as in `read_tiny_imagenet`. See
    `decode_splits` for when images are decoded.

    Raises:
      FileNotFoundError: if the set is not prepared; says how to prepare it.
      ValueError: for an unknown name, other features, or files in a format that needs TensorFlow.
      BadImageError: at the first bad image, unless `options.on_bad_image` is "skip".
    """
    if not name:
        raise ValueError("The tfds reader needs data.name=..., a name of the tensorflow-datasets catalogue.")
    builder = _ready_builder(name, str(path))
    image, label = _features(builder, name)
    names = _class_names(builder.info.features[label])
    found, notes = _target_splits(tuple(builder.info.splits), name)
    if _base(name) == TINY:
        options = replace(options, channels=options.channels or 3)
    source = Records(name, str(path), image)
    records = {}
    for target in ("train", "validation", "test"):
        split = next((theirs for theirs, ours in found.items() if ours == target), None)
        if split is None:
            continue
        labels = _labels(source, split, label, builder.info.splits[split].num_examples, len(names))
        if (labels == -1).all():
            notes += (f"split {split} ignored: its {len(labels):,} images have no labels",)
            continue
        records[target] = [((split, i), int(value)) for i, value in enumerate(labels)]
    if not records:
        raise ValueError(f"{name!r} has no labelled images.")
    splits, skipped, converted = decode_splits(source, records, options, names)
    return RawData(splits, names, skipped, (*notes, *converted))


def prepare_tfds(name: str, data_dir: str | Path) -> Path:
    """Downloads a catalogue set and prepares it as array_record in `data_dir`; returns the folder written.

    Raises:
      ImportError: if its builder hands over arrays, which tfds encodes with TensorFlow.
      ConnectionError: if the download fails.
      ValueError: for an unknown name, or one that is prepared from a file of your own.
    """
    builder = _builder(name, str(data_dir), file_format="array_record")
    if _base(name) == TINY:
        raise ValueError(f"{name!r} is not downloaded. {how_to_prepare(name, str(data_dir))}")
    try:
        builder.download_and_prepare()
    except ImportError as error:
        if "tensorflow" not in str(error):
            raise
        raise ImportError(
            f"The builder of {name!r} hands over arrays, which tensorflow-datasets encodes with TensorFlow. "
            "Install it for this once: pip install 'mollax[tf]'. Reading the prepared set does not need it."
        ) from error
    except OSError as error:
        raise ConnectionError(
            f"{name!r} could not be downloaded and prepared ({error}). Do so where there is network access, "
            f"and copy {builder.data_path} from there to the same place here."
        ) from error
    return Path(builder.data_path)
