"""MNIST from its four original files (plain or gzipped), a small network.

    python -m mollax.main --config=configs/mnist.py --config.data.path=FOLDER --workdir=runs/mnist

Words after a colon, joined by commas: `plain` (no mollification), `smoke`.
"""

from ml_collections import ConfigDict

from mollax import recipes


def get_config(argument: str = "") -> ConfigDict:
    """28x28 gray images, ten classes."""
    config = recipes.base()
    config.name = "mnist"
    config.data.reader = "idx"
    config.augment.flip = False
    config.augment.pad = 2
    config.optim.lr = 0.05
    config.optim.warmup = "5 %"
    config.train.duration = "3 epochs"
    config.eval.every = "25 %"
    return recipes.variant(config, argument, plain=recipes.plain)
