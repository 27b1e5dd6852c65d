"""GoogLeNet against the published parameter count, the paper's widths and a torch re-implementation."""

import pytest
from model_agreement import agrees_with_torch, output_shapes
from model_variables import counted

from mollax.models import GoogLeNet, create_model
from mollax.models.googlenet import STAGES


def test_parameter_count():
    # Tables of kuangliu/pytorch-cifar's networks.
    assert counted(create_model("googlenet", classes=10)) == 6_166_250


def test_blocks_have_the_papers_output_planes():
    # Szegedy et al. 2015, table 1, column "output size".
    planes = [[one + three + five + pooled for one, _, three, _, five, pooled in blocks] for blocks in STAGES]
    assert planes == [[256, 480], [512, 512, 512, 528, 832], [832, 1024]]


@pytest.mark.parametrize("side", [32, 64])
def test_output_shapes(side):
    model = create_model("googlenet", classes=10)
    assert output_shapes(model, side) == ((2, side // 4, side // 4, 1024), (2, 1024), (2, 10))


def test_logits_agree_with_torch(rng):
    torch = pytest.importorskip("torch")
    from torch_apply import conv, norm

    def reference(x, params, stats, train):
        def layer(x, p, s):
            return torch.relu(norm(conv(x, p["conv"]), p["norm"], s["norm"], train=train))

        x = layer(x, params["stem"], stats["stem"])
        for name in ("stage1_block1", "stage2_block1", "stage2_block2"):
            if name == "stage2_block1":
                x = torch.nn.functional.max_pool2d(x, 3, stride=2, padding=1)
            branches = []
            for chain in (["one"], ["three_reduce", "three"], ["five_reduce", "five1", "five2"], ["pooled"]):
                y = torch.nn.functional.max_pool2d(x, 3, stride=1, padding=1) if chain == ["pooled"] else x
                for part in chain:
                    y = layer(y, params[name][part], stats[name][part])
                branches.append(y)
            x = torch.cat(branches, dim=1)
        return x

    stages = (((2, 3, 4, 1, 2, 3),), ((3, 2, 4, 2, 3, 1), (2, 2, 3, 1, 2, 2)))
    agrees_with_torch(GoogLeNet(classes=5, stages=stages, stem=4), reference, rng, (6, 9, 9, 3))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="stem must be at least 1; got 0"):
        GoogLeNet(classes=10, stem=0)
    with pytest.raises(ValueError, match="number of stages must be at least 1"):
        GoogLeNet(classes=10, stages=())
    with pytest.raises(ValueError, match="blocks of a stage must be at least 1; got 0"):
        GoogLeNet(classes=10, stages=((),))
    with pytest.raises(ValueError, match=r"an inception block needs six widths .*got \(1, 2\)"):
        GoogLeNet(classes=10, stages=(((1, 2),),))
    with pytest.raises(ValueError, match="each of widths must be at least 1; got 0"):
        GoogLeNet(classes=10, stages=(((1, 2, 3, 4, 0, 6),),))
