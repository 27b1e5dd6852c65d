"""The align command on a trained run: what it writes, other images, and mistakes by message."""

import dataclasses
import json
import types

import numpy as np
import pytest
import tiny
from PIL import Image

from mollax import align, data
from mollax.train import train_and_evaluate


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        tiny.without_page(patch)
        train_and_evaluate(tiny.flow_config(train__duration="3 steps", eval__every="3 steps"), folder)
    return folder


def run(workdir, out, *more):
    align.main([f"--workdir={workdir}", f"--out={out}", "--steps=2", "--draws=4", *more])


def test_it_writes_images_transforms_and_prototypes(workdir, tmp_path, capsys):
    out = tmp_path / "aligned"
    run(workdir, out, "--images=20")
    rows = json.loads((out / "transforms.json").read_text())["images"]
    assert len(rows) == 20
    assert [row["index"] for row in rows[:3]] == [0, 3, 6]
    assert {row["source"] for row in rows} == {None}
    assert "20 images aligned" in capsys.readouterr().out
    for row in rows:
        with Image.open(out / row["file"]) as image:
            assert image.size == (8, 8)
        matrix = np.array(row["matrix"])
        np.testing.assert_allclose(np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0])), row["angle"], atol=0.01)
    assert {path.parent.name for path in out.glob("*/*.png")} == {row["class"] for row in rows}
    with Image.open(out / "prototypes.png") as sheet:
        assert sheet.size[0] > 300


def painted(folder, names, *, mode="RGB", size=(20, 20)):
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        shape = (*size, len(mode)) if len(mode) > 1 else size
        pixels = np.random.default_rng(i).integers(0, 255, shape, dtype=np.uint8)
        Image.fromarray(pixels, mode).save(folder / name)


def written(out):
    found = json.loads((out / "transforms.json").read_text())
    assert all((out / row["file"]).exists() for row in found["images"])
    return found


def test_a_plain_folder_needs_no_classes(workdir, tmp_path, capsys):
    folder = tmp_path / "photos"
    painted(folder, ["a.png", "b.png"])
    painted(folder, ["c.png"], mode="RGBA", size=(9, 30))
    painted(folder, ["d.png"], mode="L")
    (folder / "bad.png").write_bytes(b"no image")
    run(workdir, tmp_path / "out", f"--path={folder}")
    found = written(tmp_path / "out")
    assert found["split"] is None
    rows = [(row["file"], row["index"], row["class"], row["source"]) for row in found["images"]]
    good = [(0, "a"), (1, "b"), (3, "c"), (4, "d")]
    assert rows == [(f"{i:05}.png", place, None, str(folder / f"{n}.png")) for i, (place, n) in enumerate(good)]
    assert [skip["where"] for skip in found["skipped"]] == [str(folder / "bad.png")]
    told = capsys.readouterr()
    assert f"skipped {folder / 'bad.png'}: not a readable" in told.err
    assert "4 images, no classes" in told.err
    assert "4 images aligned, 1 unreadable ones skipped. Of the images' energy" in told.out
    assert (tmp_path / "out" / "prototypes.png").exists()
    with Image.open(tmp_path / "out" / "00003.png") as image:
        assert (image.size, image.mode) == ((8, 8), "L")


def test_folders_in_it_are_classes_and_their_splits_are_not_cut(workdir, tmp_path, capsys):
    for split in ("train", "test"):
        painted(tmp_path / "images" / split / "a", [f"{i}.png" for i in range(3)])
    painted(tmp_path / "images" / "test" / "b", ["one.png"])
    for number, flags in enumerate(((), ("--reader=folder", "--images=0"))):
        out = tmp_path / f"out {number}"
        run(workdir, out, f"--path={tmp_path / 'images'}", *flags)
        rows = written(out)["images"]
        assert [row["class"] for row in rows] == ["a", "a", "a", "b", "a", "a", "a"]
        assert {row["file"].split("/")[0] for row in rows} == {"a", "b"}
        assert "no spread: 1 left out." in capsys.readouterr().out
    run(workdir, tmp_path / "few", f"--path={tmp_path / 'images'}", "--images=2")
    assert [row["index"] for row in written(tmp_path / "few")["images"]] == [0, 6]


def test_the_runs_own_way_of_resizing_is_used(workdir, tmp_path, unhooked):
    pixels = np.zeros((8, 16), np.uint8)
    pixels[:, :8] = 255
    (tmp_path / "wide").mkdir()
    Image.fromarray(pixels, "L").save(tmp_path / "wide" / "a.png")
    found = {}
    opened = align.read_run(workdir)
    for resize in ("stretch", "crop"):
        config = opened.config.copy_and_resolve_references()
        config.data.resize = resize
        changed = dataclasses.replace(opened, config=config)
        chosen = align.read_files(changed, tmp_path / "wide", 0, lambda *_: None)
        found[resize] = chosen.split.images[0, :, :, 0]
    for image in found.values():
        np.testing.assert_array_equal(image[:, [0, 7]], [[255, 0]] * 8)
    assert (found["crop"][:, 3] == 255).all()
    assert (found["crop"][:, 4] == 0).all()
    assert 0 < found["stretch"][0, 3] <= 255


