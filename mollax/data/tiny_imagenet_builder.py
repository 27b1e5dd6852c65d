"""TinyImageNet as a tensorflow-datasets builder, prepared without TensorFlow from the original zip.

The catalogue of tensorflow-datasets does not have it. Importing this module imports tensorflow_datasets, with
which the class registers itself as "tiny_imagenet200".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from mollax.data.folder import Files
from mollax.data.tiny_imagenet import list_tiny_imagenet

ZIP = "tiny-imagenet-200.zip"


class TinyImagenet200(tfds.core.GeneratorBasedBuilder):
    """TinyImageNet: 200 classes, 64x64 images; splits "train" and "validation" (test has no public labels).

    `path` is the zip, or the folder unpacked from it; without it, tiny-imagenet-200.zip is sought in
    `manual_dir`. Other arguments are those of every tfds builder. Images are stored as the JPEG bytes of the
    original, in the order of `list_tiny_imagenet`; 1-channel ones stay so, and a reader repeats them to RGB.
    """

    name = "tiny_imagenet200"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[Mapping[str, str]] = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"Put {ZIP}, as Stanford's CS231n published it, into manual_dir."

    def __init__(self, *, path: str | Path | None = None, **kwargs: Any) -> None:
        self._path = None if path is None else Path(path)
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(64, 64, 3), encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(),  # named from words.txt, or from the prepared files
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="TinyImageNet: 200 classes of ImageNet at 64x64 pixels (Stanford CS231n).",
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[Any]]:
        tiny = list_tiny_imagenet(self._path or Path(dl_manager.manual_dir) / ZIP)
        self.info.features["label"].names = tiny.class_names
        return {
            "train": self._generate_examples(tiny.files, tiny.records["train"]),
            "validation": self._generate_examples(tiny.files, tiny.records["test"]),
        }

    def _generate_examples(self, files: Files, records: Sequence[tuple[str, int]]) -> Iterator[Any]:
        for index, (key, label) in enumerate(records):
            with files.open(key) as file:
                yield index, {"image": file.read(), "label": label}


def prepare(path: str | Path, data_dir: str | Path) -> Path:
    """Prepares TinyImageNet in `data_dir` as array_record; returns the folder written.

    `read_tfds(data_dir, options, name="tiny_imagenet200")` then reads it. What is already prepared is kept.

    Args:
      path: the original tiny-imagenet-200.zip, or the folder unpacked from it.
      data_dir: where tfds keeps its data sets.

    Raises:
      FileNotFoundError, ValueError: see `mollax.data.tiny_imagenet.list_tiny_imagenet`.
    """
    builder = TinyImagenet200(path=path, data_dir=str(data_dir), file_format="array_record")
    builder.download_and_prepare()
    return Path(builder.data_path)
