"""CIFAR-10 with the paper's network and schedule (PreActResNet-50, 300 epochs; tables 1 and 2).

    python -m mollax.main --config=configs/cifar10.py --config.data.path=cifar-10-python.tar.gz --workdir=runs/cifar10

The path may be the python or binary archive, its unpacked folder, or (with `--config.data.reader=folder`, or the word
`images`) an image folder or zip of one, `split/class/file`. Nothing is downloaded.

Words after a colon, joined by commas: `images` (image folder or zip), `small` (ResNet-8, 8 epochs: about 20 minutes on
one core), `tiny` (ResNet-8 of 2x2 patches, 5 epochs, the corruption benchmark: 2 minutes on two cores, for sweeps),
`plain` (no mollification), `smoke` (under a minute).
The paper's clean error is 5.8 % with and 5.0 % without mollification; nobody has run all 300 epochs of this config yet.
"""

from ml_collections import ConfigDict

from mollax import recipes


def small(config: ConfigDict) -> None:
    """ResNet-8 with a budget for 2 CPU cores, and a learning rate for so short a run."""
    config.model.name = "resnet8"
    config.optim.lr = 0.1
    config.optim.warmup = "5 %"
    config.train.duration = "8 epochs"
    config.eval.every = "25 %"


def tiny(config: ConfigDict) -> None:
    """ResNet-8 of 2x2 patches, a seventh of `small`'s time, with the corruption benchmark: a run of a large sweep."""
    small(config)
    config.model.options.patch = 2
    config.train.duration = "5 epochs"
    config.eval.every = "100 %"
    config.eval.stress = ()
    config.eval.corruptions = ("test",)
    config.checkpoint.every = "50 %"


def get_config(argument: str = "") -> ConfigDict:
    """32x32 color images, ten classes."""
    config = recipes.base()
    config.name = "cifar10"
    config.data.reader = "cifar"
    config.model.name = "preact_resnet50"
    config.train.duration = "300 epochs"
    return recipes.variant(config, argument, small=small, tiny=tiny, images=recipes.read_images, plain=recipes.plain)
