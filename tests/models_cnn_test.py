"""The 5-layer CNN against a torch re-implementation, hand counts and a hand-made image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_variables import counted, drawn

from mollax.models import CNN


def test_parameter_counts():
    pairs = [(3, 32), (32, 64), (64, 128), (128, 256)]
    weights = sum(9 * a * b for a, b in pairs) + 256 * 10 + 10
    assert counted(CNN(classes=10)) == weights + 480 == 390_986
    assert counted(CNN(classes=10, batch_norm=True)) == weights + 2 * 480 == 391_466
    assert counted(CNN(classes=10), channels=1) == 390_986 - 2 * 9 * 32


@pytest.mark.parametrize("norm, side", [(False, 16), (True, 19)])
def test_logits_agree_with_torch(norm, side, rng):
    torch = pytest.importorskip("torch")
    from torch_copy import copy_conv, copy_linear, copy_norm, nchw

    widths = (4, 6, 8, 10)
    model = CNN(classes=5, widths=widths, batch_norm=norm)
    images = rng.normal(size=(6, side, side, 3)).astype(np.float32)
    variables = drawn(model, rng, side, side, 3)
    trunk, before = variables["params"]["trunk"], 3
    layers = []
    for i, width in enumerate(widths, start=1):
        layers.append(torch.nn.Conv2d(before, width, 3, padding=1, bias=not norm))
        copy_conv(layers[-1], trunk[f"conv{i}"])
        if norm:
            layers.append(torch.nn.BatchNorm2d(width))
            copy_norm(layers[-1], trunk[f"norm{i}"], variables["batch_stats"]["trunk"][f"norm{i}"])
        layers.append(torch.nn.ReLU())
        layers += [torch.nn.MaxPool2d(2)] if i > 1 else []
        before = width
    layers += [torch.nn.AdaptiveMaxPool2d(1), torch.nn.Flatten(), torch.nn.Linear(before, 5)]
    copy_linear(layers[-1], variables["params"]["linear"])
    reference = torch.nn.Sequential(*layers)
    for train in (False, True):
        apply = jax.jit(lambda x, train=train: model.apply(variables, x, train=train, mutable=["batch_stats"]))
        with torch.no_grad():
            expected = reference.train(train)(nchw(images))
        np.testing.assert_allclose(apply(images)[0], expected, atol=1e-4, rtol=1e-4)


def test_features_are_the_maximum_over_positions(rng):
    model = CNN(classes=3, widths=(4, 4, 4, 6))
    images = jnp.asarray(rng.normal(size=(2, 32, 24, 1)), jnp.float32)
    variables = drawn(model, rng, 32, 24, 1)
    maps = np.asarray(model.apply(variables, images, train=False, method="feature_maps"))
    assert maps.shape == (2, 4, 3, 6)
    features = model.apply(variables, images, train=False, method="features")
    np.testing.assert_array_equal(features, maps.reshape(2, 12, 6).max(axis=1))


def test_bad_widths_are_named():
    with pytest.raises(ValueError, match="number of widths must be at least 1"):
        CNN(classes=10, widths=())
    with pytest.raises(ValueError, match="each of widths must be at least 1; got -2"):
        CNN(classes=10, widths=(8, -2))
