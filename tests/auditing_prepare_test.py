"""Both sides from whatever names them: folders, a run, a saved file; what does not fit, by message."""

from pathlib import Path

import audit_images
import numpy as np
import pytest
import served_run

from mollax import auditing, experiment
from mollax.auditing import saved
from mollax.auditing.prepare import prepare
from mollax.auditing.space import Features
from mollax.finished_run import open_run


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return audit_images.write_run(tmp_path_factory)


@pytest.fixture(scope="module")
def collections(tmp_path_factory):
    folder = tmp_path_factory.mktemp("collections")
    audit_images.write(folder / "reference", count=60)
    audit_images.write(folder / "new", count=20, first=70, classes=2)
    return folder


def prepared(collections, **changes):
    settings = audit_images.settings(collections / "reference", collections / "new", **changes)
    return prepare(settings, audit_images.silent)


def keep(collections, path, *, name="gaussian:sigma=0.2", **changes):
    both = prepared(collections, kernel=name, **changes)
    held_log = np.linspace(-1, 0, len(both.reference.held))
    auditing.save(path, both.reference, both.space, kernel=both.family.text, strength=0.2, held_log=held_log)
    return both


def test_pixels(collections):
    both = prepared(collections)
    bank, held = both.reference.bank, both.reference.held
    assert (len(bank), len(held), len(both.new)) == (48, 12, 20)
    np.testing.assert_array_equal(bank.points, bank.images.reshape(48, -1).astype(np.float32) / np.float32(255))
    assert both.reference.class_names == ("0", "1", "2")
    assert set(both.new_part.labels) == {0, 1}
    assert not set(bank.files) & set(held.files)
    assert len(both.reference.hashes) == 48
    assert "12 of 60 reference images, drawn by seed 0" in both.reference.about["held_from"]


def test_features_of_a_run(collections, workdir):
    both = prepared(collections, workdir=workdir)
    assert isinstance(both.space, Features)
    assert both.reference.bank.points.shape[0] == 48
    assert both.new_part.points.dtype == np.float32
    assert both.family.make(0.1)


def test_a_run_brings_its_own_data(collections, workdir):
    settings = audit_images.settings(new=collections / "new", workdir=workdir, limit=100)
    both = prepare(settings, audit_images.silent)
    assert both.reference.about["name"] == "digits"
    assert both.reference.about["held_from"] == "the run's validation split"
    assert both.reference.bank.files[0] == "train[0]"
    assert 80 <= len(both.reference.bank) <= 100
    assert both.reference.storage.format == {"array (digits)": 1438}
    pixels = prepare(audit_images.settings(new=collections / "new", workdir=workdir, kernel="run"), audit_images.silent)
    assert pixels.space.kind == "pixels"
    assert pixels.reference.bank.points.shape[1] == 64


def test_labels_need_the_same_class_names(collections, tmp_path):
    audit_images.write(tmp_path / "x", count=20)
    (tmp_path / "x" / "2").rename(tmp_path / "x" / "two")
    settings = audit_images.settings(collections / "reference", tmp_path / "x")
    assert prepare(settings, audit_images.silent).new_part.labels is None


def test_groups_and_a_held_out_path(tmp_path):
    for writer in range(6):
        audit_images.write(tmp_path / "reference", count=10, first=10 * writer, below=f"writer{writer}")
        audit_images.write(tmp_path / "new", count=4, first=80 + 4 * writer, below=f"other{writer}")
    settings = audit_images.settings(tmp_path / "reference", tmp_path / "new", groups=1)
    both = prepare(settings, audit_images.silent)
    bank, held = both.reference.bank, both.reference.held
    assert not set(bank.groups) & set(held.groups)
    assert set(both.new_part.groups) == {f"other{i}" for i in range(6)}
    assert "whole groups, 1 of 6" in both.reference.about["held_from"]
    audit_images.write(tmp_path / "held", count=12, first=110)
    settings = audit_images.settings(tmp_path / "reference", tmp_path / "new", held_out=str(tmp_path / "held"))
    both = prepare(settings, audit_images.silent)
    assert (len(both.reference.bank), len(both.reference.held)) == (60, 12)
    settings = audit_images.settings(
        tmp_path / "reference", tmp_path / "new", held_out=str(tmp_path / "reference" / "0")
    )
    with pytest.raises(ValueError, match="held-out images are also in the bank"):
        prepare(settings, audit_images.silent)


def test_a_saved_reference_is_the_same(collections, tmp_path):
    both = keep(collections, tmp_path / "kept.npz")
    assert saved.is_saved(str(tmp_path / "kept.npz"))
    settings = audit_images.settings(tmp_path / "kept.npz", collections / "new")
    again = prepare(settings, audit_images.silent)
    for name in ("bank", "held"):
        first, second = getattr(both.reference, name), getattr(again.reference, name)
        np.testing.assert_array_equal(first.points, second.points)
        np.testing.assert_array_equal(first.labels, second.labels)
        assert first.files == second.files
    assert again.reference.hashes == both.reference.hashes
    assert again.reference.storage == both.reference.storage
    assert (again.family.given, again.family.text, again.reference.kernel) == (0.2, "gaussian", "gaussian")
    np.testing.assert_array_equal(again.reference.held_log, np.linspace(-1, 0, 12))
    other = prepare(
        audit_images.settings(tmp_path / "kept.npz", collections / "new", kernel="blur_noise"), audit_images.silent
    )
    assert (other.family.name, other.family.given) == ("blur_noise", None)


