"""PreActResNet against the published parameter counts and a torch re-implementation."""

import jax
import numpy as np
import pytest
from model_variables import counted, drawn

from mollax.models import PreActResNet, create_model

torch = pytest.importorskip("torch")
from torch_copy import copy_conv, copy_linear, copy_norm, nchw  # noqa: E402  (needs torch)


class TorchBlock(torch.nn.Module):
    """The pre-activation block in the form of the widely used PyTorch port."""

    def __init__(self, kind, planes_in, planes, stride):
        super().__init__()
        if kind == "basic":
            shapes = [(planes_in, planes, 3, stride), (planes, planes, 3, 1)]
        else:
            shapes = [(planes_in, planes, 1, 1), (planes, planes, 3, stride), (planes, 4 * planes, 1, 1)]
        self.planes_out = shapes[-1][1]
        self.norms = torch.nn.ModuleList([torch.nn.BatchNorm2d(i) for i, _, _, _ in shapes])
        self.convs = torch.nn.ModuleList(
            [torch.nn.Conv2d(i, o, k, stride=s, padding=k // 2, bias=False) for i, o, k, s in shapes]
        )
        self.shortcut = None
        if stride != 1 or planes_in != self.planes_out:
            self.shortcut = torch.nn.Conv2d(planes_in, self.planes_out, 1, stride=stride, bias=False)

    def forward(self, x):
        y = torch.relu(self.norms[0](x))
        shortcut = x if self.shortcut is None else self.shortcut(y)
        y = self.convs[0](y)
        for norm, conv in zip(self.norms[1:], self.convs[1:], strict=True):
            y = conv(torch.relu(norm(y)))
        return y + shortcut


class TorchNet(torch.nn.Module):
    def __init__(self, kind, stages, planes, classes, channels=3, final_norm=False):
        super().__init__()
        self.stem = torch.nn.Conv2d(channels, planes, 3, padding=1, bias=False)
        self.blocks, self.names, last = torch.nn.ModuleList(), [], planes
        for stage, blocks in enumerate(stages):
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                self.blocks.append(TorchBlock(kind, last, planes * 2**stage, stride))
                self.names.append(f"stage{stage + 1}_block{block + 1}")
                last = self.blocks[-1].planes_out
        self.norm = torch.nn.BatchNorm2d(last) if final_norm else None
        self.linear = torch.nn.Linear(last, classes)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        if self.norm is not None:
            x = torch.relu(self.norm(x))
        return self.linear(x.mean((2, 3)))

    def copy(self, variables):
        params, stats = variables["params"]["trunk"], variables["batch_stats"]["trunk"]
        copy_conv(self.stem, params["stem"])
        for name, block in zip(self.names, self.blocks, strict=True):
            for i, (norm, conv) in enumerate(zip(block.norms, block.convs, strict=True), start=1):
                copy_norm(norm, params[name][f"norm{i}"], stats[name][f"norm{i}"])
                copy_conv(conv, params[name][f"conv{i}"])
            if block.shortcut is not None:
                copy_conv(block.shortcut, params[name]["shortcut"])
        if self.norm is not None:
            copy_norm(self.norm, params["norm"], stats["norm"])
        copy_linear(self.linear, variables["params"]["linear"])


@pytest.mark.parametrize("classes, expected", [(10, 23_509_066), (100, 23_693_476), (200, 23_898_376)])
def test_resnet50_has_the_published_number_of_parameters(classes, expected):
    assert counted(create_model("preact_resnet50", classes=classes)) == expected
    assert counted(create_model("preact_resnet50", classes=classes, final_norm=True)) == expected + 4096


@pytest.mark.parametrize(
    "depth, kind, stages, expected",
    [
        (18, "basic", (2, 2, 2, 2), 11_171_146),
        (34, "basic", (3, 4, 6, 3), 21_279_306),
        (50, "bottleneck", (3, 4, 6, 3), 23_509_066),
        (101, "bottleneck", (3, 4, 23, 3), 42_501_194),
    ],
)
@pytest.mark.parametrize("channels, final_norm", [(3, False), (1, True)])
def test_parameter_counts_agree_with_torch(depth, kind, stages, expected, channels, final_norm):
    model = create_model(f"preact_resnet{depth}", classes=10, final_norm=final_norm)
    with torch.device("meta"):
        reference = TorchNet(kind, stages, 64, 10, channels, final_norm)
    count = sum(p.numel() for p in reference.parameters())
    assert counted(model, channels) == count
    if (channels, final_norm) == (3, False):
        assert count == expected


@pytest.mark.parametrize(
    "kind, final_norm, side",
    [
        ("basic", False, 16),
        ("basic", True, 13),
        ("bottleneck", False, 13),
        ("bottleneck", True, 8),
    ],
)
def test_logits_and_statistics_agree_with_torch(kind, final_norm, side, rng):
    stages = (2, 1, 2, 1)
    model = PreActResNet(classes=5, block=kind, stages=stages, planes=4, final_norm=final_norm)
    images = rng.normal(size=(6, side, side, 3)).astype(np.float32)
    variables = drawn(model, rng, side, side, 3)
    reference = TorchNet(kind, stages, 4, 5, final_norm=final_norm)
    reference.copy(variables)

    logits = jax.jit(lambda x: model.apply(variables, x, train=False))(images)
    with torch.no_grad():
        np.testing.assert_allclose(logits, reference.eval()(nchw(images)), atol=1e-4, rtol=1e-4)

    logits, updates = jax.jit(lambda x: model.apply(variables, x, train=True, mutable=["batch_stats"]))(images)
    with torch.no_grad():
        np.testing.assert_allclose(logits, reference.train()(nchw(images)), atol=1e-4, rtol=1e-4)
    new, old = (tree["batch_stats"]["trunk"]["stage1_block2"]["norm1"] for tree in (updates, variables))
    norm = reference.blocks[1].norms[0]
    np.testing.assert_allclose(new["mean"], norm.running_mean, atol=1e-5)
    # torch keeps the unbiased variance, Flax the biased one: n / (n - 1) on the new part.
    n = 6 * side * side
    unbiased = 0.9 * old["var"] + (new["var"] - 0.9 * old["var"]) * (n / (n - 1))
    np.testing.assert_allclose(unbiased, norm.running_var, rtol=1e-4)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="block must be one of 'basic', 'bottleneck'; got 'bottlenek'"):
        PreActResNet(classes=10, block="bottlenek")
    with pytest.raises(ValueError, match="number of stages must be at least 1"):
        PreActResNet(classes=10, stages=())
    with pytest.raises(ValueError, match="blocks of a stage must be at least 1; got 0"):
        PreActResNet(classes=10, stages=(2, 0))
    with pytest.raises(ValueError, match="planes must be at least 1; got 0"):
        PreActResNet(classes=10, planes=0)
