"""ResNet of depth 6n + 2 against hand-counted parameters and a torch re-implementation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_variables import counted, drawn

from mollax.models import ResNetCifar, create_model
from mollax.models.resnet_cifar import strided_identity

torch = pytest.importorskip("torch")
from torch_copy import copy_conv, copy_linear, copy_norm, nchw  # noqa: E402  (needs torch)


def by_hand(n, planes, classes, channels, projection):
    """Convolutions without bias, two numbers per channel of every batch norm."""
    total = 9 * channels * planes + 2 * planes
    before = planes
    for stage in range(3):
        width = planes * 2**stage
        for _ in range(n):
            total += 9 * before * width + 9 * width * width + 4 * width
            if projection and before != width:
                total += before * width + 2 * width
            before = width
    return total + 4 * planes * classes + classes


@pytest.mark.parametrize("depth, planes, classes, channels", [(8, 16, 10, 3), (8, 16, 10, 1), (20, 8, 7, 3)])
def test_parameter_counts(depth, planes, classes, channels):
    for shortcut in ("identity", "projection"):
        model = ResNetCifar(classes=classes, depth=depth, planes=planes, shortcut=shortcut)
        expected = by_hand((depth - 2) // 6, planes, classes, channels, shortcut == "projection")
        assert counted(model, channels) == expected


def test_resnet8_has_the_documented_number_of_parameters():
    assert counted(create_model("resnet8", classes=10)) == 75_290
    assert counted(create_model("resnet8", classes=10, shortcut="projection")) == 78_042


def torch_forward(images, variables, n, shortcut, train):
    """The network as a chain of torch functions, reading the variables by name."""
    params, stats = variables["params"], variables["batch_stats"]["trunk"]
    trunk = params["trunk"]

    def conv(x, p, stride=1):
        size, _, planes_in, planes = p["kernel"].shape
        layer = torch.nn.Conv2d(planes_in, planes, size, stride=stride, padding=size // 2, bias=False)
        copy_conv(layer, p)
        return layer(x)

    def norm(x, p, s):
        layer = torch.nn.BatchNorm2d(x.shape[1]).train(train)
        copy_norm(layer, p, s)
        return layer(x)

    x = torch.relu(norm(conv(nchw(images), trunk["stem"]), trunk["stem_norm"], stats["stem_norm"]))
    for stage in range(3):
        for block in range(n):
            name = f"stage{stage + 1}_block{block + 1}"
            p, s, stride = trunk[name], stats[name], 2 if stage and not block else 1
            y = torch.relu(norm(conv(x, p["conv1"], stride), p["norm1"], s["norm1"]))
            y = norm(conv(y, p["conv2"]), p["norm2"], s["norm2"])
            if stride == 2 and shortcut == "projection":
                x = norm(conv(x, p["shortcut"], 2), p["shortcut_norm"], s["shortcut_norm"])
            elif stride == 2:
                x = torch.nn.functional.avg_pool2d(x, 1, stride=2)
                x = torch.cat([x, torch.zeros_like(x)], dim=1)
            x = torch.relu(x + y)
    head = torch.nn.Linear(x.shape[1], params["linear"]["bias"].shape[0])
    copy_linear(head, params["linear"])
    return head(x.mean((2, 3)))


@pytest.mark.parametrize("shortcut, depth, side", [("identity", 8, 12), ("projection", 14, 9)])
def test_logits_agree_with_torch(shortcut, depth, side, rng):
    model = ResNetCifar(classes=5, depth=depth, planes=4, shortcut=shortcut)
    images = rng.normal(size=(6, side, side, 3)).astype(np.float32)
    variables = drawn(model, rng, side, side, 3)
    for train in (False, True):
        apply = jax.jit(lambda x, train=train: model.apply(variables, x, train=train, mutable=["batch_stats"]))
        with torch.no_grad():
            expected = torch_forward(images, variables, (depth - 2) // 6, shortcut, train)
        np.testing.assert_allclose(apply(images)[0], expected, atol=1e-4, rtol=1e-4)


def test_strided_identity_by_hand():
    x = jnp.arange(3.0 * 3).reshape(1, 3, 3, 1)
    y = strided_identity(x, planes=3, stride=2)
    np.testing.assert_array_equal(y[0, :, :, 0], [[0, 2], [6, 8]])
    np.testing.assert_array_equal(y[..., 1:], np.zeros((1, 2, 2, 2)))


def test_patches_are_channels_of_the_same_network(rng):
    images = rng.normal(size=(2, 8, 12, 3)).astype(np.float32)
    patched = np.concatenate([images[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=-1)
    model = ResNetCifar(classes=5, planes=4, patch=2)
    variables = drawn(ResNetCifar(classes=5, planes=4), rng, 4, 6, 12)
    expected = ResNetCifar(classes=5, planes=4).apply(variables, jnp.asarray(patched), train=False)
    np.testing.assert_allclose(model.apply(variables, jnp.asarray(images), train=False), expected, atol=1e-5)
    with pytest.raises(ValueError, match="multiples of patch, 2; got 9 x 8"):
        model.apply(variables, jnp.zeros((1, 9, 8, 3)), train=False)


def test_bad_arguments_are_named():
    for depth in (9, 2):
        with pytest.raises(ValueError, match=f"depth must be 6n \\+ 2 with n >= 1, such as 8.*got {depth}"):
            ResNetCifar(classes=10, depth=depth)
    with pytest.raises(ValueError, match="shortcut must be one of 'identity', 'projection'; got 'projektion'"):
        ResNetCifar(classes=10, shortcut="projektion")
