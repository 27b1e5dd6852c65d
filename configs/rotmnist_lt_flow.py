"""Long-tailed MNIST, every image turned once by any angle: do small classes get the invariance of large ones (fig 9)?

    python -m mollax.main --config=configs/rotmnist_lt_flow.py --config.data.path=FOLDER --workdir=runs/rotmnist_lt

Evaluates the expected KL under rotations of +-180 degrees, class by class. Words after a colon, joined by commas:
`small` (for two cores), `none`, `uniform`, `augerino`, `instaaug` or `gaussian` (instead of the flow), `mollified`,
`smoke`.
"""

from ml_collections import ConfigDict

from mollax import flow_recipes, recipes


def small(config: ConfigDict) -> None:
    """A quarter of the images, a narrower pose network."""
    config.data.limit = 6000
    config.data.test_limit = 2000
    config.invariance.pose_options.widths = (8, 16, 32, 64)
    config.train.duration = "20 epochs"


def get_config(argument: str = "") -> ConfigDict:
    """A.3.10: batch 128, 10 modes; the rest as for the sprites, since the paper gives no more."""
    config = recipes.base()
    config.name = "rotmnist-lt-flow"
    config.data.reader = "idx"
    config.data.long_tail = 10.0
    config.data.rotated = 180.0
    config.model.name = "cnn"
    config.optim.update({"name": "adamw", "lr": 1e-3, "weight_decay": 0.01, "schedule": "constant"})
    config.train.duration = "100 epochs"
    flow_recipes.learn_transforms(config, "flow", kind="rotation", layers=12, modes=10, spread=0.8)
    config.invariance.warmup = "5 epochs"
    config.eval.rotations.update({"images": 2000, "kl_degrees": 180.0})
    return recipes.variant(config, argument, small=small, mollified=flow_recipes.mollified, **flow_recipes.RIVALS)
