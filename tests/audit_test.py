"""The audit command: what it writes and says, its exit codes, and mistakes in one line."""

import json

import audit_images
import numpy as np
import pytest
import tfds_toy
import tiny

from mollax import audit
from mollax.train import train_and_evaluate

FAST = ("--kernel=gaussian:sigma=.2", "--permutations=99", "--resamples=50", "--top=2", "--no-baselines")


def run(*arguments):
    """The exit code of the command."""
    with pytest.raises(SystemExit) as stopped:
        audit.main([str(argument) for argument in arguments])
    return stopped.value.code


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("command")
    audit_images.write(folder / "reference", count=80)
    audit_images.write(folder / "new", count=20, first=90)
    audit_images.write(folder / "turned", count=20, first=90, change=lambda x: np.rot90(x).copy())
    (folder / "turned" / "0" / "bad.png").write_bytes(b"\x89PNG")
    return folder


@pytest.fixture(scope="module")
def first(folder):
    """A whole audit that skips a file and keeps its reference; its exit code and folder."""
    arguments = (f"--reference={folder / 'reference'}", f"--new={folder / 'turned'}", f"--out={folder / 'first'}")
    return run(*arguments, f"--save-reference={folder / 'kept.npz'}", *FAST), folder / "first"


def test_it_writes_numbers_and_a_page(first):
    code, out = first
    block = json.loads((out / "audit.json").read_text())
    page = (out / "audit.html").read_text(encoding="utf-8")
    assert code == 4  # for the file that was skipped
    assert block["verdict"].startswith("Different beyond chance")
    assert block["limits_broken"] == []
    assert len(block["most_surprising"]) == 2
    assert block["most_surprising"][0]["file"].endswith(".png")
    assert block["command"].startswith("python -m mollax.audit --reference=")
    assert "Drift of turned from reference" in page
    assert sorted(path.name for path in out.iterdir()) == ["audit.html", "audit.json"]


def test_a_kept_reference_needs_no_training_images(folder, first, capsys):
    """Also: limits come before skipped files, storage before the verdict."""
    kept = f"--reference={folder / 'kept.npz'}"
    arguments = (kept, f"--new={folder / 'turned'}", f"--out={folder / 'second'}", *FAST[1:])
    assert run(*arguments, "--fail-above=1", "--fail-flagged-share=.1") == 3
    said = capsys.readouterr()
    places = [said.out.index(part) for part in ("stored alike", "Different beyond chance", "excess cross-entropy")]
    assert places == sorted(places)
    assert said.err.count("limit broken") == 2
    assert "skipped " in said.err
    block, before = (json.loads((folder / name / "audit.json").read_text()) for name in ("second", "first"))
    assert len(block["limits_broken"]) == 2
    assert block["kernel"]["how"] == "as saved with the reference"
    assert block["excess"]["held"] == pytest.approx(before["excess"]["held"])
    assert block["reference"]["bank"] == 64


def test_features_of_a_run(folder, tmp_path, tmp_path_factory, capsys):
    workdir = audit_images.write_run(tmp_path_factory)
    arguments = (f"--workdir={workdir}", f"--new={folder / 'new'}", f"--out={tmp_path / 'out'}", "--limit=100")
    assert run(*arguments, "--kernel=gaussian:sigma=1", *FAST[1:]) == 0
    block = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert block["space"]["kind"] == "features"
    assert block["reference"]["held_from"] == "the run's validation split"
    assert f"features of {workdir}" in (tmp_path / "out" / "audit.html").read_text(encoding="utf-8")


def test_what_a_runs_own_data_leave_no_room_for(folder, tmp_path, tmp_path_factory, capsys):
    arguments = (f"--workdir={audit_images.write_run(tmp_path_factory)}", f"--new={folder / 'new'}")
    for option in ("--groups=1", "--held-out-share=.5", "--held-out=validation", "--split=test"):
        assert run(*arguments, f"--out={tmp_path / 'out'}", option) == 2, option
        assert option.split("=")[0] in capsys.readouterr().err


def test_what_a_kept_reference_leaves_no_room_for(folder, first, tmp_path, capsys):
    arguments = (f"--reference={folder / 'kept.npz'}", f"--new={folder / 'new'}", f"--out={tmp_path / 'out'}")
    for option in ("--jpeg-quality=50", "--held-out-share=.5", "--groups=1", "--split=test"):
        assert run(*arguments, option) == 2, option
        assert option.split("=")[0] in capsys.readouterr().err


def test_a_reference_may_be_kept_beside_the_page(folder, tmp_path):
    arguments = (f"--reference={folder / 'reference'}", f"--new={folder / 'new'}", f"--out={tmp_path / 'out'}", *FAST)
    assert run(*arguments, f"--save-reference={tmp_path / 'out' / 'kept.npz'}") == 0
    assert (tmp_path / "out" / "kept.npz").is_file()


