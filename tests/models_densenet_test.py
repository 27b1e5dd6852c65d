"""DenseNet-40 and -121 against published and hand-counted parameters and a torch re-implementation."""

import pytest
from model_agreement import agrees_with_torch, output_shapes
from model_variables import counted

from mollax.models import DenseNet, create_model


def by_hand(stem, growth, classes):
    """DenseNet-40 of google-research/augmix (third_party/ResNeXt_DenseNet/models/densenet.py, commit ee107ae)."""
    total, planes = 27 * stem, stem
    for block in range(3):
        for _ in range(12):
            total += 2 * planes + 9 * planes * growth
            planes += growth
        total += 2 * planes + (planes * planes if block < 2 else 0)
    return total + planes * classes + classes


@pytest.mark.parametrize("stem, expected", [(None, 1_059_298), (16, 1_019_722)])
def test_densenet40_parameter_counts(stem, expected):
    # With 16 planes in the stem: the count published with DenseNet(L=40, k=12) checkpoints. Paper: 1.0 M.
    count = counted(create_model("densenet40", classes=10, stem=stem))
    assert count == by_hand(24 if stem is None else stem, 12, 10) == expected


def test_densenet121_has_the_published_number_of_parameters():
    # Tables of kuangliu/pytorch-cifar's networks.
    assert counted(create_model("densenet121", classes=10)) == 6_956_298


@pytest.mark.parametrize(
    "name, side, maps, planes", [("densenet40", 32, 8, 456), ("densenet40", 64, 16, 456), ("densenet121", 32, 4, 1024)]
)
def test_output_shapes(name, side, maps, planes):
    assert output_shapes(create_model(name, classes=10), side) == ((2, maps, maps, planes), (2, planes), (2, 10))


@pytest.mark.parametrize("bottleneck, compression, side", [(False, 1.0, 8), (True, 0.5, 11)])
def test_logits_agree_with_torch(bottleneck, compression, side, rng):
    torch = pytest.importorskip("torch")
    from torch_apply import conv, norm

    layers = (2, 1, 2)

    def reference(x, params, stats, train):
        def norm_relu(x, p, s):
            return torch.relu(norm(x, p, s, train=train))

        x = conv(x, params["stem"])
        for block, count in enumerate(layers, start=1):
            for i in range(1, count + 1):
                p, s, y = params[f"block{block}_layer{i}"], stats[f"block{block}_layer{i}"], x
                for j in (1, 2) if bottleneck else (1,):
                    y = conv(norm_relu(y, p[f"norm{j}"], s[f"norm{j}"]), p[f"conv{j}"])
                x = torch.cat([x, y], dim=1)
            # The published order: first the convolution, then the average.
            if block < 3:
                x = norm_relu(x, params[f"transition{block}_norm"], stats[f"transition{block}_norm"])
                x = torch.nn.functional.avg_pool2d(conv(x, params[f"transition{block}_conv"]), 2)
        return norm_relu(x, params["norm"], stats["norm"])

    model = DenseNet(classes=5, layers=layers, growth=3, bottleneck=bottleneck, compression=compression)
    agrees_with_torch(model, reference, rng, (6, side, side, 3))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="number of blocks must be at least 1"):
        DenseNet(classes=10, layers=())
    with pytest.raises(ValueError, match="layers of a block must be at least 1; got 0"):
        DenseNet(classes=10, layers=(2, 0))
    with pytest.raises(ValueError, match="growth must be at least 1; got 0"):
        DenseNet(classes=10, growth=0)
    with pytest.raises(ValueError, match=r"compression must be in \(0, 1\]; got 0"):
        DenseNet(classes=10, compression=0.0)
    with pytest.raises(ValueError, match="stem must be at least 1; got 0"):
        DenseNet(classes=10, stem=0)
