"""TinyImageNet with a critic: the first hundred classes are learned, the other hundred are near.

    python -m mollax.main --config=configs/tin_tv_ood.py --config.data.path=tiny-imagenet-200.zip --workdir=runs/tin_tv

Words after a colon, joined by commas: `small` (ResNet-8, 4 epochs: a run for CPU that shows the path), `augmix`,
`cutmix`, `none`, `logit_norm`, `exposure`, `energy`, `balanced_energy`, `head`, `smoke`; see configs/cifar10_tv_ood.py.
"""

from ml_collections import ConfigDict

from mollax import ood_recipes, recipes


def small(config: ConfigDict) -> None:
    """A budget for two cores."""
    config.model.name = "resnet8"
    config.model.options.patch = 2
    config.train.duration = "4 epochs"
    config.eval.every = "100 %"


def get_config(argument: str = "") -> ConfigDict:
    """PreActResNet-18, 100 epochs, critic and classifier together. Ours: the paper has no TinyImageNet."""
    config = recipes.base()
    config.name = "tin-tv-ood"
    config.data.reader = "tiny_imagenet"
    config.data.classes = tuple(range(100))
    config.model.name = "preact_resnet18"
    config.optim.update({"lr": 0.1, "nesterov": True, "warmup": "5 %"})
    config.augment.degrees = 0.0
    config.train.duration = "100 epochs"
    ood_recipes.detect(config, "tv")
    config.eval.ood.sets = {
        "other_classes": {"group": "near", "reader": "data", "classes": tuple(range(100, 200))},
        "mnist": {"group": "far", "reader": "idx", "path": ""},
        "textures": {"group": "far", "reader": "images", "path": ""},
        "uniform": {"group": "far", "reader": "noise", "name": "uniform"},
        "gaussian": {"group": "far", "reader": "noise", "name": "gaussian"},
        "fog": {"group": "shifted", "reader": "corruption", "name": "fog:3"},
    }
    words = {word: change for word, change in ood_recipes.WORDS.items() if word not in ("jpeg", "auxiliary", "woods")}
    return recipes.variant(config, argument, small=small, **words)
