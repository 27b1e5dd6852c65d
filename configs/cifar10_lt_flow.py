"""Long-tailed CIFAR-10: 5,000 to 500 images a class (fig 3, 9, 11; A.3.10, A.3.12 of Singhal et al.).

    python -m mollax.main --config=configs/cifar10_lt_flow.py --config.data.path=cifar-10-python.tar.gz \
        --workdir=runs/cifar10_lt

Evaluates the expected KL under rotations of +-10 degrees, class by class. Words after a colon, joined by commas:
`images` (image folder or zip), `small` (15 epochs, for two cores), `none`, `uniform`, `augerino`, `instaaug` or
`gaussian` (instead of the flow), `mollified`, `smoke`.
"""

from ml_collections import ConfigDict

from mollax import flow_recipes, recipes


def get_config(argument: str = "") -> ConfigDict:
    """As configs/cifar10_flow.py, the learning rate a twentieth every 80 epochs."""
    config = recipes.base()
    config.name = "cifar10-lt-flow"
    config.data.reader = "cifar"
    config.data.long_tail = 10.0
    flow_recipes.affine_flow(config, weight=0.1)
    config.optim.update({"lr": 0.1, "schedule": "step", "milestones": ("80 epochs", "160 epochs"), "factor": 0.05})
    config.invariance.optim.lr = 1e-4
    config.train.duration = "200 epochs"
    config.eval.rotations.update({"images": 2000, "kl_degrees": 10.0})
    words = {"images": recipes.read_images, "small": flow_recipes.small_flow, "mollified": flow_recipes.mollified}
    return recipes.variant(config, argument, **words, **flow_recipes.RIVALS)
