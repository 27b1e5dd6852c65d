"""Digits (embedded in scikit-learn): the first run, about a minute on 2 cores.

    python -m mollax.main --config=configs/digits.py --workdir=runs/digits

Variants after a colon: `smoke` (seconds), `plain` (no mollification).
"""

from ml_collections import ConfigDict

from mollax import recipes


def get_config(argument: str = "") -> ConfigDict:
    """1,797 gray 8x8 images, ten classes, ResNet-8."""
    config = recipes.base()
    # A mirrored digit is another sign, and at 8 pixels a shift of one is plenty.
    config.augment.flip = False
    config.augment.pad = 1
    config.augment.degrees = 10.0
    config.optim.lr = 0.05
    config.optim.warmup = "5 %"
    config.train.duration = "60 epochs"
    config.train.batch_size = 64
    config.eval.ood.scores = ("msp", "energy", "mahalanobis:shrinkage=0.01", "knn", "vim", "drift")
    config.eval.drift.images = 500
    config.eval.ood.sets = {
        "sprites": {"group": "far", "reader": "sprites"},
        "noise": {"group": "far", "reader": "noise", "name": "uniform"},
        "fog": {"group": "shifted", "reader": "corruption", "name": "fog:3"},
    }
    return recipes.variant(config, argument, plain=recipes.plain)
