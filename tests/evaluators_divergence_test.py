"""A critic that knows every image by heart finds all there is, one that knows nothing finds nothing."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from mollax import data, models, ood
from mollax.evaluators import DivergenceEvaluator


class Oracle(nn.Module):
    """Sure of a label that can be read off features: the class for images, nothing for shuffled ones."""

    strength: float

    def __call__(self, features):
        return self.strength * features


class Labelled(nn.Module):
    """Features of images whose corner says their class and whose last pixel is bright until blocks are shuffled."""

    def features(self, images, *, train):
        grid = jnp.round(255 * images[..., 0])
        marked = grid[:, -1, -1] == 255
        wanted = jnp.where(marked, grid[:, 0, 0].astype(jnp.int32), 2)
        return 2 * jax.nn.one_hot(wanted, 3) - 1

    def head(self, features):
        return features[:, :2]

    def __call__(self, images, *, train):
        return self.head(self.features(images, train=train))


@pytest.fixture(scope="module")
def dataset():
    labels = np.arange(40, dtype=np.int32) % 2
    images = np.full((40, 8, 8, 1), 100, np.uint8)
    images[:, 0, 0, 0], images[:, -1, -1, 0] = labels, 255
    split = data.Split(images, labels)
    return data.Dataset("marked", split, split, split, ("a", "b"))


def found(dataset, name, strength):
    model = ood.CriticClassifier(classifier=Labelled(), critic=Oracle(strength))
    evaluator = DivergenceEvaluator(
        model,
        dataset,
        name=name,
        class_freq=np.array([0.5, 0.5]),
        id_share=0.5,
        mean=jnp.zeros(1),
        std=jnp.ones(1),
        batch_size=16,
    )
    return evaluator.run({})


@pytest.mark.parametrize("name, strength", [("tv", 20.0), ("tv", 0.0), ("jensen_shannon", 0.0)])
def test_all_or_nothing(dataset, name, strength):
    block = found(dataset, name, strength)
    most = ood.divergence_maximum(name, np.array([0.5, 0.5]), 0.5)
    assert (block["name"], block["images"], block["maximum"]) == (name, 40, most)
    np.testing.assert_allclose(block["test"], most if strength else 0.0, rtol=1e-3, atol=1e-6)


def test_an_unbounded_divergence_has_the_maximum_of_its_clip(dataset):
    block = found(dataset, "reverse_kl", 0.0)
    assert block["maximum"] == ood.divergence_maximum("reverse_kl", np.array([0.5, 0.5]), 0.5, clip=10.0)


def test_unknown(dataset):
    model = ood.CriticClassifier(classifier=models.create_model("mlp", classes=2), critic=ood.Critic(2))
    options = {"class_freq": np.array([0.5, 0.5]), "id_share": 0.5, "mean": tiny.MEAN, "std": tiny.STD}
    with pytest.raises(ValueError, match="Did you mean 'tv'"):
        DivergenceEvaluator(model, dataset, name="tvv", **options)
