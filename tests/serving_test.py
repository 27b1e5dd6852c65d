"""A run in service: its outputs against the network and the scores themselves, and what it needs by message."""

import dataclasses
import json
import shutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import served_run
import tiny
from compiling import fast

from mollax import experiment, serving
from mollax.image import standardize
from mollax.train import train_and_evaluate


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return served_run.write(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def service(workdir):
    return serving.open_service(workdir)


@pytest.fixture(scope="module")
def server(service):
    return serving.Server(service, batch_size=8)


def test_outputs_are_those_of_network_and_scores(service, server):
    images, _ = served_run.digits(7)
    outputs = server(images)
    run = service.run
    values = standardize(jnp.asarray(images, jnp.float32) / 255.0, run.mean, run.std)
    logits = np.asarray(run.model.apply(run.variables, values, train=False), np.float64) / served_run.TEMPERATURE
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(outputs["probabilities"], probabilities, atol=1e-6)
    np.testing.assert_array_equal(outputs["label"], logits.argmax(axis=1))
    np.testing.assert_array_equal(outputs["probability"], outputs["probabilities"].max(axis=1))
    assert (outputs["label"].dtype, outputs["inside"].dtype) == (np.int32, np.bool_)
    assert set(outputs["scores"]) == set(served_run.ALL)
    expected = served_run.score_all(run.model, run.variables, service.states, values)
    for name, found in outputs["scores"].items():
        np.testing.assert_allclose(found, expected[name], rtol=1e-5, atol=1e-5, err_msg=name)
    assert service.flag_score == "knn:k=3", "the first by mean AUROC"
    inside = outputs["scores"]["knn:k=3"] <= np.float32(service.thresholds["knn:k=3"])
    np.testing.assert_array_equal(outputs["inside"], inside)


def near(a, b):
    """Two outputs agree, labels and flags exactly."""
    jax.tree.map(lambda left, right: np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6), a, b)


def test_an_image_does_not_depend_on_its_batch(server):
    images, _ = served_run.digits(8)
    whole = server(images)
    for one in (0, 5):
        near(server(images[one : one + 1]), jax.tree.map(lambda leaf, i=one: leaf[i : i + 1], whole))


@pytest.mark.parametrize("count", [1, 4, 5])
def test_scores_in_blocks_are_the_same(count, rng):
    first, logits = (jnp.asarray(rng.normal(size=(count, k)), jnp.float32) for k in (3, 2))

    def score(state, features, logits):
        assert len(features) == 2  # a number, as scores ask for
        return state * features.sum(axis=1) + logits[:, 0]

    found = fast(lambda a, b: serving._in_blocks(score, jnp.float32(2), a, b, 2))(first, logits)
    np.testing.assert_allclose(found, 2 * first.sum(axis=1) + logits[:, 0], rtol=1e-6)


def test_what_is_not_a_number_is_out(service):
    states = {"msp": service.states["msp"]}
    broken = dataclasses.replace(service, states=states, flag_score="msp")
    variables = jax.tree.map(lambda leaf: leaf * jnp.nan, service.run.variables)
    outputs = fast(partial(serving.serve, broken))((variables, states), jnp.zeros((2, 8, 8, 1), jnp.uint8))
    assert not outputs["inside"].any()


def test_a_score_can_be_chosen(workdir):
    chosen = serving.open_service(workdir, score="mahalanobis", scores=["msp", "mahalanobis"])
    assert chosen.flag_score == "mahalanobis:shrinkage=0.1"
    assert list(chosen.states) == ["msp", "mahalanobis:shrinkage=0.1"]
    with pytest.raises(ValueError, match=r"score must be one of .* got 'tvv'. Did you mean 'tv'"):
        serving.open_service(workdir, score="tvv")
    with pytest.raises(ValueError, match="flagged by 'tv', which is not among the scores"):
        serving.open_service(workdir, score="tv", scores=["msp"])
    none = serving.open_service(workdir, scores=[])
    assert (none.states, none.flag_score) == ({}, "")


def copy(workdir, folder):
    return shutil.copytree(workdir, folder / "copy")


def test_a_run_without_its_scores_still_serves(workdir, tmp_path, caplog):
    folder = copy(workdir, tmp_path)
    (folder / "detectors.npz").unlink()
    assert serving.open_service(folder).states == {}
    assert "detectors.npz is missing" in caplog.text
    with pytest.raises(ValueError, match="has stored no OOD scores, so 'knn' cannot be had"):
        serving.open_service(folder, score="knn")


def test_what_cannot_be_read_is_told(workdir, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no config\.json"):
        serving.open_service(tmp_path)
    folder = copy(workdir, tmp_path)
    whole = (folder / "detectors.npz").read_bytes()
    for content in (whole[:-100], b""):
        (folder / "detectors.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"detectors\.npz cannot be read"):
            serving.open_service(folder)
    (folder / "detectors.npz").write_bytes(whole)
    config = json.loads((folder / "config.json").read_text())
    config.pop("ood")
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="has no 'ood', which this version of mollax needs"):
        serving.open_service(folder)


def test_other_images_are_refused(server, unhooked):
    with pytest.raises(ValueError, match=r"at most 8 images of 8x8x1; got shape \(2, 9, 9, 1\)"):
        server(np.zeros((2, 9, 9, 1), np.uint8))
    with pytest.raises(ValueError, match=r"at most 8 images of 8x8x1; got shape \(9, 8, 8, 1\)"):
        server(np.zeros((9, 8, 8, 1), np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize("label_form", ["smooth", "extra"])
def test_a_trained_run_makes_the_errors_of_its_results(tmp_path, label_form):
    config = tiny.config(eval__stress=(), mollify__label_form=label_form)
    results = train_and_evaluate(config, tmp_path)
    service = serving.open_service(tmp_path)
    assert service.flag_score == ""
    test = serving_split(service)
    outputs = serving.Server(service, batch_size=60)(np.asarray(test.images))
    assert set(outputs) == {"label", "probability", "probabilities", "scores"}
    clean = results["evaluations"]["clean"]
    assert np.mean(outputs["label"] != test.labels) == pytest.approx(clean["error"], abs=1e-6)
    loss = -np.log(np.take_along_axis(outputs["probabilities"], test.labels[:, None], axis=1)).mean()
    assert loss == pytest.approx(clean["scaled"]["nll"], rel=1e-4)


@pytest.mark.slow
def test_a_flow_averages_over_the_same_draws_for_every_image(tmp_path):
    train_and_evaluate(tiny.flow_config(train__duration="3 steps", eval__every="3 steps"), tmp_path)
    service = serving.open_service(tmp_path)
    images = np.asarray(serving_split(service).images[:6])
    outputs = serving.Server(service, batch_size=8)(images)
    near(serving.Server(service, batch_size=4)(images[::-1][:3]), jax.tree.map(lambda x: x[::-1][:3], outputs))
    twice = serving.Server(service, batch_size=8)(np.repeat(images[:1], 6, axis=0))
    np.testing.assert_allclose(twice["probabilities"], twice["probabilities"][:1].repeat(6, axis=0), atol=1e-6)
    still = dataclasses.replace(service.run, model=service.run.model.classifier)
    alone = {"params": service.run.variables["params"]["classifier"]}
    plain = serving.Server(dataclasses.replace(service, run=dataclasses.replace(still, variables=alone)), batch_size=8)
    assert np.abs(plain(images)["probabilities"] - outputs["probabilities"]).max() > 1e-6, "and they are averaged"


def serving_split(service):
    """The test split of a run."""
    return experiment.load_data(service.run.config).test
