"""Words of configs that detect: each method with its weight and the scores that go with it."""

import pytest
import tiny

from mollax import detectors, experiment, models, ood, ood_recipes, recipes
from mollax.evaluators import parse_score


def made(word):
    config = recipes.base()
    ood_recipes.detect(config, "tv")
    ood_recipes.METHODS[word](config)
    return config


@pytest.mark.parametrize("score", [*ood_recipes.SCORES, *ood_recipes.CRITIC_SCORES])
def test_every_score_is_known(score):
    name, options = parse_score(score)
    assert name in ood.scores.SCORES
    assert all(value is not None for value in options.values())


@pytest.mark.parametrize("word", ood_recipes.METHODS)
def test_every_method_can_be_made(word):
    config = made(word)
    assert config.name.endswith(f"-{word}")
    critic = config.ood.method == "tv"
    assert critic == (word == "head")
    assert (ood_recipes.CRITIC_SCORES[0] in config.eval.ood.scores) == critic
    data = experiment.load_data(tiny.config())
    detector = detectors.create_detector(config, models.create_model("mlp", classes=10), data)
    assert (detector is None) == (word in ("none", "logit_norm"))
    weights = {"exposure": 0.5, "energy": 0.1, "balanced_energy": 0.1}
    assert config.ood.weight == weights.get(word, 1.0)