def test_a_split_of_a_set_with_classes(workdir, tmp_path, capsys):
    for split in ("train", "test"):
        for name in ("a", "b"):
            painted(tmp_path / "images" / split / name, [f"{i}.png" for i in range(6)])
    flags = ("--reader=folder", f"--path={tmp_path / 'images'}", "--images=0", "--split=test")
    run(workdir, tmp_path / "out", *flags)
    found = written(tmp_path / "out")
    assert found["split"] == "test"
    assert [row["index"] for row in found["images"]] == list(range(12))
    assert capsys.readouterr().err.count("2 classes (a, b)") == 1, "described once"
    run(workdir, tmp_path / "own", "--images=3")
    assert capsys.readouterr().err.count("10 classes (") == 1


def test_files_of_sets_that_are_decoded_on_demand_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr("mollax.data.decode.MEMORY_LIMIT", 10)
    for split in ("train", "test"):
        for name in ("a", "b"):
            painted(tmp_path / split / name, [f"{i}.png" for i in range(6)])
    dataset = data.load("folder", path=tmp_path)
    assert align._source(dataset.test, 7) == str(tmp_path / "test" / "b" / "1.png")
    own = align._source(dataset.train, 3)
    np.testing.assert_array_equal(np.asarray(Image.open(own)), dataset.train.images[3])


def test_mistakes_are_one_line(workdir, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "plain").mkdir()
    for name, text in (("config.json", '{"invariance": {"augmenter": ""}}'), ("results.json", "{}")):
        (tmp_path / "plain" / name).write_text(text)
    for arguments, message in (
        ((workdir, tmp_path / "full"), "is not empty"),
        ((tmp_path / "nothing", tmp_path / "out"), "There is no config.json in"),
        ((tmp_path / "plain", tmp_path / "out"), "has no augmenter"),
    ):
        with pytest.raises(SystemExit) as stopped:
            run(*arguments)
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err


def test_crops_cannot_be_aligned(tmp_path):
    (tmp_path / "config.json").write_text('{"invariance": {"augmenter": "flow", "kind": "crop"}}')
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(ValueError, match="has learned crops"):
        align.read_run(tmp_path)


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--steps=0"], "--steps must be at least 1; got 0"),
        (["--draws=0"], "--draws must be at least 1; got 0"),
        (["--step-size=2"], r"--step-size must be in (0, 2); got 2.0"),
        (["--images=-1"], "--images must be at least 0; got -1"),
        (["--reader=folder"], "--reader=folder needs --path"),
        (["--out=FULL"], "full is not empty. Give --out another folder"),
        (["--out=FILE"], "is a file. Give --out a folder"),
    ],
)
def test_bad_flags_are_told_before_anything_is_read(tmp_path, monkeypatch, capsys, flags, message):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    monkeypatch.setattr(align, "read_run", None)
    places = {"--out=FULL": f"--out={tmp_path / 'full'}", "--out=FILE": f"--out={tmp_path / 'full' / 'file'}"}
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path, tmp_path / "out", *(places.get(flag, flag) for flag in flags))
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_path_without_images_is_told(workdir, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.png").touch()
    for path, message in ((tmp_path / "empty", "holds no images"), (tmp_path / "bad.png", "None of 1 images")):
        with pytest.raises(SystemExit):
            run(workdir, tmp_path / "out", f"--path={path}")
        assert message in capsys.readouterr().err


def test_the_summary_leaves_out_what_has_no_spread():
    block = {"images": 5, "names": ["a", "b"], "before": [0.5, None], "after": [0.25, None]}
    words = align.summary(block, skipped=0)
    assert words.startswith("5 images aligned. Of the images' energy, their class means miss 50.0 % before and 25.0 %")
    assert words.endswith("have no spread: 1 left out.")
    alone = align.summary({"images": 1, "names": ["a"], "before": [None], "after": [None]}, skipped=2)
    assert alone.startswith("1 images aligned, 2 unreadable ones skipped. Classes of a single image")


def test_images_of_another_shape_are_refused(workdir, unhooked):
    run = align.read_run(workdir)
    other = types.SimpleNamespace(dataset=types.SimpleNamespace(image_shape=(9, 9, 1)))
    with pytest.raises(ValueError, match=r"The run is for images of \(8, 8, 1\); these have \(9, 9, 1\)"):
        align.align_set(run, other, None, None)
