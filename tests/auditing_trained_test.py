"""Held-out images that trained a run are found, dropped or refused; where its data are gone, that is said."""

import types

import audit_images
import numpy as np
import pytest

from mollax.auditing import trained
from mollax.auditing.material import Form
from mollax.data.collection import Loaded
from mollax.data.dataset import Split
from mollax.data.duplicates import content_hashes

FORM = Form(8, 1, 0)


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    from mollax.auditing.space import Features

    return Features(audit_images.write_run(tmp_path_factory))


def held(images):
    return Loaded(images, None, tuple(map(str, range(len(images)))), ("",) * len(images), (), ())


def others(count):
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)


def test_what_the_run_saw_is_refused_or_dropped(features):
    split = trained.experiment.load_data(features.run.config).train
    seen = np.asarray(split.images)
    with pytest.raises(ValueError, match=r"The run was trained on 3 of the 10 held-out images.*Leave --reference out"):
        trained.without_trained(held(np.concatenate([others(7), seen[:3]])), features, FORM)
    kept, unseen, notes = trained.without_trained(held(np.concatenate([seen[:1], others(149)])), features, FORM)
    assert len(kept) == 149
    np.testing.assert_array_equal(unseen, np.arange(150) > 0)
    assert notes == ("1 images that trained the run taken out of the held-out part",)
    kept, unseen, notes = trained.without_trained(held(others(5)), features, FORM)
    assert (len(kept), unseen.all(), notes) == (5, True, ())


def test_data_that_are_gone_are_a_note(features, monkeypatch):
    def gone(config):
        raise FileNotFoundError("no such folder")

    monkeypatch.setattr(trained.experiment, "load_data", gone)
    kept, unseen, notes = trained.without_trained(held(others(5)), features, FORM)
    assert (len(kept), unseen.all()) == (5, True)
    assert "was not compared with what trained the run, which cannot be read (no such folder)" in notes[0]
    monkeypatch.setattr(
        trained.experiment,
        "load_data",
        lambda config: types.SimpleNamespace(train=Split(np.zeros((2, 9, 9, 1), np.uint8), np.zeros(2, np.int32))),
    )
    assert "images are (9, 9, 1), not (8, 8, 1)" in trained.without_trained(held(others(5)), features, FORM)[2][0]


def test_hashes_are_those_of_the_audits_images(monkeypatch):
    monkeypatch.setattr(trained, "CHUNK", 4)
    images = others(10)
    split = Split(images, np.zeros(10, np.int32))
    assert trained.training_hashes(split, FORM) == set(content_hashes(images))
    jpeg = Form(8, 1, 50)
    through = trained.material.through_jpeg(images, jpeg)
    assert trained.training_hashes(split, jpeg) == set(content_hashes(through)) != set(content_hashes(images))
