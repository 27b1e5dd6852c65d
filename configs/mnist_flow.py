"""Digits turn as far as they stay digits: 0 all around, 6 until it is a 9 (fig 8; A.3.6 of Singhal et al.).

    python -m mollax.main --config=configs/mnist_flow.py --config.data.path=FOLDER --workdir=runs/mnist_flow

Words after a colon, joined by commas: `all` (ten classes instead of 0, 1, 5, 6, 9), `small` (1,000 images a class, a
narrower pose network: for two cores), `score` (our gradient of the modes' weights), `frozen` (keeps a classifier
trained before: `--config.init_from` names its run), `none`, `uniform`, `augerino`, `instaaug` or `gaussian` (instead of
the flow), `mollified`, `smoke`.
"""

from ml_collections import ConfigDict

from mollax import flow_recipes, recipes


def every_class(config: ConfigDict) -> None:
    """All ten digits."""
    config.name += "-all"
    config.data.classes = ()


def small(config: ConfigDict) -> None:
    """A budget for two cores, and a classifier that cannot learn a turned 6 from a 9 by heart. Ours, as for sprites.

    Strong weight decay: without it the range of 6 and 9 grows all the while as the classifier gets better.
    """
    config.data.limit = 1_100 * (len(config.data.classes) or 10)  # a tenth of it is for validation
    config.data.test_limit = 1000
    config.optim.weight_decay = 2.0
    config.train.batch_size = 128
    config.train.duration = "110 epochs"
    config.invariance.pose_options.widths = (8, 16, 32, 64)
    config.invariance.options.update({"layers": 4, "modes": 120, "spread": 0.98})
    config.invariance.weight = 0.12
    config.invariance.copies = 4
    config.invariance.warmup = "20 epochs"
    config.invariance.optim.schedule = "cosine"


def get_config(argument: str = "") -> ConfigDict:
    """A.3.6: as for the sprites, with 12 layers, 3 modes, 250 epochs; a fixed weight, as its target is out of reach."""
    config = recipes.base()
    config.name = "mnist-flow"
    config.data.reader = "idx"
    config.data.classes = ("0", "1", "5", "6", "9")
    config.model.name = "mlp"
    config.optim.update({"name": "adamw", "lr": 1e-3, "weight_decay": 0.01, "schedule": "constant"})
    config.train.duration = "250 epochs"
    config.train.batch_size = 1024
    flow_recipes.learn_transforms(config, "flow", kind="rotation", layers=12, modes=3, spread=0.8)
    config.invariance.warmup = "5 epochs"
    config.eval.transforms.aligned = 500
    config.eval.rotations.angles = tuple(range(-180, 181, 30))
    words = {"all": every_class, "small": small, **flow_recipes.WORDS, **flow_recipes.RIVALS}
    return recipes.variant(config, argument, **words)
