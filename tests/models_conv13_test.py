"""Augerino's 13-layer network against a torch re-implementation, with its channel dropout."""

import itertools

import jax
import numpy as np
import pytest
from model_variables import counted, drawn

from mollax.models import Conv13


def widths(k):
    return [k, k, 2 * k] + [2 * k] * 6


def test_parameter_counts():
    for channels, expected in ((3, 3_991_434), (1, 3_989_130)):
        ins = [channels, *widths(128)]
        by_hand = sum(9 * a * b + 2 * b for a, b in itertools.pairwise(ins)) + 256 * 10 + 10
        assert counted(Conv13(classes=10), channels) == by_hand == expected


@pytest.mark.parametrize("side", [16, 11])
def test_logits_agree_with_torch(side, rng):
    torch = pytest.importorskip("torch")
    from torch_copy import copy_conv, copy_linear, copy_norm, nchw

    model = Conv13(classes=5, width=4, dropout=0.0)
    images = rng.normal(size=(6, side, side, 3)).astype(np.float32)
    variables = drawn(model, rng, side, side, 3)
    params, stats = variables["params"], variables["batch_stats"]["trunk"]
    layers, before = [], 3
    for i, width in enumerate(widths(4)):
        name = f"{i // 3 + 1}_{i % 3 + 1}"
        layers += [torch.nn.MaxPool2d(2)] if i in (3, 6) else []
        layers += [torch.nn.Conv2d(before, width, 3, padding=1, bias=False), torch.nn.BatchNorm2d(width)]
        copy_conv(layers[-2], params["trunk"][f"conv{name}"])
        copy_norm(layers[-1], params["trunk"][f"norm{name}"], stats[f"norm{name}"])
        layers.append(torch.nn.ReLU())
        before = width
    layers += [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(before, 5)]
    copy_linear(layers[-1], params["linear"])
    reference = torch.nn.Sequential(*layers)
    for train in (False, True):
        apply = jax.jit(lambda x, train=train: model.apply(variables, x, train=train, mutable=["batch_stats"]))
        with torch.no_grad():
            expected = reference.train(train)(nchw(images))
        np.testing.assert_allclose(apply(images)[0], expected, atol=1e-4, rtol=1e-4)


def test_dropout_drops_whole_channels(rng):
    images = rng.normal(size=(16, 32, 32, 3)).astype(np.float32)
    variables = drawn(Conv13(classes=5, width=8), rng, 32, 32, 3)
    # Shifted up, a normalised map of 64 positions is never all negative: a channel of zeros was dropped.
    for i in (1, 2, 3):
        variables["params"]["trunk"][f"norm3_{i}"]["bias"] = np.ones(16, np.float32)

    def dropped(rate, seed=1):
        model = Conv13(classes=5, width=8, dropout=rate)

        @jax.jit
        def maps(x, key):
            options = {"method": "feature_maps", "rngs": {"dropout": key}, "mutable": ["batch_stats"]}
            return model.apply(variables, x, train=True, **options)[0]

        return (np.asarray(maps(images, jax.random.key(seed))) == 0).all(axis=(1, 2))

    assert not dropped(0.0).any()
    # 256 channels: a standard deviation of 0.03.
    assert abs(dropped(0.3).mean() - 0.3) < 0.12
    assert (dropped(0.3, seed=1) != dropped(0.3, seed=2)).any()


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\); got -0.1"):
        Conv13(classes=10, dropout=-0.1)
    with pytest.raises(ValueError, match="width must be at least 1; got 0"):
        Conv13(classes=10, width=0)
