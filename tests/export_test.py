"""The export command: what it writes, that it agrees with the run without mollax, and mistakes by message."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import served_run
import tiny

from mollax import experiment, export, serving
from mollax.train import train_and_evaluate

# What users of an artifact need not have: importing any of it fails.
ALONE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"mollax", "flax", "optax", "distrax", "orbax", "ml_collections", "PIL"}:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Refuse())
folder, images, out, *counts = sys.argv[1:]
sys.path.insert(0, folder)
import numpy, load
model, images, found = load.load(), numpy.load(images), {}
for count in counts:
    outputs = model(images[: int(count)])
    named = {f"scores/{name}": values for name, values in outputs.pop("scores").items()}
    found.update({f"{count}/{name}": values for name, values in {**outputs, **named}.items()})
numpy.savez(out, **found)
for wrong in (images[0], images[:0], images.astype("float32")):
    try:
        model(wrong)
    except ValueError as error:
        print(error)
"""


def run(*arguments):
    """The exit code."""
    try:
        export.main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        return stopped.code
    return 0


def alone(folder, images, tmp_path, counts):
    """The outputs of an artifact by "count/name", and what was printed, in a process without mollax."""
    np.save(tmp_path / "images.npy", images)
    out = tmp_path / "outputs.npz"
    # Compiled without optimization, which is most of the time here.
    environment = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-I", "-c", ALONE, folder, tmp_path / "images.npy", out, *map(str, counts)]
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with np.load(out) as file:
        return dict(file), done.stdout


def agree(found, expected, count):
    """The first `count` of the run's outputs: probabilities to 1e-5, scores to 1e-5 of their size (1 if smaller)."""
    flat = {**expected, **{f"scores/{name}": values for name, values in expected["scores"].items()}}
    flat.pop("scores")
    assert {name for name in found if name.startswith(f"{count}/")} == {f"{count}/{name}" for name in flat}
    for name, values in flat.items():
        mine = found[f"{count}/{name}"]
        assert (mine.shape, mine.dtype) == (values[:count].shape, values.dtype)
        if values.dtype.kind == "f":
            size = max(1, np.abs(values).max()) if name.startswith("scores/") else 1
            np.testing.assert_allclose(mine, values[:count], rtol=0, atol=1e-5 * size)
        else:
            np.testing.assert_array_equal(mine, values[:count])


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return served_run.write(tmp_path_factory.mktemp("run"))


def test_the_artifact_agrees_with_the_run_and_needs_jax_alone(workdir, tmp_path, capsys):
    folder = tmp_path / "exported"
    assert run(f"--workdir={workdir}", f"--out={folder}") == 0
    assert "MiB for cpu, cuda, tpu; scores: msp, knn:k=3" in capsys.readouterr().out
    assert sorted(file.name for file in folder.iterdir()) == ["load.py", "metadata.json", "model.jax"]
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["sha256"] == hashlib.sha256((folder / "model.jax").read_bytes()).hexdigest()
    assert (metadata["class_names"], metadata["image_shape"]) == (list(served_run.NAMES), [8, 8, 1])
    assert metadata["flag_score"] == "knn:k=3"
    service = serving.open_service(workdir)
    assert {row["name"]: row["threshold"] for row in metadata["scores"]} == service.thresholds
    images, _ = served_run.digits(7)
    expected = serving.Server(service, batch_size=7)(images)
    found, printed = alone(folder, images, tmp_path, (1, 3, 7))
    for count in (1, 3, 7):
        agree(found, expected, count)
    assert printed.count("Expected uint8 images of shape (n, 8, 8, 1), n at least 1; got ") == 3


def test_scores_that_do_not_fit_are_named_and_left_out(workdir, tmp_path):
    service = serving.open_service(workdir, score="msp", scores=["msp", "tv", "knn"])
    kept, left_out = export.fit_in(service, limit_mib=0.001)
    assert (list(kept.states), list(kept.thresholds)) == (["msp", "tv"], ["msp", "tv"])
    assert list(left_out) == ["knn:k=3"]
    assert "MiB, over --limit-mib=0.001" in left_out["knn:k=3"]
    np.save(tmp_path / "bank.npy", np.zeros((4, 16), np.float32))
    bank = np.load(tmp_path / "bank.npy", mmap_mode="r")
    states = {**service.states, "knn:k=3": service.states["knn:k=3"]._replace(bank=bank)}
    _, left_out = export.fit_in(dataclasses.replace(service, states=states))
    assert left_out == {"knn:k=3": "its bank is read from a file while it searches"}
    with pytest.raises(ValueError, match=r"'knn:k=3' cannot be exported: .* Flag by another one with --score"):
        export.fit_in(dataclasses.replace(service, flag_score="knn:k=3"), limit_mib=0.001)


def test_mistakes_are_one_line(workdir, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for arguments, message in (
        ((f"--workdir={workdir}", f"--out={tmp_path / 'full'}"), "is not empty. Give --out another folder"),
        ((f"--workdir={workdir}", f"--out={tmp_path / 'full' / 'file'}"), "is not empty"),
        ((f"--workdir={tmp_path}", f"--out={tmp_path / 'new'}"), "There is no config.json in"),
        ((f"--workdir={workdir}", f"--out={tmp_path / 'new'}", "--scores", "viim"), "score must be one of"),
        ((f"--workdir={workdir}", f"--out={tmp_path / 'new'}", "--limit-mib=-1"), "--limit-mib must be in [0, inf)"),
    ):
        assert run(*arguments) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_flow_is_exported_with_its_draws(tmp_path):
    train_and_evaluate(tiny.flow_config(train__duration="3 steps", eval__every="3 steps"), tmp_path / "run")
    assert run(f"--workdir={tmp_path / 'run'}", f"--out={tmp_path / 'exported'}") == 0
    service = serving.open_service(tmp_path / "run")
    images = np.asarray(experiment.load_data(service.run.config).test.images[:7])
    expected = serving.Server(service, batch_size=7)(images)
    found, _ = alone(tmp_path / "exported", images, tmp_path, (1, 7))
    for count in (1, 7):
        agree(found, expected, count)
    assert json.loads((tmp_path / "exported" / "metadata.json").read_text())["flag_score"] is None
