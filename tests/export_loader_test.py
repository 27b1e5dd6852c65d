"""The loader beside an artifact: batches, padding, and its own small command; see also export_test.py."""

import json

import jax
import numpy as np
import pytest
from jax import export

from mollax import export_loader


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An artifact that says how bright an image is."""
    top = tmp_path_factory.mktemp("exported")

    def outputs(images):
        mean = images.astype(np.float32).mean((1, 2, 3)) / 255
        label = (mean > 0.5).astype(np.int32)
        return {"label": label, "probability": mean, "scores": {"mean": mean}, "inside": mean < 0.9}

    shape = export.symbolic_shape("b, 2, 2, 1")
    made = export.export(jax.jit(outputs), platforms=("cpu", "cuda", "tpu"))(jax.ShapeDtypeStruct(shape, np.uint8))
    (top / "model.jax").write_bytes(made.serialize())
    metadata = {"artifact": "model.jax", "class_names": ["dark", "bright"], "image_shape": [2, 2, 1]}
    (top / "metadata.json").write_text(json.dumps(metadata))
    return top


@pytest.mark.parametrize("count", [1, 3, 8, export_loader.BATCH + 5])
def test_any_number_of_images(folder, rng, count):
    images = rng.integers(0, 256, (count, 2, 2, 1), np.uint8)
    model = export_loader.load(folder)
    outputs = model(images)
    expected = images.mean((1, 2, 3)) / 255
    np.testing.assert_allclose(outputs["scores"]["mean"], expected, rtol=1e-5)
    np.testing.assert_array_equal(outputs["label"], expected > 0.5)


def test_only_powers_of_two_are_compiled(folder):
    model = export_loader.load(folder)
    sizes, call = [], model._call
    model._call = lambda images: sizes.append(len(images)) or call(images)
    for count in (5, 7, export_loader.BATCH + 3):
        model(np.zeros((count, 2, 2, 1), np.uint8))
    assert sizes == [8, 8, export_loader.BATCH, 4]


def test_the_command_prints_a_line_an_image(folder, tmp_path, capsys, monkeypatch):
    np.save(tmp_path / "images.npy", np.array([0, 204, 255], np.uint8)[:, None, None, None].repeat(2, 1).repeat(2, 2))
    model = export_loader.load(folder)
    monkeypatch.setattr(export_loader, "load", lambda: model)
    export_loader.main([str(tmp_path / "images.npy")])
    assert capsys.readouterr().out == "dark\t0.0000\tin\nbright\t0.8000\tin\nbright\t1.0000\tout\n"
    with pytest.raises(SystemExit, match=r"Give one \.npy file"):
        export_loader.main([])


def test_other_arrays_are_refused(folder):
    model = export_loader.load(folder)
    for wrong in (np.zeros((1, 2, 2, 3), np.uint8), np.zeros((1, 2, 2, 1)), np.zeros((0, 2, 2, 1), np.uint8)):
        with pytest.raises(ValueError, match=r"Expected uint8 images of shape \(n, 2, 2, 1\), n at least 1; got"):
            model(wrong)
