"""Wide residual networks against the published parameter counts and a torch re-implementation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_agreement import agrees_with_torch, output_shapes
from model_variables import counted, drawn

from mollax.models import WideResNet, create_model


@pytest.mark.parametrize(
    "name, classes, expected, millions",
    [
        # Zagoruyko and Komodakis 2016, table 4: 2.2 M and 36.5 M; WRN-40-10 by the same rule.
        ("wrn40_2", 10, 2_243_546, 2.2),
        ("wrn28_10", 10, 36_479_194, 36.5),
        ("wrn40_10", 10, 55_841_754, 55.8),
        ("wrn40_10", 100, 55_899_444, 55.9),
    ],
)
def test_parameter_counts(name, classes, expected, millions):
    assert counted(create_model(name, classes=classes)) == expected
    assert round(expected / 1e6, 1) == millions


@pytest.mark.parametrize("depth, width, millions", [(40, 1, 0.6), (40, 4, 8.9), (16, 8, 11.0), (22, 8, 17.2)])
def test_general_depths_and_widths_have_the_published_size(depth, width, millions):
    # The other rows of table 4.
    assert round(counted(WideResNet(classes=10, depth=depth, width=width)) / 1e6, 1) == millions


@pytest.mark.parametrize("side", [32, 64])
def test_output_shapes(side):
    model = create_model("wrn40_2", classes=10)
    assert output_shapes(model, side) == ((2, side // 4, side // 4, 128), (2, 128), (2, 10))


@pytest.mark.parametrize("depth, width, side", [(16, 1, 9), (10, 2, 12)])
def test_logits_agree_with_torch(depth, width, side, rng):
    torch = pytest.importorskip("torch")
    from torch_apply import conv, norm

    def reference(x, params, stats, train):
        x = conv(x, params["stem"])
        for stage in range(3):
            for block in range((depth - 4) // 6):
                name, stride = f"stage{stage + 1}_block{block + 1}", 2 if stage and not block else 1
                p, s = params[name], stats[name]
                y = torch.relu(norm(x, p["norm1"], s["norm1"], train=train))
                # The authors' rule: a new width gets the pre-activated input.
                x = conv(y, p["shortcut"], stride=stride) if "shortcut" in p else x
                y = conv(y, p["conv1"], stride=stride)
                x = x + conv(torch.relu(norm(y, p["norm2"], s["norm2"], train=train)), p["conv2"])
        return torch.relu(norm(x, params["norm"], stats["norm"], train=train))

    model = WideResNet(classes=5, depth=depth, width=width)
    agrees_with_torch(model, reference, rng, (6, side, side, 3))
    first = drawn(model, rng, side, side, 3)["params"]["trunk"]["stage1_block1"]
    assert ("shortcut" in first) == (width > 1)


def test_dropout_needs_a_key_in_training_only(rng):
    model = WideResNet(classes=3, depth=10, width=1, dropout=0.3)
    variables = drawn(model, rng, 8, 8, 3)
    images = jnp.asarray(rng.normal(size=(4, 8, 8, 3)), jnp.float32)

    @jax.jit
    def train(key):
        return model.apply(variables, images, train=True, mutable=["batch_stats"], rngs={"dropout": key})[0]

    first = train(jax.random.key(0))
    assert np.abs(np.asarray(first - train(jax.random.key(1)))).max() > 1e-2
    np.testing.assert_array_equal(first, train(jax.random.key(0)))
    with pytest.raises(Exception, match="dropout"):
        jax.eval_shape(lambda x: model.apply(variables, x, train=True, mutable=["batch_stats"]), images)
    jax.eval_shape(lambda x: model.apply(variables, x, train=False), images)


def test_bad_arguments_are_named():
    for depth in (41, 4):
        with pytest.raises(ValueError, match=f"depth must be 6n \\+ 4 with n >= 1, such as 16.*got {depth}"):
            WideResNet(classes=10, depth=depth)
    with pytest.raises(ValueError, match="width must be at least 1; got 0"):
        WideResNet(classes=10, width=0)
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\); got 1"):
        WideResNet(classes=10, dropout=1.0)
