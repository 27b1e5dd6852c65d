"""Rivals take the flow's place with penalties and controllers of their own."""

import re
import runpy
from pathlib import Path

import jax.numpy as jnp
import pytest

from mollax import augmenters, experiment, flow_recipes, models, recipes

CONFIGS = Path(__file__).parents[1] / "configs"
FLOWS = [*sorted(CONFIGS.glob("*_flow.py")), CONFIGS / "rotation_discovery.py"]


def affine():
    config = recipes.base()
    flow_recipes.affine_flow(config, weight=0.1)
    return config


@pytest.mark.parametrize("word", flow_recipes.RIVALS)
def test_every_rival_can_be_made(word):
    config = affine()
    flow_recipes.RIVALS[word](config)
    assert config.name.endswith(f"-{word}")
    if word == "none":
        assert augmenters.create_learned(config, models.create_model("mlp", classes=2), lambda name, text: 0) is None
        return
    augmenter = augmenters.create_augmenter(config)
    assert type(augmenter) is augmenters.AUGMENTERS[word]
    controller = augmenters.create_controller(config, augmenter, lambda name, duration: 7)
    assert getattr(controller, "period", 7) == 7
    expected = {"uniform": 0.0, "augerino": 0.01, "instaaug": 0.1, "gaussian": 1.0}[word]
    assert controller.weight == expected


def test_the_flow_of_small_images():
    config = affine()
    augmenter = augmenters.create_augmenter(config)
    assert (augmenter.flow.dimension, augmenter.flow.modes, augmenter.flow.layers) == (6, 10, 12)
    assert not config.mollify.enabled
    assert not config.augment.flip


def test_mollification_goes_with_the_average_of_losses():
    config = affine()
    assert config.invariance.average == "logits"
    flow_recipes.mollified(config)
    assert config.mollify.enabled
    assert config.invariance.average == "loss"


@pytest.mark.parametrize("word, copies", [("grid", 1), ("lrp", 2)])
def test_the_321_crops(word, copies):
    config = recipes.base()
    flow_recipes.learn_transforms(config, "flow", kind="crop", layers=3)
    flow_recipes.CROP_GRIDS[word](config)
    augmenter = augmenters.create_augmenter(config)
    controller = augmenters.create_controller(config, augmenter, lambda name, duration: 7)
    assert (controller.minimum, controller.maximum, controller.weight) == (3.0, 3.5, 0.2)
    assert controller.period == 7
    assert config.invariance.copies == copies
    if word == "lrp":
        assert augmenter.flow.flow.layers == 3


def words_of(path):
    """The words that a config knows, from the message that refuses another."""
    module = runpy.run_path(str(path))
    with pytest.raises(ValueError, match="must be one of") as caught:
        module["get_config"]("no such word")
    return module["get_config"], re.findall(r"'(\w+)'", str(caught.value).partition(";")[0])


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.stem)
def test_every_word_makes_a_run_alone_and_with_small_in_any_order(path):
    """Network, augmenter, controller, objective and prediction; what a run is does not hang on the order of words."""
    get_config, words = words_of(path)
    small = ["small"] if "small" in words else []
    for word in words:
        config = get_config(",".join([*small, word]))
        assert config.to_json() == get_config(",".join([word, *small])).to_json()
        for one in (config, get_config(word)):
            network = experiment.create_network(one, 4)
            learned = augmenters.create_learned(one, network, lambda name, duration: 7)
            if learned is not None:
                mean = std = jnp.ones(3)
                augmenters.create_objective(one, learned, classes=4, mean=mean, std=std)
                augmenters.create_predict(one, learned, mean=mean, std=std)
