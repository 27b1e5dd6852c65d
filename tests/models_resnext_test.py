"""ResNeXt-29 against published and hand-counted parameters and a torch re-implementation."""

import jax
import numpy as np
import pytest
from model_agreement import agrees_with_torch, output_shapes
from model_variables import counted

from mollax.models import ResNeXt, create_model
from mollax.models.layers import conv


def by_hand(cardinality, base_width, classes):
    """google-research/augmix, third_party/ResNeXt_DenseNet/models/resnext.py, layer by layer."""
    total, before = 27 * 64 + 128, 64
    for stage in range(3):
        inner, out = cardinality * base_width * 2**stage, 256 * 2**stage
        total += before * out + 2 * out
        for _ in range(3):
            total += before * inner + 9 * inner * inner // cardinality + inner * out + 4 * inner + 2 * out
            before = out
    return total + before * classes + classes


@pytest.mark.parametrize("classes, expected", [(10, 6_807_882), (100, 6_900_132)])
def test_parameter_counts(classes, expected):
    assert counted(create_model("resnext29", classes=classes)) == by_hand(4, 32, classes) == expected


@pytest.mark.parametrize("cardinality, millions", [(8, 34.4), (16, 68.2)])
def test_wide_ones_have_the_published_number_of_parameters(cardinality, millions):
    # Xie et al. 2017, table 7: 34.4 M and, cut rather than rounded, 68.1 M.
    count = counted(create_model("resnext29", classes=10, cardinality=cardinality, base_width=64))
    assert round(count / 1e6, 1) == millions


@pytest.mark.parametrize("side", [32, 64])
def test_output_shapes(side):
    model = create_model("resnext29", classes=10)
    assert output_shapes(model, side) == ((2, side // 4, side // 4, 1024), (2, 1024), (2, 10))


def test_logits_agree_with_torch(rng):
    torch = pytest.importorskip("torch")
    from torch_apply import conv, norm

    def reference(x, params, stats, train):
        x = torch.relu(norm(conv(x, params["stem"]), params["stem_norm"], stats["stem_norm"], train=train))
        for stage in (1, 2, 3):
            p, s = params[f"stage{stage}_block1"], stats[f"stage{stage}_block1"]
            stride, y = 1 if stage == 1 else 2, x
            for i, options in enumerate(({}, {"stride": stride, "groups": 2}, {}), start=1):
                y = torch.relu(y) if i > 1 else y
                y = norm(conv(y, p[f"conv{i}"], **options), p[f"norm{i}"], s[f"norm{i}"], train=train)
            x = conv(x, p["shortcut"], stride=stride)
            x = torch.relu(norm(x, p["shortcut_norm"], s["shortcut_norm"], train=train) + y)
        return x

    model = ResNeXt(classes=5, depth=11, cardinality=2, base_width=3, planes=4)
    agrees_with_torch(model, reference, rng, (6, 13, 13, 3))


def test_grouped_kernels_start_with_the_fan_of_all_outputs(key):
    kernel = conv(64, groups=4).init(key, np.zeros((1, 8, 8, 32), np.float32))["params"]["kernel"]
    assert kernel.shape == (3, 3, 8, 64)
    assert np.asarray(jax.numpy.var(kernel)) == pytest.approx(2 / (9 * 64), rel=0.1)


def test_bad_arguments_are_named():
    for depth in (28, 2):
        with pytest.raises(ValueError, match=f"depth must be 9n \\+ 2 with n >= 1, such as 11.*got {depth}"):
            ResNeXt(classes=10, depth=depth)
    with pytest.raises(ValueError, match="cardinality must be at least 1; got 0"):
        ResNeXt(classes=10, cardinality=0)
