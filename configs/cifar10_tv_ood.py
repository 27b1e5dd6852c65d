"""CIFAR-10 with a critic: TV-OOD against other scores and losses (tables 1 to 3 in form; CIFAR-100 in the paper).

    python -m mollax.main --config=configs/cifar10_tv_ood.py --config.data.path=cifar-10-python.tar.gz \
        --config.eval.ood.sets.tin.path=tiny-imagenet-200.zip --workdir=runs/cifar10_tv

Sets whose path is empty are left out; noise and fog need none. Words after a colon, joined by commas:
`small` (ResNet-8 of 2x2 patches, 5 epochs, for two cores), `jpeg` (data.path is a folder or zip of JPEG images: other
sets go through JPEG too), `near` (six classes are learned, the other four are near), `auxiliary` (learns from half of
TinyImageNet too: `--config.ood.auxiliary.path`), `augmix`, `cutmix` (shuffled blocks of images after these), `gan` (a
GAN's negatives instead of shuffled blocks; `auxiliary,gan` learns from both), `none`, `logit_norm`, `generalized_odin`
(a head of another kind, and its score), `exposure`, `energy`, `balanced_energy`, `woods` (instead of total variation),
`head` (the critic alone learns), `smoke`. `gan`, `energy`, `balanced_energy` and `woods` continue a trained classifier,
`--config.init_from=RUN`; `woods` needs the auxiliary path too.
"""

from ml_collections import ConfigDict

from mollax import ood_recipes, recipes


def near(config: ConfigDict) -> None:
    """Animals but bird and frog, and vehicles on land, are learned; what flies, swims or jumps is near."""
    config.name += "-near"
    config.data.classes = ("automobile", "cat", "deer", "dog", "horse", "truck")
    others = {"group": "near", "reader": "data", "split": "all", "limit": 5000}
    others |= {"classes": ("airplane", "bird", "frog", "ship")}
    config.eval.ood.sets = {"other_classes": others, **config.eval.ood.sets.to_dict()}


def get_config(argument: str = "") -> ConfigDict:
    """WRN-40-2, 100 epochs, critic and classifier together. The paper leaves the schedule open; this is OE's. Ours."""
    config = recipes.base()
    config.name = "cifar10-tv-ood"
    config.data.reader = "cifar"
    ood_recipes.photographs(config, "wrn40_2")
    ood_recipes.natural_sets(config, excluded=ood_recipes.LIKE_CIFAR10)
    return recipes.variant(config, argument, small=ood_recipes.small, near=near, **ood_recipes.WORDS)
