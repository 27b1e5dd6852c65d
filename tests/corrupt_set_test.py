"""Corrupted copies on disk: both layouts, equal to the library's images, and what a stopped command leaves."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from mollax import corrupt, corrupt_set, keys
from mollax.data import Dataset, LazyImages, Split
from mollax.data.manifest import read_manifest
from mollax.evaluators import Corrupter

ROOT = Path(__file__).parents[1]


@pytest.fixture
def dataset(rng):
    images = rng.integers(0, 256, (11, 8, 8, 3), np.uint8)
    split = Split(images, (np.arange(11) % 3).astype(np.int32))
    return Dataset("pets", split, split, split, ("cat", "dog", "a/b"))


def write(dataset, folder, names=("contrast", "pixelate"), *, show=None, **options):
    described = corrupt_set.describe(dataset, dataset.test, **options)
    return corrupt_set.write_set(dataset.test, folder, described, names, batch_size=4, show=show)


def test_arrays_have_the_published_layout(dataset, tmp_path):
    assert write(dataset, tmp_path / "new" / "set") == 2 * 5 * 11
    folder = tmp_path / "new" / "set"
    names = ["contrast.npy", "corrupted.json", "labels.npy", "pixelate.npy"]
    assert sorted(os.listdir(folder)) == names, "and no partial files"
    labels = np.load(folder / "labels.npy")
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels, np.tile(dataset.test.labels, 5))
    corrupter = Corrupter(batch_size=16)
    for name in ("contrast", "pixelate"):
        found = np.load(folder / f"{name}.npy")
        assert (found.dtype, found.shape) == (np.uint8, (55, 8, 8, 3))
        for severity in (1, 4):
            expected = corrupter.split(dataset.test, name, severity).images
            np.testing.assert_array_equal(found[(severity - 1) * 11 : severity * 11], expected)
    written = read_manifest(folder)
    assert (written.source, written.split, written.images, written.table) == ("pets", "test", 11, 32)
    assert written.class_names == ("cat", "dog", "a/b")
    assert "drawn by mollax" in written.notes[0]


def test_seed_rounding_and_severities_are_used(dataset, tmp_path):
    write(dataset, tmp_path, ("gaussian_noise",), seed=3, rounding="round", severities=(2, 5))
    found = np.load(tmp_path / "gaussian_noise.npy")
    assert len(found) == 2 * 11
    key = jax.random.fold_in(keys.stream_key(3, "corrupt/gaussian_noise/5"), 7)
    image = jnp.asarray(dataset.test.images[7], jnp.float32) / 255
    expected = corrupt.corrupt(key, image, "gaussian_noise", 5, rounding="round") * 255
    np.testing.assert_array_equal(found[11 + 7], np.round(expected))


@pytest.mark.parametrize("channels", [1, 3])
def test_images_have_the_folders_of_imagenet_c(channels, dataset, tmp_path):
    test = Split(np.ascontiguousarray(dataset.test.images[..., :channels]), dataset.test.labels)
    dataset = Dataset("pets", test, test, test, dataset.class_names)
    write(dataset, tmp_path, ("contrast",), layout="png", severities=(1, 3))
    assert sorted(os.listdir(tmp_path / "contrast")) == ["1", "3"]
    assert sorted(os.listdir(tmp_path / "contrast" / "3")) == ["a_b", "cat", "dog"]
    assert sorted(os.listdir(tmp_path / "contrast" / "3" / "dog")) == [f"{i:05d}.png" for i in (1, 4, 7, 10)]
    expected = Corrupter(batch_size=16).split(test, "contrast", 3).images
    for i, folder in enumerate(["cat", "dog", "a_b"] * 3 + ["cat", "dog"]):
        found = np.asarray(Image.open(tmp_path / "contrast" / "3" / folder / f"{i:05d}.png"))
        np.testing.assert_array_equal(found.reshape(8, 8, channels), expected[i])


def test_images_that_are_decoded_on_demand_come_in_batches(dataset, tmp_path):
    held = []

    def decode(index):
        held.append(index)
        return dataset.test.images[index]

    lazy = Split(LazyImages(decode, dataset.test.images.shape), dataset.test.labels)
    write(dataset, tmp_path / "a", ("contrast",), severities=(1,))
    made = corrupt_set.describe(dataset, lazy, severities=(1,))
    held.clear()
    shown = []
    corrupt_set.write_set(
        lazy,
        tmp_path / "b",
        made,
        ("contrast",),
        batch_size=4,
        show=lambda *what: shown.append((*what, len(set(held)))),
    )
    assert shown == [("contrast 1", 4, 11, 4), ("contrast 1", 8, 11, 8), ("contrast 1", 11, 11, 11)]
    for name in ("contrast.npy", "corrupted.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("layout", ["npy", "png"])
def test_a_stopped_command_leaves_nothing_half_and_goes_on(layout, dataset, tmp_path):
    class Stop(Exception):
        pass

    def stop(cell, done, total):
        if cell == "pixelate 2" and done % 11 > 4:
            raise Stop

    options = {"layout": layout, "severities": (1, 2, 3)}
    with pytest.raises(Stop):
        write(dataset, tmp_path / "set", show=stop, **options)

    def whole():
        files = (file for file in (tmp_path / "set").rglob("*") if file.is_file())
        relative = (file.relative_to(tmp_path / "set") for file in files)
        return {str(name) for name in relative if not any(part.startswith(".") for part in name.parts)}

    before = whole()
    if layout == "npy":
        assert before == {"corrupted.json", "labels.npy", "contrast.npy"}
        missing = 3
    else:
        cells = {str(Path(name).parents[1]) for name in before if name.endswith("png")}
        assert cells == {"contrast/1", "contrast/2", "contrast/3", "pixelate/1"}
        missing = 2
    times = {name: (tmp_path / "set" / name).stat().st_mtime_ns for name in before if name != "labels.npy"}
    assert write(dataset, tmp_path / "set", **options) == missing * 11
    assert times == {name: (tmp_path / "set" / name).stat().st_mtime_ns for name in times}, "written once"
    write(dataset, tmp_path / "other", **options)
    files = sorted(file for file in (tmp_path / "other").rglob("*") if file.is_file())
    assert len(files) == len(whole())
    for file in files:
        assert file.read_bytes() == (tmp_path / "set" / file.relative_to(tmp_path / "other")).read_bytes()
    assert write(dataset, tmp_path / "set", **options) == 0
    assert write(dataset, tmp_path / "set", ("contrast", "brightness"), **options) == 33, "more may be added"


def test_a_folder_of_other_data_or_settings_is_refused(dataset, tmp_path):
    write(dataset, tmp_path / "set", ("contrast",), severities=(1,))
    message = r"set holds a set that was made otherwise \(there and here: severities: \(1,\) and \(1, 2\)\)\. Give"
    with pytest.raises(ValueError, match=message):
        write(dataset, tmp_path / "set", severities=(1, 2))
    with pytest.raises(ValueError, match=r"seed: 0 and 1\)\. Give --out another"):
        write(dataset, tmp_path / "set", severities=(1,), seed=1)
    other = Split(255 - dataset.test.images, dataset.test.labels)
    with pytest.raises(ValueError, match=r"made otherwise \(there and here: content: \w{64} and \w{64}\)"):
        write(Dataset("pets", other, other, other, dataset.class_names), tmp_path / "set", severities=(1,))
    labels = Split(dataset.test.images, dataset.test.labels[::-1].copy())
    with pytest.raises(ValueError, match="content"):
        write(Dataset("pets", labels, labels, labels, dataset.class_names), tmp_path / "set", severities=(1,))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(ValueError, match=r"full is not empty and has no corrupted\.json\. Give --out another"):
        write(dataset, tmp_path / "full")


def test_the_command_writes_a_set_and_goes_on(tmp_path):
    arguments = ["--reader", "digits", "--images=20", "--corruptions", "contrast", "--severities", "1", "3"]
    command = [sys.executable, "-m", "mollax.corrupt_set", f"--out={tmp_path / 'set'}", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "1 corruptions x 2 severities of 20 images; 40 images written" in done.stdout
    assert "corrupting 40/40 contrast 3" in done.stderr
    assert "digits: 10 classes" in done.stderr
    assert np.load(tmp_path / "set" / "contrast.npy").shape == (40, 8, 8, 1)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "the following arguments are required: --out"),
        (["--out={out}", "--format=jpg"], "invalid choice: 'jpg'"),
        (["--out={out}", "--severities", "6"], "invalid choice: 6"),
        (["--out={out}", "--corruptions", "forst"], "--corruptions must be one of"),
        (["--out={out}", "--corruptions", "forst"], "Did you mean 'frost'"),
        (["--out={out}", "--batch-size=0"], "--batch-size must be at least 1; got 0"),
        (["--out={out}", "--reader=folde"], "Did you mean 'folder'"),
        (["--out={out}", "--path=no/such"], "does not exist"),
        (["--out={out}", "--reader=digits", "--seed=-1"], "--seed must be at least 0; got -1"),
        (["--out={out}", "--reader=digits", "--image-size=4"], "at least 8x8 pixels"),
        (["--out={file}", "--reader=digits"], "File exists"),
    ],
)
def test_the_command_ends_in_one_message(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(corrupt_set.host, "keep_freed_memory", lambda: True)
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as stopped:
        corrupt_set.main([word.format(out=tmp_path / "out", file=tmp_path / "file") for word in arguments])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
