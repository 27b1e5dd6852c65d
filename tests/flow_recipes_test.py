"""Rivals take the flow's place with penalties and controllers of their own."""

import pytest

from mollax import augmenters, flow_recipes, models, recipes


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
    controller = augmenters.create_controller(config, augmenter)
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
    controller = augmenters.create_controller(config, augmenter)
    assert (controller.minimum, controller.maximum, controller.weight) == (3.0, 3.5, 0.2)
    assert config.invariance.copies == copies
    if word == "lrp":
        assert augmenter.flow.flow.layers == 3
