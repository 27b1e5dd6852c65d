"""From a config to augmentation, mixing and mollifier, and settings of them that make no sense."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from ml_collections import ConfigDict

from mollax import augment, preparation


def test_a_policy_follows_the_classic_augmentation(rng):
    image = jnp.asarray(rng.integers(0, 256, (12, 12, 3)) / 255, jnp.float32)
    key = jax.random.key(3)
    first, second = jax.random.split(key)
    classic = preparation.create_augment(tiny.config(augment__flip=True))
    both = preparation.create_augment(tiny.config(augment__flip=True, augment__policy="trivial"))
    expected = augment.trivial_augment(second, classic(first, image))
    np.testing.assert_allclose(both(key, image), expected, atol=1e-6)
    alone = preparation.create_augment(tiny.config(augment__pad=0, augment__policy="trivial"))
    np.testing.assert_allclose(alone(key, image), augment.trivial_augment(key, image), atol=1e-6)
    assert preparation.create_augment(tiny.config(augment__pad=0)) is None


def test_policies_and_their_options_are_checked():
    with pytest.raises(ValueError, match=r"augment\.policy must be one of .*Did you mean 'trivial'"):
        preparation.create_augment(tiny.config(augment__policy="trivail"))
    options = ConfigDict({"polcy": "cifar10"})
    with pytest.raises(ValueError, match=r"option of auto must be one of .*Did you mean 'policy'"):
        preparation.create_augment(tiny.config(augment__policy="auto", augment__policy_options=options))
    with pytest.raises(ValueError, match=r"augment\.policy is empty; name one"):
        preparation.create_augment(tiny.config(augment__policy_options=options))


def test_consistency_leaves_the_policy_to_the_views():
    config = tiny.config(augment__pad=0, augment__policy="augmix", loss__consistency=12.0)
    image = jnp.full((8, 8, 1), 0.5)
    assert preparation.create_augment(config) is None
    assert preparation.create_views(config)(jax.random.key(0), image).shape == (2, 8, 8, 1)
    assert preparation.create_views(tiny.config(augment__policy="augmix")) is None
    with pytest.raises(
        ValueError, match=r'loss\.consistency is 12\.0, which needs augment\.policy "augmix"; got "rand"'
    ):
        preparation.create_views(tiny.config(augment__policy="rand", loss__consistency=12.0))


def test_mixing_needs_whole_groups_on_every_device():
    assert preparation.create_mix(tiny.config()) is None
    config = tiny.config(augment__mix="cutmix", augment__mix_alpha=0.3, train__batch_size=8 * jax.device_count())
    mix = preparation.create_mix(config)
    assert mix.func is augment.cutmix
    assert mix.keywords == {"alpha": 0.3, "per_image": False}
    with pytest.raises(ValueError, match=r"must be a multiple of 8 x devices x optim\.accumulate, \d+; got 4\."):
        preparation.create_mix(tiny.config(augment__mix="mixup", train__batch_size=4))
    with pytest.raises(ValueError, match=r"augment\.mix must be one of 'mixup', 'cutmix'; got 'mixop'. Did you mean"):
        preparation.create_mix(tiny.config(augment__mix="mixop"))


def test_augmentation_may_be_off():
    assert preparation.create_augment(tiny.config(augment__pad=0)) is None
    assert preparation.create_augment(tiny.config()) is not None
