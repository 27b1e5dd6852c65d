"""`model.weights`: a ViT starts from a file, alone or beside a critic, or at random, and the log says which."""

import logging

import numpy as np
import pytest
import tiny
from model_variables import drawn
from models_pretrained_test import timm
from models_weight_files_test import write_safetensors

from mollax import experiment
from mollax.checkpoint import config_differences
from mollax.models import ViT

OPTIONS = {"patch": 4, "width": 12, "depth": 2, "heads": 3, "mlp": 20}
SETTINGS = {"model__name": "vit", "model__options": OPTIONS, "model__weights_statistics": "own", "optim__ema": 0.9}


@pytest.fixture(scope="module")
def dataset():
    return experiment.load_data(tiny.config())


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    params = drawn(ViT(classes=10, **OPTIONS), np.random.default_rng(3), 8, 8, 1)["params"]
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    return write_safetensors(path, {k: np.ascontiguousarray(v) for k, v in timm(params).items()}), params


def first(config, dataset):
    run = experiment.create(config, dataset)
    return experiment.first_state(config, run, experiment.init_state(config, run))


def test_a_vit_starts_from_a_file(dataset, file, caplog):
    path, expected = file
    with caplog.at_level(logging.INFO):
        state = first(tiny.config(**SETTINGS, model__weights=str(path)), dataset)
    tiny.equal(state.params, expected)
    tiny.equal(state.evaluated()["params"], expected)
    said = f"vit starts from {path}: timm's names; with their head of 10 classes; images as the weights saw them."
    assert said in caplog.messages


def test_the_critic_starts_at_random_beside_it(dataset, file):
    settings = {**SETTINGS, "mollify__enabled": False, "ood__method": "tv"}
    state = first(tiny.config(**settings, model__weights=str(file[0])), dataset)
    other = first(tiny.config(**settings), dataset)
    tiny.equal(state.params["classifier"], file[1])
    tiny.equal(state.params["critic"], other.params["critic"])


def test_a_random_start_is_said(dataset, caplog):
    with caplog.at_level(logging.INFO):
        first(tiny.config(**SETTINGS), dataset)
    assert "vit starts at random: model.weights is empty." in caplog.messages
    caplog.clear()
    first(tiny.config(), dataset)
    assert not [line for line in caplog.messages if "random" in line]


def test_settings_that_make_no_sense(dataset, file, tmp_path):
    path = str(file[0])
    with pytest.raises(ValueError, match=r"model\.weights and init_from both say what the classifier starts from"):
        first(tiny.config(**SETTINGS, model__weights=path, init_from=str(tmp_path)), dataset)
    with pytest.raises(ValueError, match="Weights can be loaded into ViTs alone"):
        first(tiny.config(model__weights=path), dataset)
    with pytest.raises(FileNotFoundError, match=r"no file of weights .*nothing\.npz"):
        first(tiny.config(**SETTINGS, model__weights=str(tmp_path / "nothing.npz")), dataset)


def test_a_run_goes_on_where_the_file_has_moved():
    before, after = (tiny.config(model__weights=name).to_dict() for name in ("a/w.npz", "b/w.npz"))
    assert config_differences(before, after) == []
