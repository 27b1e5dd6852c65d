"""FashionMNIST with all six affine transforms by the flow (table 2; A.3.12 of Singhal et al.).

    python -m mollax.main --config=configs/fashion_mnist_flow.py --config.data.path=FOLDER --workdir=runs/fashion_flow

The folder holds the four files in MNIST's layout. Words after a colon, joined by commas: `mnist` (its learning rates,
for MNIST's files), `small` (10,000 images, 15 epochs, for two cores), `none`, `uniform`, `augerino`, `instaaug` or
`gaussian` (instead of the flow), `mollified`, `smoke`.
"""

from ml_collections import ConfigDict

from mollax import flow_recipes, recipes


def mnist(config: ConfigDict) -> None:
    """Learning rate 1e-3, a tenth every 15 epochs."""
    config.name = "mnist-affine-flow"
    config.optim.lr = 1e-3
    config.optim.factor = 0.1
    config.optim.milestones = tuple(f"{epochs} epochs" for epochs in range(15, 250, 15))


def small(config: ConfigDict) -> None:
    """A budget for two cores; a learning rate for 15 epochs, of MNIST too."""
    flow_recipes.small_flow(config)
    config.optim.lr = 0.03


def get_config(argument: str = "") -> ConfigDict:
    """ResNet-8, weight .03, learning rates .03 and 1e-3, 250 epochs, a twentieth every 80."""
    config = recipes.base()
    config.name = "fashion-mnist-flow"
    config.data.reader = "idx"
    flow_recipes.affine_flow(config, weight=0.03)
    config.optim.update({"lr": 0.03, "schedule": "step", "milestones": ("80 epochs", "160 epochs", "240 epochs")})
    config.optim.factor = 0.05
    config.invariance.optim.lr = 1e-3
    config.train.duration = "250 epochs"
    words = {"mnist": mnist, "small": small, "mollified": flow_recipes.mollified}
    return recipes.variant(config, argument, **words, **flow_recipes.RIVALS)
