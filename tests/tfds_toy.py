"""Small sets of tensorflow-datasets, prepared by a builder of the tests' own, as sets made by others would be."""

import io

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image


def png(value, size=6):
    file = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


IMAGE = tfds.features.Image(shape=(None, None, 3))
LABEL = tfds.features.ClassLabel(names=["cat", "dog"])
PIXELS = tfds.features.Tensor(shape=(6, 6, 1), dtype=np.uint8)


class MollaxToy(tfds.core.GeneratorBasedBuilder):
    """Whatever features and examples a test asks for; registered with tfds under the name "mollax_toy"."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, splits, features=None, keys=("image", "label"), **kwargs):
        self.splits, self.features = splits, features or {"image": IMAGE, "label": LABEL}
        self.keys = keys
        super().__init__(**kwargs)

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description="A toy.",
            features=tfds.features.FeaturesDict(self.features),
            supervised_keys=self.keys,
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {name: self._generate_examples(examples) for name, examples in self.splits.items()}

    def _generate_examples(self, examples):
        yield from enumerate(examples)


def toy(data_dir, splits, **kwargs):
    """Prepares a set, to be read through the files alone, as a set made by others would be."""
    MollaxToy(splits=splits, data_dir=str(data_dir), file_format="array_record", **kwargs).download_and_prepare()
    (data_dir / "mollax_toy").rename(data_dir / "toy_of_others")
    for info in data_dir.glob("toy_of_others/*/*"):
        if info.suffix == ".json":
            info.write_text(info.read_text().replace("mollax_toy", "toy_of_others"))
        else:
            info.rename(info.with_name(info.name.replace("mollax_toy", "toy_of_others")))
    return data_dir


def examples(*labels, start=0):
    return [{"image": png(start + i), "label": label} for i, label in enumerate(labels)]
