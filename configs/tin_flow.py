"""TinyImageNet: which crops of this image still show its class? The flow over crops (A.3.11 of Singhal et al.).

    python -m mollax.main --config=configs/tin_flow.py --config.data.path=tiny-imagenet-200.zip --workdir=runs/tin_flow

The path is the original zip or its unpacked folder. Words after a colon, joined by commas: `lrp` (flow and InstaAug's
321 crops, half of the draws each, with InstaAug's controller), `grid` (those 321 crops alone), `small` (40 classes,
ResNet-8, 30 epochs, for two cores), `none`, `uniform` (random crops), `augerino`, `instaaug` (instead of the flow),
`mollified`, `smoke`.
"""

from ml_collections import ConfigDict

from mollax import flow_recipes, recipes


def small(config: ConfigDict) -> None:
    """A budget for two cores: every fifth class, ResNet-8 of 4x4 patches, 30 epochs, a tenth of the draws."""
    config.name += "-small"
    config.data.classes = tuple(range(0, 200, 5))
    config.model.name = "resnet8"
    config.model.options.patch = 4
    config.optim.lr = 0.1
    config.train.duration = "30 epochs"
    config.invariance.warmup = "2 epochs"
    config.invariance.late_from = "4 epochs"
    config.invariance.optim.lr = 1e-3
    config.invariance.predict.draws = 6


def get_config(argument: str = "") -> ConfigDict:
    """PI control (.1, .5) to 2.75 nats, crops of .7 to 1, from epoch 20 of .35 to 1; classifier as InstaAug's."""
    config = recipes.base()
    config.name = "tin-flow"
    config.data.reader = "tiny_imagenet"
    config.model.name = "preact_resnet18"
    flow_recipes.learn_transforms(config, "flow", kind="crop", layers=12)
    config.augment.flip = True
    config.optim.update({"lr": 0.2, "nesterov": True, "weight_decay": 1e-4, "warmup": "1 epochs"})
    config.train.duration = "150 epochs"
    config.train.batch_size = 100
    config.invariance.pose = "crop_network"
    config.invariance.warmup = "10 epochs"
    config.invariance.late_limits = (0.35, 1.0)
    config.invariance.late_from = "20 epochs"
    config.invariance.controller = "pid"
    config.invariance.controller_options = {"target": 2.75, "kp": 0.1, "ki": 0.5}
    config.invariance.optim.lr = 1e-4
    config.invariance.predict.draws = 60
    rivals = {word: change for word, change in flow_recipes.RIVALS.items() if word != "gaussian"}
    words = {"small": small, "mollified": flow_recipes.mollified, **flow_recipes.CROP_GRIDS}
    return recipes.variant(config, argument, **words, **rivals)
