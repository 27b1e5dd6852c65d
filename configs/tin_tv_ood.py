"""TinyImageNet with a critic: the first hundred classes are learned, the other hundred are near.

    python -m mollax.main --config=configs/tin_tv_ood.py --config.data.path=tiny-imagenet-200.zip --workdir=runs/tin_tv

Words after a colon, joined by commas: `small` (ResNet-8 of 2x2 patches, 5 epochs: shows the path on CPU), `augmix`,
`cutmix`, `gan`, `none`, `logit_norm`, `generalized_odin`, `exposure`, `energy`, `balanced_energy`, `head`, `smoke`; see
configs/cifar10_tv_ood.py.
"""

from ml_collections import ConfigDict

from mollax import ood_recipes, recipes


def get_config(argument: str = "") -> ConfigDict:
    """PreActResNet-18, 100 epochs, critic and classifier together. Ours: the paper has no TinyImageNet."""
    config = recipes.base()
    config.name = "tin-tv-ood"
    config.data.reader = "tiny_imagenet"
    config.data.classes = tuple(range(100))
    ood_recipes.photographs(config, "preact_resnet18")
    config.eval.ood.sets = {
        "other_classes": {"group": "near", "reader": "data", "classes": tuple(range(100, 200))},
        "mnist": {"group": "far", "reader": "idx", "path": ""},
        "textures": {"group": "far", "reader": "images", "path": ""},
        "uniform": {"group": "far", "reader": "noise", "name": "uniform"},
        "gaussian": {"group": "far", "reader": "noise", "name": "gaussian"},
        "fog": {"group": "shifted", "reader": "corruption", "name": "fog:3"},
    }
    words = {word: change for word, change in ood_recipes.WORDS.items() if word not in ("jpeg", "auxiliary", "woods")}
    return recipes.variant(config, argument, small=ood_recipes.small, **words)
