"""A critic that knows every image by heart finds all there is, one that knows nothing finds nothing."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from ood_divergences_test import best

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


class Best(nn.Module):
    """The best critic of a divergence: dP/dQ is 1 / P(Y) at the label that is read off features, and nearly 0 else."""

    divergence: str
    shares: tuple[float, float]
    id_share: float

    def __call__(self, features):
        own = -np.log([self.id_share * self.shares[0], self.id_share * self.shares[1], 1 - self.id_share])
        values = (best(self.divergence, log_ratio).astype(np.float32) for log_ratio in (own, np.full(3, -60.0)))
        return jnp.where(features > 0, *(jnp.asarray(value)[None] for value in values))


def found(dataset, name, critic, shares=(0.5, 0.5), id_share=0.5, **options):
    evaluator = DivergenceEvaluator(
        ood.CriticClassifier(classifier=Labelled(), critic=critic),
        dataset,
        name=name,
        class_freq=np.array(shares),
        id_share=id_share,
        mean=jnp.zeros(1),
        std=jnp.ones(1),
        batch_size=16,
        **options,
    )
    return evaluator.run({})


@pytest.mark.parametrize("name, strength", [("tv", 20.0), ("tv", 0.0), ("jensen_shannon", 0.0)])
def test_all_or_nothing(dataset, name, strength):
    block = found(dataset, name, Oracle(strength))
    most = ood.divergence_maximum(name, np.array([0.5, 0.5]), 0.5)
    assert (block["name"], block["images"], block["maximum"]) == (name, 40, most)
    np.testing.assert_allclose(block["test"], most if strength else 0.0, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in ood.DIVERGENCES if name != "bc_id_ood"])
def test_the_best_critic_of_a_long_tailed_set_reaches_the_maximum_on_balanced_images(dataset, name):
    shares = (0.9, 0.1)
    block = found(dataset, name, Best(name, shares, 0.4), shares, 0.4)
    np.testing.assert_allclose(block["test"], block["maximum"], rtol=1e-5)
    assert block["test"] <= block["maximum"] + 1e-5
    worse = found(dataset, name, Best(name, shares[::-1], 0.4), shares, 0.4)
    assert worse["test"] <= block["maximum"] + 1e-5


def test_the_worked_example(dataset):
    """Balanced test images, shares (.9, .1) in training: 1 - (.25 .45 + .25 .05 + .5 .5)."""
    block = found(dataset, "tv", Oracle(20.0), (0.9, 0.1))
    np.testing.assert_allclose((block["test"], block["maximum"]), 0.625, rtol=1e-6)


def test_an_unbounded_divergence_has_the_maximum_of_its_clip(dataset):
    block = found(dataset, "reverse_kl", Oracle(0.0))
    assert block["maximum"] == ood.divergence_maximum("reverse_kl", np.array([0.5, 0.5]), 0.5, clip=10.0)
    reverse_kl = functools.partial(found, dataset, "reverse_kl", Best("reverse_kl", (0.5, 0.5), 0.5))
    block = reverse_kl(clip=3.0)
    assert block["maximum"] == ood.divergence_maximum("reverse_kl", np.array([0.5, 0.5]), 0.5, clip=3.0)
    np.testing.assert_allclose(block["test"], block["maximum"], rtol=1e-5)
    block = reverse_kl(clip=None)
    assert block["maximum"] is None
    assert block["test"] > 30


def test_classes_that_one_split_lacks(dataset):
    never = found(dataset, "dv", Oracle(0.0), (1.0, 0.0))
    assert never["maximum"] is None  # nothing bounds a critic of a class that training says is impossible
    assert found(dataset, "tv", Oracle(20.0), (1.0, 0.0))["maximum"] == pytest.approx(0.625)
    kept = np.asarray(dataset.test.labels) == 0
    half = data.Split(dataset.test.images[kept], dataset.test.labels[kept])
    one = data.Dataset("one", half, half, half, dataset.class_names)
    block = found(one, "dv", Best("dv", (0.2, 0.8), 0.5), (0.2, 0.8))
    np.testing.assert_allclose(block["test"], block["maximum"], rtol=1e-5)


def test_unknown(dataset):
    model = ood.CriticClassifier(classifier=models.create_model("mlp", classes=2), critic=ood.Critic(2))
    options = {"class_freq": np.array([0.5, 0.5]), "id_share": 0.5, "mean": tiny.MEAN, "std": tiny.STD}
    with pytest.raises(ValueError, match="Did you mean 'tv'"):
        DivergenceEvaluator(model, dataset, name="tvv", **options)
