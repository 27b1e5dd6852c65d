"""The Vision Transformer against published parameter counts and an independent torch one, and its way of pooling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_agreement import output_shapes
from model_variables import drawn, shapes

from mollax.models import ViT, count_parameters, create_model

TINY = {"patch": 4, "width": 12, "depth": 2, "heads": 3, "mlp": 20}


@pytest.mark.parametrize(
    "name, count",
    # torchvision's num_params of vit_b_16; timm's of vit_small_patch16_224 and vit_tiny_patch16_224.
    [("vit_b16", 86_567_656), ("vit_s16", 22_050_664), ("vit_ti16", 5_717_416)],
)
def test_parameter_counts(name, count):
    assert count_parameters(shapes(create_model(name, classes=1000), 224, 224, 3)["params"]) == count


@pytest.mark.parametrize("pooling, maps", [("token", (2, 1, 5, 12)), ("mean", (2, 2, 2, 12))])
def test_output_shapes(pooling, maps):
    model = ViT(classes=10, pooling=pooling, **{**TINY, "patch": 16})
    assert output_shapes(model, 32) == (maps, (2, 12), (2, 10))


def torch_vit(params, classes, pooling):
    """A ViT from torch's own encoder layers with the parameters copied in."""
    torch = pytest.importorskip("torch")
    from torch_apply import conv
    from torch_copy import copy_linear

    trunk = params["trunk"]

    def copy_layer_norm(layer, p):
        layer.weight.data, layer.bias.data = (torch.from_numpy(np.array(p[name])) for name in ("scale", "bias"))

    def layer(p):
        made = torch.nn.TransformerEncoderLayer(
            12, 3, 20, dropout=0.0, activation="gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
        )
        inside = [p["attention"][name] for name in ("query", "key", "value")]
        made.self_attn.in_proj_weight.data = torch.from_numpy(np.concatenate([q["kernel"].T for q in inside]))
        made.self_attn.in_proj_bias.data = torch.from_numpy(np.concatenate([q["bias"] for q in inside]))
        copy_linear(made.self_attn.out_proj, p["attention"]["out"])
        copy_linear(made.linear1, p["dense1"])
        copy_linear(made.linear2, p["dense2"])
        copy_layer_norm(made.norm1, p["norm1"])
        copy_layer_norm(made.norm2, p["norm2"])
        return made

    def apply(images):
        x = conv(images, trunk["patch"], stride=4, pad=0).flatten(2).transpose(1, 2)
        token = torch.from_numpy(trunk["token"]).expand(len(x), -1, -1)
        x = torch.cat([token, x], 1) + torch.from_numpy(trunk["positions"])
        for i in (1, 2):
            x = layer(trunk[f"block{i}"])(x)
        norm, head = torch.nn.LayerNorm(12, eps=1e-6), torch.nn.Linear(12, classes)
        copy_layer_norm(norm, trunk["norm"])
        copy_linear(head, params["linear"])
        x = norm(x)
        return head(x[:, 0] if pooling == "token" else x[:, 1:].mean(1))

    return apply


@pytest.mark.parametrize("pooling", ["token", "mean"])
def test_logits_agree_with_torch(pooling, rng):
    torch = pytest.importorskip("torch")
    from torch_copy import nchw

    images = rng.normal(size=(5, 12, 17, 3)).astype(np.float32)  # one column fills no patch
    model = ViT(classes=6, pooling=pooling, **TINY)
    variables = drawn(model, rng, *images.shape[1:])
    logits = jax.jit(lambda x: model.apply(variables, x, train=False))(images)
    with torch.no_grad():
        expected = torch_vit(variables["params"], 6, pooling)(nchw(images)).numpy()
    assert expected.std(axis=0).min() > 0.01
    np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=1e-4)


def test_dropout_is_for_training_alone(rng):
    images = jnp.asarray(rng.normal(size=(3, 8, 8, 3)), jnp.float32)
    model, plain = (ViT(classes=4, dropout=rate, **TINY) for rate in (0.5, 0.0))
    variables = drawn(model, rng, 8, 8, 3)

    def logits(model, train, seed=0):
        return model.apply(variables, images, train=train, rngs={"dropout": jax.random.key(seed)})

    np.testing.assert_array_equal(logits(model, False), logits(plain, True))
    assert np.abs(logits(model, True) - logits(plain, True)).max() > 1e-2
    assert np.abs(logits(model, True) - logits(model, True, seed=1)).max() > 1e-2


def test_initialisation():
    variables = ViT(classes=4, patch=2, width=64, depth=1, heads=4, mlp=256).init(
        jax.random.key(0), jnp.zeros((1, 16, 16, 3)), train=False
    )
    trunk = variables["params"]["trunk"]
    assert not trunk["token"].any()
    assert float(trunk["positions"].std()) == pytest.approx(0.02, rel=0.05)
    assert float(trunk["patch"]["kernel"].std()) == pytest.approx(12**-0.5, rel=0.1)
    query, dense = trunk["block1"]["attention"]["query"]["kernel"], trunk["block1"]["dense1"]["kernel"]
    for kernel, total in ((query, 128), (dense, 320)):
        assert float(jnp.abs(kernel).max()) == pytest.approx((6 / total) ** 0.5, rel=0.01)
        assert float(kernel.std()) == pytest.approx((2 / total) ** 0.5, rel=0.03)


def test_images_of_another_size_are_refused(rng):
    model = ViT(classes=4, **TINY)
    variables = drawn(model, rng, 16, 16, 3)
    with pytest.raises(ValueError, match="learned positions for 16 patches, images of 5 x 4 patches have 20"):
        model.apply(variables, jnp.zeros((1, 20, 16, 3)), train=False)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="width must be a multiple of heads; got width 12 and 5 heads"):
        ViT(classes=2, **{**TINY, "heads": 5})
    with pytest.raises(ValueError, match="depth must be at least 1; got 0"):
        ViT(classes=2, depth=0)
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\)"):
        ViT(classes=2, dropout=1.0)
    with pytest.raises(ValueError, match="pooling must be one of 'token', 'mean'; got 'tokens'"):
        ViT(classes=2, pooling="tokens")
