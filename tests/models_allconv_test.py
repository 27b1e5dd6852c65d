"""AllConv-10 against hand-counted parameters and a torch re-implementation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_agreement import agrees_with_torch, output_shapes
from model_variables import counted, drawn

from mollax.models import AllConv, create_model
from mollax.models.allconv import sigmoid_gelu

LAYERS = ["1_1", "1_2", "1_3", "2_1", "2_2", "2_3", "3_1", "3_2", "3_3"]


def test_parameter_counts():
    # google-research/augmix, models/cifar/allconv.py: (in, out, side) of every convolution, all with a bias.
    layers = [(3, 96, 3), (96, 96, 3), (96, 96, 3), (96, 192, 3), (192, 192, 3), (192, 192, 3), (192, 192, 3)]
    layers += [(192, 192, 1)] * 2
    by_hand = sum(k * k * a * b + 3 * b for a, b, k in layers) + 192 * 10 + 10
    assert counted(create_model("allconv10", classes=10)) == by_hand == 1_409_674
    assert counted(create_model("allconv10", classes=100)) == by_hand + 90 * 193
    # Springenberg et al. 2015, table 4: All-CNN-C has about 1.4 M.
    assert round(by_hand / 1e6, 1) == 1.4


@pytest.mark.parametrize("side, maps", [(32, 6), (64, 14), (12, 1)])
def test_output_shapes(side, maps):
    model = create_model("allconv10", classes=10)
    assert output_shapes(model, side) == ((2, maps, maps, 192), (2, 192), (2, 10))


def test_logits_agree_with_torch(rng):
    torch = pytest.importorskip("torch")
    from torch_apply import conv, norm

    def reference(x, params, stats, train):
        for name in LAYERS:
            p, s = params[f"layer{name}"], stats[f"layer{name}"]
            size = p["conv"]["kernel"].shape[0]
            x = conv(x, p["conv"], pad=0 if name == "3_1" else size // 2)
            x = norm(x, p["norm"], s["norm"], train=train)
            x = x * torch.sigmoid(1.702 * x)
            if name in ("1_3", "2_3"):
                x = torch.nn.functional.max_pool2d(x, 2)
        return x

    agrees_with_torch(AllConv(classes=5, widths=(4, 6), dropout=0.0), reference, rng, (6, 19, 19, 3))


def test_gelu_is_near_the_exact_one():
    x = jnp.linspace(-6.0, 6.0, 101)
    np.testing.assert_allclose(sigmoid_gelu(x), jax.nn.gelu(x, approximate=False), atol=0.021)
    assert sigmoid_gelu(x).min() > -0.17


def test_dropout_needs_a_key_in_training_only(rng):
    model = AllConv(classes=3, widths=(4, 6))
    variables = drawn(model, rng, 16, 16, 3)
    images = jnp.asarray(rng.normal(size=(4, 16, 16, 3)), jnp.float32)

    @jax.jit
    def train(key):
        return model.apply(variables, images, train=True, mutable=["batch_stats"], rngs={"dropout": key})[0]

    first, second = train(jax.random.key(0)), train(jax.random.key(1))
    assert np.abs(np.asarray(first - second)).max() > 1e-2
    np.testing.assert_array_equal(first, train(jax.random.key(0)))
    with pytest.raises(Exception, match="dropout"):
        jax.eval_shape(lambda x: model.apply(variables, x, train=True, mutable=["batch_stats"]), images)
    jax.eval_shape(lambda x: model.apply(variables, x, train=False), images)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"widths must be two numbers, .*got \(4,\)"):
        AllConv(classes=10, widths=(4,))
    with pytest.raises(ValueError, match="each of widths must be at least 1; got 0"):
        AllConv(classes=10, widths=(4, 0))
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\); got 1"):
        AllConv(classes=10, dropout=1.0)
