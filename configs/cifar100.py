"""CIFAR-100 with the paper's network and schedule (PreActResNet-50, 300 epochs; table 1).

    python -m mollax.main --config=configs/cifar100.py --config.data.path=cifar-100-python.tar.gz --workdir=runs/c100

No CIFAR-100 data come with mollax or were at hand: the reader is tested on archives made by the tests, and no result
of this config has been measured. The paper's clean error is 27.1 % with and 23.2 % without mollification.
Words after a colon: `images`, `plain`, `smoke`, as in configs/cifar10.py.
"""

from ml_collections import ConfigDict

from mollax import recipes


def get_config(argument: str = "") -> ConfigDict:
    """32x32 color images, a hundred classes."""
    config = recipes.base()
    config.name = "cifar100"
    config.data.reader = "cifar"
    config.model.name = "preact_resnet50"
    config.train.duration = "300 epochs"
    return recipes.variant(config, argument, images=recipes.read_images, plain=recipes.plain)