def test_saved_features_know_their_run(collections, workdir, tmp_path):
    keep(collections, tmp_path / "kept.npz", workdir=workdir)
    settings = audit_images.settings(tmp_path / "kept.npz", collections / "new", workdir=workdir)
    both = prepare(settings, audit_images.silent)
    assert both.reference.bank.images is None
    with np.load(tmp_path / "kept.npz") as archive:
        arrays = dict(archive)
    arrays["held"] = arrays["held"] + np.float32(1)
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(ValueError, match="it is another run"):
        prepare(
            audit_images.settings(tmp_path / "other.npz", collections / "new", workdir=workdir), audit_images.silent
        )
    with pytest.raises(ValueError, match="holds features; give --workdir=RUN"):
        prepare(audit_images.settings(tmp_path / "kept.npz", collections / "new"), audit_images.silent)


def test_what_does_not_fit(collections, workdir, tmp_path):
    keep(collections, tmp_path / "kept.npz")
    path = tmp_path / "kept.npz"
    for changes, message in (
        ({"reference": ""}, "Name training images by --reference, or a run by --workdir"),
        ({"workdir": workdir, "size": 9}, "size=9, but the run in .* is for images of 8 x 8"),
        ({"reference": str(path), "size": 9}, "size=9, but .* holds images of 8 x 8"),
        ({"reference": str(path), "held_out": "x"}, "has a held-out part of its own"),
        ({"reference": str(path), "workdir": workdir}, "holds pixels; give no --workdir"),
        (
            {"reference": str(path), "kernel": "mollifier:t=.2", "theta_from": "x"},
            "already gives; leave one of them out",
        ),
        ({"workdir": tmp_path}, "There is no config.json"),
        ({"new": str(tmp_path / "nothing")}, "does not exist"),
    ):
        given = {"reference": str(collections / "reference"), "new": str(collections / "new"), **changes}
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            prepare(audit_images.settings(**given), audit_images.silent)
    with pytest.raises(ValueError, match=r"must end in .npz"):
        keep(collections, Path("x.zip"))
    assert not saved.is_saved(str(tmp_path / "no.npz"))


def keep_run(new, path, workdir, *, seed=0):
    """A saved reference of the run's own data under its augmentation."""
    settings = audit_images.settings(new=new, workdir=workdir, kernel="run:draws=2,sigma=.2", limit=60, seed=seed)
    both = prepare(settings, audit_images.silent)
    assert both.reference.seed == seed
    held_log = np.zeros(len(both.reference.held))
    auditing.save(path, both.reference, both.space, kernel=both.family.text, strength=0.2, held_log=held_log)
    return both


def test_a_saved_run_is_audited_with_its_run(collections, workdir, tmp_path):
    """Its kernel is of pixels, whatever --workdir says of features, and of that run alone."""
    path, new = tmp_path / "kept.npz", collections / "new"
    first = keep_run(new, path, workdir, seed=3)
    again = prepare(audit_images.settings(path, new, workdir=workdir, seed=5), audit_images.silent)
    assert again.space.kind == "pixels"
    assert (again.family.name, again.family.given, again.family.text) == ("run", 0.2, "run:draws=2")
    assert (again.reference.run, again.reference.seed) == (first.reference.run, 3)
    with pytest.raises(ValueError, match="name it with --workdir"):
        prepare(audit_images.settings(path, new), audit_images.silent)
    other = served_run.write(tmp_path / "other", scores=(), data__limit=150, mollify__roles=("noise",))
    with pytest.raises(ValueError, match=r"saved with the augmentation of another run .* --kernel=run:sigma=auto"):
        prepare(audit_images.settings(path, new, workdir=other), audit_images.silent)
    chosen = prepare(
        audit_images.settings(path, new, workdir=other, kernel="run:draws=2,sigma=auto", seed=5), audit_images.silent
    )
    assert chosen.family.given is None
    assert chosen.reference.seed == 5
    assert chosen.reference.run not in ("", first.reference.run)


def test_an_explicit_kernel_is_not_the_saved_one(collections, tmp_path):
    path = tmp_path / "kept.npz"
    both = prepared(collections, kernel="mollifier:t=.3")
    auditing.save(
        path, both.reference, both.space, kernel="mollifier", strength=0.3, held_log=np.zeros(len(both.reference.held))
    )
    found = {
        kernel: prepare(audit_images.settings(path, collections / "new", kernel=kernel), audit_images.silent).family
        for kernel in ("", "mollifier", "gaussian", "mollifier:t=auto")
    }
    assert [(one.name, one.given) for one in found.values()] == [
        ("mollifier", 0.3),
        ("mollifier", 0.3),
        ("gaussian", None),
        ("mollifier", None),
    ]


def test_held_out_images_did_not_train_the_run(collections, workdir, tmp_path):
    """The run's data under another path: what is cut from it was seen in training."""
    split = experiment.load_data(open_run(workdir).config).train
    np.savez(tmp_path / "copy.npz", images=split.images)
    settings = audit_images.settings(tmp_path / "copy.npz", collections / "new", workdir=workdir)
    with pytest.raises(ValueError, match="The run was trained on 27 of the 27 held-out images"):
        prepare(settings, audit_images.silent)
    pixels = audit_images.settings(tmp_path / "copy.npz", collections / "new")
    assert len(prepare(pixels, audit_images.silent).reference.held) == 27


def test_images_of_deployment_are_points(collections, tmp_path):
    audit_images.write(tmp_path / "deployed", count=15, first=100, classes=5, change=lambda x: x // 2)
    (tmp_path / "deployed" / "0" / "bad.png").write_bytes(b"nothing")
    found = prepared(collections, theta_from=str(tmp_path / "deployed")).deployment
    assert found.points.shape == (15, 64)
    assert found.skipped[0]["where"].endswith("bad.png")
    assert prepared(collections).deployment is None
