"""TinyImageNet with the paper's network and schedule (PreActResNet-50, 300 epochs; tables 1 and 2).

    python -m mollax.main --config=configs/tin.py --config.data.path=tiny-imagenet-200.zip --workdir=runs/tin

The path is the original zip or its unpacked folder. Its test images have no labels, so val is the test set and a tenth
of train becomes validation. Words after a colon, joined by commas: `small` (ResNet-8), `plain`, `smoke`.
The paper's clean error is 35.0 % with and 33.5 % without mollification; nobody has run all 300 epochs of this config.
"""

from ml_collections import ConfigDict

from mollax import recipes


def small(config: ConfigDict) -> None:
    """ResNet-8 and a few epochs: a run for CPU that shows the path, not the accuracy."""
    config.model.name = "resnet8"
    config.optim.lr = 0.1
    config.optim.warmup = "5 %"
    config.train.duration = "4 epochs"
    config.eval.every = "25 %"


def get_config(argument: str = "") -> ConfigDict:
    """64x64 color images, two hundred classes."""
    config = recipes.base()
    config.name = "tin"
    config.data.reader = "tiny_imagenet"
    config.model.name = "preact_resnet50"
    config.train.duration = "300 epochs"
    return recipes.variant(config, argument, small=small, plain=recipes.plain)
