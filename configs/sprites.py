"""Two drawn figures, upright and upside down, in rotated copies: four classes, generated on the fly.

    python -m mollax.main --config=configs/sprites.py --workdir=runs/sprites

Words after a colon, joined by commas: `45`, `90` or `three_modes` (range of the copies' angles), `plain`, `smoke`.
"""

import functools

from ml_collections import ConfigDict

from mollax import recipes


def _angles(config: ConfigDict, value: str) -> None:
    config.data.angles = value


def get_config(argument: str = "") -> ConfigDict:
    """32x32 color images; an upside-down figure is another class, so rotations and flips are not harmless."""
    config = recipes.base()
    config.name = "sprites"
    config.data.reader = "sprites"
    config.augment.flip = False
    config.augment.degrees = 0.0
    config.optim.lr = 0.05
    config.optim.warmup = "5 %"
    config.train.duration = "3 epochs"
    angles = {word: functools.partial(_angles, value=word) for word in ("45", "90", "three_modes")}
    return recipes.variant(config, argument, plain=recipes.plain, **angles)
