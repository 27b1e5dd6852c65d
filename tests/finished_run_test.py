"""A finished run opened again: its model does what its results say."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from mollax import experiment, finished_run
from mollax.image import standardize
from mollax.train import train_and_evaluate


@pytest.mark.parametrize("label_form", ["smooth", "extra"])
def test_the_model_makes_the_errors_of_the_results(tmp_path, monkeypatch, label_form):
    tiny.without_page(monkeypatch)
    config = tiny.config(train__duration="4 steps", mollify__label_form=label_form)
    train_and_evaluate(config, tmp_path)
    if label_form == "extra":  # as written before there was another head than the linear one
        written = json.loads((tmp_path / "config.json").read_text())
        del written["model"]["head"]
        (tmp_path / "config.json").write_text(json.dumps(written))
    run = finished_run.open_run(tmp_path)
    test = experiment.load_data(run.config).test
    images = jnp.asarray(test.images[:], jnp.float32) / 255
    logits = run.model.apply(run.variables, standardize(images, run.mean, run.std), train=False)
    assert logits.shape == (60, 10 + (label_form == "extra"))
    guessed = np.argmax(logits[:, :10], axis=1)
    assert np.mean(guessed != test.labels) == pytest.approx(run.results["evaluations"]["clean"]["error"], abs=1e-6)
    assert run.config.mollify.label_form == label_form
    assert jax.tree.structure(run.variables) == jax.tree.structure(
        run.model.init(jax.random.key(0), images[:1], train=False)
    )


def test_a_folder_without_a_run_is_named(tmp_path):
    for name in ("config.json", "results.json"):
        with pytest.raises(FileNotFoundError, match=f"There is no {name} in .*has finished"):
            finished_run.open_run(tmp_path)
        (tmp_path / name).write_text('{"data": {}}')


@pytest.mark.usefixtures("unhooked")
def test_draws_are_the_augmenters(tmp_path, monkeypatch):
    """They depend on seed, place and image alone; crops keep to the limits of the run's end."""
    tiny.without_page(monkeypatch)
    changes = {"kind": "crop", "limits": (0.9, 1.0), "late_limits": (0.4, 0.5), "late_from": "1 steps"}
    config = tiny.flow_config(train__duration="2 steps", **{f"invariance__{name}": x for name, x in changes.items()})
    train_and_evaluate(config, tmp_path)
    run = finished_run.open_run(tmp_path)
    images = experiment.load_data(run.config).test.images[:5]
    drawn = run.draw(images, n=7)
    assert drawn.matrices.shape == (5, 7, 2, 3)
    sides = np.asarray(drawn.matrices)[:, :, [0, 1], [0, 1]]
    assert 0.4 <= sides.min() <= sides.max() <= 0.5
    np.testing.assert_allclose(run.draw(images[:2], n=7).params, drawn.params[:2], atol=1e-5)
    assert not np.allclose(run.draw(images, n=7, seed=1).params, drawn.params)
    for wrong, options, message in (
        (images[..., :0], {"n": 1}, r"takes images of shape \(8, 8, 1\); got an array of shape \(5, 8, 8, 0\)"),
        (images, {"n": 0}, "n must be"),
    ):
        with pytest.raises(ValueError, match=message):
            run.draw(wrong, **options)
    for wrong in (images / np.float32(255), images.astype(np.int32)):
        with pytest.raises(TypeError, match=r"images must be 8-bit \(uint8, 0 to 255\); got (float32|int32)"):
            run.draw(wrong, n=1)
    plain = dataclasses.replace(run, model=run.model.classifier)
    with pytest.raises(ValueError, match="has no augmenter"):
        plain.draw(images, n=1)
