"""CIFAR-10 with all six affine transforms by the flow, ResNet-8 (table 2; A.3.12 of Singhal et al.).

    python -m mollax.main --config=configs/cifar10_flow.py --config.data.path=cifar-10-python.tar.gz --workdir=runs/flow

Words after a colon, joined by commas: `images` (image folder or zip), `small` (10,000 images, 15 epochs, for two
cores), `none`, `uniform`, `augerino`, `instaaug` or `gaussian` (instead of the flow), `mollified`, `smoke`.
"""

from ml_collections import ConfigDict

from mollax import flow_recipes, recipes


def get_config(argument: str = "") -> ConfigDict:
    """Weight .1, learning rates .1 and 1e-4, 200 epochs, a tenth every 80, 10 of them as they are."""
    config = recipes.base()
    config.name = "cifar10-flow"
    config.data.reader = "cifar"
    flow_recipes.affine_flow(config, weight=0.1)
    config.optim.update({"lr": 0.1, "schedule": "step", "milestones": ("80 epochs", "160 epochs")})
    config.invariance.optim.lr = 1e-4
    config.train.duration = "200 epochs"
    words = {"images": recipes.read_images, "small": flow_recipes.small_flow, "mollified": flow_recipes.mollified}
    return recipes.variant(config, argument, **words, **flow_recipes.RIVALS)