def test_tfds_on_both_sides(tmp_path, rng):
    """Two splits of one prepared set, the second at half its brightness: closer together than the first."""
    images = rng.integers(0, 256, (120, 6, 6, 1), dtype=np.uint8)
    images[100:] //= 2
    made = [{"image": image, "label": i % 2} for i, image in enumerate(images)]
    features = {"image": tfds_toy.PIXELS, "label": tfds_toy.LABEL}
    path = tfds_toy.toy(tmp_path / "sets", {"train": made[:100], "test": made[100:]}, features=features)
    sides = (f"--reference={path}", "--reader=tfds", "--name=toy_of_others", "--split=train")
    new = (f"--new={path}", "--new-reader=tfds", "--new-name=toy_of_others", "--new-split=test")
    assert run(*sides, *new, f"--out={tmp_path / 'out'}", *FAST) == 0
    block = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert (block["reference"]["bank"], block["reference"]["held_out"], block["new"]["images"]) == (80, 20, 20)
    assert block["storage"][1]["reference"] == block["storage"][1]["new"] == "array (tfds)"
    assert block["most_surprising"][0]["nearest"].startswith("train[")
    assert block["verdict"].startswith("Different beyond chance by the entropy-aware companion")


@pytest.mark.slow
def test_the_augmentation_that_a_flow_learned(folder, tmp_path):
    """--kernel=run draws from the run's own flow."""
    train_and_evaluate(tiny.flow_config(train__duration="3 steps", eval__every="3 steps"), tmp_path / "run")
    arguments = (f"--workdir={tmp_path / 'run'}", f"--new={folder / 'new'}", "--limit=60", f"--out={tmp_path / 'out'}")
    assert run(*arguments, "--kernel=run:sigma=.2,draws=2", *FAST[1:]) == 0
    block = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert block["space"]["kind"] == "pixels"
    assert "learned transforms (flow)), 2 draws an image" in block["kernel"]["text"]


def test_usage_is_two(folder, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "empty").mkdir()
    audit_images.write(tmp_path / "same", count=20, change=lambda x: np.zeros_like(x))
    np.savez(tmp_path / "nan.npz", images=np.full((4, 8, 8), np.nan))
    np.savez(tmp_path / "shapes.npz", images=np.zeros((4, 8, 8, 7)))
    reference, new, out = f"--reference={folder / 'reference'}", f"--new={folder / 'new'}", f"--out={tmp_path / 'out'}"
    for arguments, message in (
        ((reference, new, f"--out={tmp_path / 'full'}"), "is not an empty folder"),
        ((new, out), "Name training images by --reference"),
        ((reference, f"--new={tmp_path / 'empty'}", out), "holds no images"),
        ((reference, f"--new={tmp_path / 'nan.npz'}", out), "images[0] has NaN or infinite pixels"),
        ((reference, f"--new={tmp_path / 'shapes.npz'}", out), "has 7 channels"),
        ((reference, new, out, "--kernel=gaussian:sigma=0"), "sigma must be in (0, inf)"),
        ((reference, new, out, "--kernel=run"), "name it with --workdir"),
        ((reference, new, out, f"--held-out={folder / 'reference'}"), "must not be among the reference images"),
        ((f"--reference={tmp_path / 'same'}", new, out), "of the bank are identical"),
        ((reference, new, out, "--fail-p=2"), "--fail-p must be in"),
        ((reference, new, out, "--fail-p=.001"), "--permutations=1999 or more"),
        ((reference, new, out, "--permutations=38"), "--permutations=39 or more"),
        ((reference, new, out, "--save-reference=x.zip"), "must end in .npz"),
        ((reference, new, out, f"--save-reference={tmp_path / 'no' / 'kept.npz'}"), "does not exist; create it first"),
        ((reference, new, out, f"--held-out={folder / 'new'}", "--held-out-share=.1"), "Give either --held-out, or"),
        ((reference, new, out, "--kernel=gaussian:sigma=1", f"--theta-from={folder / 'new'}"), "already gives"),
        ((reference, new, out, f"--theta-from={folder / 'new'}"), "are also among the new images"),
        ((reference, new, out, "--theta-from=nothing"), "nothing does not exist"),
        ((reference, new, out, "--new-split=train"), "has no train split; it has all"),
        ((reference, new, out, "--groups=1"), "takes groups from CLASS/GROUP/IMAGE"),
        ((reference, new, out, "--top=-1"), "--top must be at least 0"),
    ):
        assert run(*arguments) == 2, arguments
        assert message in capsys.readouterr().err, arguments
    assert not (tmp_path / "out").exists()


def test_failures_are_one(folder, tmp_path, monkeypatch, capsys):
    def broken(*arguments):
        raise OSError("the disk is gone")

    monkeypatch.setattr(audit.auditing, "prepare", broken)
    assert run(f"--reference={folder / 'reference'}", f"--new={folder / 'new'}", f"--out={tmp_path / 'x'}") == 1
    assert "mollax.audit: the disk is gone" in capsys.readouterr().err
