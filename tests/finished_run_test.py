"""A finished run opened again: its model does what its results say."""

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
