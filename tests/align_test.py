"""The align command on a trained run: what it writes, other images, and mistakes by message."""

import json
import types

import numpy as np
import pytest
import tiny
from PIL import Image

from mollax import align
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
    assert "20 images aligned" in capsys.readouterr().out
    for row in rows:
        with Image.open(out / row["file"]) as image:
            assert image.size == (8, 8)
        matrix = np.array(row["matrix"])
        np.testing.assert_allclose(np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0])), row["angle"], atol=0.01)
    assert {path.parent.name for path in out.glob("*/*.png")} == {row["class"] for row in rows}
    with Image.open(out / "prototypes.png") as sheet:
        assert sheet.size[0] > 300


def test_other_images_are_brought_to_size(workdir, tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("a", "b"):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for i in range(6):
                Image.fromarray(rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    run(workdir, tmp_path / "out", "--reader=folder", f"--path={tmp_path / 'images'}", "--images=0")
    assert len(list((tmp_path / "out").glob("*/*.png"))) == 12


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
        ((workdir, tmp_path / "out", "--steps=0"), "steps must be at least 1"),
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


def test_images_of_another_shape_are_refused(workdir, unhooked):
    run = align.read_run(workdir)
    other = types.SimpleNamespace(image_shape=(9, 9, 1))
    with pytest.raises(ValueError, match=r"The run is for images of \(8, 8, 1\); these have \(9, 9, 1\)"):
        align.align_set(run, other, None, None)
