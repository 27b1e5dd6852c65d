"""CIFAR-10 with Augerino's 13-layer network and the flow over affine transforms (table 2 of Singhal et al.).

    python -m mollax.main --config=configs/cifar10_13layer_flow.py --config.data.path=cifar-10-python.tar.gz \
        --workdir=runs/flow13

The paper gives no settings of its own for this network; they are those of configs/cifar10_flow.py. Words after a colon,
joined by commas: `images`, `small`, `none`, `uniform`, `augerino`, `instaaug`, `gaussian`, `mollified`, `smoke`, as
there.
"""

from ml_collections import ConfigDict

from mollax import flow_recipes, recipes


def get_config(argument: str = "") -> ConfigDict:
    """Nine convolutions of 128 and 256 planes with dropout."""
    config = recipes.base()
    config.name = "cifar10-13layer-flow"
    config.data.reader = "cifar"
    flow_recipes.affine_flow(config, weight=0.1)
    config.model.name = "conv13"
    config.optim.update({"lr": 0.1, "schedule": "step", "milestones": ("80 epochs", "160 epochs")})
    config.invariance.optim.lr = 1e-4
    config.train.duration = "200 epochs"
    words = {"images": recipes.read_images, "small": flow_recipes.small_flow, "mollified": flow_recipes.mollified}
    return recipes.variant(config, argument, **words, **flow_recipes.RIVALS)
