"""ResNet with four stages against the published parameter counts and a torch re-implementation."""

import pytest
from model_agreement import agrees_with_torch, output_shapes
from model_variables import counted

from mollax.models import ResNet, create_model


@pytest.mark.parametrize(
    "depth, cifar, imagenet",
    [
        # Tables of kuangliu/pytorch-cifar's networks at 10 classes; torchvision's num_params at 1000.
        (18, 11_173_962, 11_689_512),
        (34, 21_282_122, 21_797_672),
        (50, 23_520_842, 25_557_032),
    ],
)
def test_parameter_counts(depth, cifar, imagenet):
    assert counted(create_model(f"resnet{depth}", classes=10)) == cifar
    assert counted(create_model(f"resnet{depth}_imagenet", classes=1000)) == imagenet


@pytest.mark.parametrize(
    "name, side, maps, planes",
    [
        ("resnet18", 32, 4, 512),
        ("resnet50", 64, 8, 2048),
        ("resnet50_imagenet", 64, 2, 2048),
        ("resnet34_imagenet", 224, 7, 512),
    ],
)
def test_output_shapes(name, side, maps, planes):
    assert output_shapes(create_model(name, classes=10), side) == ((2, maps, maps, planes), (2, planes), (2, 10))


@pytest.mark.parametrize(
    "block, stem, side",
    [("basic", "cifar", 13), ("basic", "imagenet", 24), ("bottleneck", "cifar", 8), ("bottleneck", "imagenet", 27)],
)
def test_logits_agree_with_torch(block, stem, side, rng):
    torch = pytest.importorskip("torch")
    from torch_apply import conv, norm

    def reference(x, params, stats, train):
        def conv_norm(x, p, s, i, stride=1):
            return norm(conv(x, p[f"conv{i}"], stride=stride), p[f"norm{i}"], s[f"norm{i}"], train=train)

        x = conv(x, params["stem"], stride=1 if stem == "cifar" else 2)
        x = torch.relu(norm(x, params["stem_norm"], stats["stem_norm"], train=train))
        if stem == "imagenet":
            x = torch.nn.functional.max_pool2d(x, 3, stride=2, padding=1)
        for name, stride in (("stage1_block1", 1), ("stage1_block2", 1), ("stage2_block1", 2)):
            p, s = params[name], stats[name]
            if block == "basic":
                y = conv_norm(torch.relu(conv_norm(x, p, s, 1, stride)), p, s, 2)
            else:
                y = torch.relu(conv_norm(x, p, s, 1))
                y = conv_norm(torch.relu(conv_norm(y, p, s, 2, stride)), p, s, 3)
            if x.shape != y.shape:
                x = conv(x, p["shortcut"], stride=stride)
                x = norm(x, p["shortcut_norm"], s["shortcut_norm"], train=train)
            x = torch.relu(x + y)
        return x

    model = ResNet(classes=5, block=block, stages=(2, 1), stem=stem, planes=4)
    agrees_with_torch(model, reference, rng, (6, side, side, 3))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="block must be one of 'basic', 'bottleneck'; got 'bottlenek'"):
        ResNet(classes=10, block="bottlenek")
    with pytest.raises(ValueError, match="stem must be one of 'cifar', 'imagenet'; got 'imagnet'"):
        ResNet(classes=10, stem="imagnet")
    with pytest.raises(ValueError, match="number of stages must be at least 1"):
        ResNet(classes=10, stages=())
    with pytest.raises(ValueError, match="blocks of a stage must be at least 1; got 0"):
        ResNet(classes=10, stages=(2, 0))
    with pytest.raises(ValueError, match="planes must be at least 1; got 0"):
        ResNet(classes=10, planes=0)
