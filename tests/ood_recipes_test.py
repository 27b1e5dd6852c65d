"""Words of configs that detect: each method with its weight and the scores that go with it."""

import pytest
import tiny

from mollax import detectors, evaluators, experiment, models, ood, ood_recipes, recipes
from mollax.evaluators import parse_score


def made(word):
    config = recipes.base()
    ood_recipes.detect(config, "tv")
    ood_recipes.METHODS[word](config)
    return config


@pytest.mark.parametrize("score", [*ood_recipes.SCORES, *ood_recipes.CRITIC_SCORES])
def test_every_score_is_known(score):
    name, options = parse_score(score)
    assert name in evaluators.SCORES
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
    assert (detector is None) == (word in ("none", "logit_norm", "generalized_odin"))
    weights = {"exposure": 0.5, "energy": 0.1, "balanced_energy": 0.1}
    assert config.ood.weight == weights.get(word, 1.0)


def test_generalised_odin_comes_with_its_head_and_the_scores_that_need_no_linear_one():
    config = made("generalized_odin")
    network = experiment.create_network(config, 10)
    assert network.confidence == ood.DecomposedConfidence(10, kind="cosine", axis_name=network.axis_name)
    scores = [score.partition(":")[0] for score in config.eval.ood.scores]
    assert scores[-1] == "generalized_odin"
    assert {"msp", "energy", "odin", "mahalanobis", "knn"} < set(scores)
    assert not {"ash", "vim", "react", "bfact", "rankfeat", "gradnorm"} & set(scores)


def test_the_words_for_sources_make_one_list_of_them():
    config = recipes.base()
    ood_recipes.WORDS["auxiliary"](config)
    ood_recipes.WORDS["gan"](config)
    shares = {name: share for name, share in config.ood.sources.items() if share}
    assert shares == {"auxiliary": 1.0, "gan": 1.0}
    assert config.name.endswith("-auxiliary-gan")
