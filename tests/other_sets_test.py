"""Sets of other images that a config names, to learn from and to detect."""

import dataclasses

import numpy as np
import pytest
import tiny
from PIL import Image

from mollax import data, experiment, other_sets
from mollax.data.codec import recode_jpeg
from mollax.data.pixels import resize_images

NOISE = {"reader": "noise", "name": "uniform", "limit": 64}


def learning_from(auxiliary, more=None, **changes):
    config = tiny.config(**changes).copy_and_resolve_references()
    with config.unlocked():
        config.ood.auxiliary.update(auxiliary)
        config.ood.more_auxiliary = more or {}
    return config


@pytest.fixture(scope="module")
def dataset():
    return experiment.load_data(tiny.config())


def wide_images(folder, rng):
    """Four gray images of 16x8 in a class folder, and their middles of 8x8."""
    images = rng.integers(0, 256, (4, 8, 16), np.uint8)
    (folder / "a").mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / "a" / f"{number}.png")
    return folder, images[:, :, 4:12, None]


@pytest.mark.parametrize("reader", ["images", "folder", "data"])
def test_other_sets_are_read_as_the_data_are(tmp_path, rng, reader):
    """Else crops would be told from stretched images by their aspect ratio."""
    path, middles = wide_images(tmp_path, rng)
    (path / "a" / "4.png").write_bytes(b"no image")
    config = tiny.config(data__resize="crop", data__on_bad_image="skip").copy_and_resolve_references()
    dataset = experiment.load_data(config)
    config.data.update({"reader": "folder", "path": str(path)})
    about = {"reader": reader} if reader == "data" else {"reader": reader, "path": str(path)}
    with config.unlocked():
        config.eval.ood.sets = {"mine": about, "stretched": {**about, "resize": "stretch"}}
    sets = other_sets.read_detected(config, dataset)
    np.testing.assert_array_equal(sets["mine"].split.images, middles)
    assert any(note.startswith("1 unreadable images skipped") for note in sets["mine"].notes)
    assert (sets["stretched"].split.images != middles).any()
    with config.unlocked():
        config.eval.ood.sets = {"mine": {**about, "on_bad_image": "raise"}}
    with pytest.raises(ValueError, match=r"4\.png"):
        other_sets.read_detected(config, dataset)


def test_sets_know_what_they_were_made_of(tmp_path, rng):
    path, middles = wide_images(tmp_path, rng)
    config = tiny.config(data__resize="crop").copy_and_resolve_references()
    with config.unlocked():
        config.eval.ood.sets = {
            "recoded": {"reader": "images", "path": str(path), "jpeg_quality": 50, "group": "shifted"},
            "foggy": {"reader": "corruption", "name": "contrast:5", "group": "shifted"},
        }
    sets = other_sets.read_detected(config, experiment.load_data(config))
    assert {name: other.made_of_test for name, other in sets.items()} == {"recoded": False, "foggy": True}
    np.testing.assert_array_equal(sets["recoded"].stored.images, middles)
    assert sets["foggy"].stored is None


@pytest.mark.parametrize("resize, how", [("", "crop"), ("crop", "crop"), ("stretch", "stretch")])
def test_outliers_are_read_as_the_data_are_unless_told(dataset, tmp_path, rng, resize, how):
    """Unreadable ones too; and those that a codec alone tells from held-out images are left out."""
    images = rng.integers(0, 256, (3, 8, 16), np.uint8)
    images[0, :, 4:12] = dataset.test.images[0][..., 0]
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes(b"no image")
    about = {"reader": "images", "path": str(tmp_path), "resize": resize, "jpeg_quality": 50, "split": "all"}
    config = learning_from(about, data__resize="crop", data__on_bad_image="skip")
    found, notes = other_sets.read_auxiliary(config, dataset)
    read = np.stack([resize_images(image[None, ..., None], 8, how=how)[0] for image in images])
    np.testing.assert_array_equal(found.images, recode_jpeg(read, 50)[1 if how == "crop" else 0 :])
    assert ("1 images that are also in the test split left out" in notes) == (how == "crop")


def test_the_default_resize_of_outliers_is_that_of_the_data():
    assert tiny.config().ood.auxiliary.resize == ""


@pytest.mark.parametrize("streamed", [False, True])
def test_several_sets_to_learn_from(dataset, tmp_path, streamed, monkeypatch):
    """One after the other, each by its own options and without held-out images; all drawn alike."""
    for number, split in enumerate((dataset.test, dataset.train)):
        Image.fromarray(split.images[0][..., 0]).save(tmp_path / f"{number}.png")
    mine = {"reader": "images", "path": str(tmp_path)}
    config = learning_from(NOISE, {"mine": mine, "other": {**NOISE, "name": "gaussian", "limit": 3}})
    if streamed:  # images that are decoded on demand stay so
        load = data.load_foreign
        monkeypatch.setattr(data, "load_foreign", lambda *given, **options: on_demand(load(*given, **options)))
    found, notes = other_sets.read_auxiliary(config, dataset)
    assert isinstance(found.images, np.ndarray) != streamed
    shown = np.stack([found.images[number] for number in range(len(found))])
    parts = [data.load_foreign("noise", shape=(8, 8, 1), name=name, limit=64) for name in ("uniform", "gaussian")]
    uniform, gaussian = (np.stack([part.split.images[number] for number in range(64)]) for part in parts)
    assert len(shown) == 64 + 1 + 3
    np.testing.assert_array_equal(shown[:64], uniform)
    np.testing.assert_array_equal(shown[64], dataset.train.images[0])
    np.testing.assert_array_equal(shown[65:], gaussian[:3])
    assert "auxiliary: 64 images of uniform noise" in notes
    assert "more_auxiliary.mine: 1 images that are also in the test split left out" in notes


def on_demand(foreign):
    images = foreign.split.images
    lazy = data.LazyImages(images.__getitem__, images.shape)
    return dataclasses.replace(foreign, split=dataclasses.replace(foreign.split, images=lazy))


@pytest.mark.parametrize(
    "auxiliary, more, message",
    [
        ({}, {}, "needs ood.auxiliary.reader and .path"),
        (NOISE, {"mine": {"path": "here"}}, "ood.more_auxiliary.mine needs a reader"),
        (NOISE, {"mine": {**NOISE, "limits": 3}}, "field of ood.more_auxiliary.mine must be .*; got 'limits'. Did you"),
    ],
)
def test_bad_sets_to_learn_from(dataset, auxiliary, more, message):
    with pytest.raises(ValueError, match=message):
        other_sets.read_auxiliary(learning_from(auxiliary, more), dataset)
