"""CIFAR-100 with a critic: the networks of table 1 of TV-OOD (41.6 % FPR95 with WideResNet, 46.0 % with DenseNet-121).

    python -m mollax.main --config=configs/cifar100_tv_ood.py --config.data.path=cifar-100-python.tar.gz \
        --config.eval.ood.sets.svhn.path=DATA_DIR --workdir=runs/cifar100_tv

No data are shipped. The paper's auxiliary set, 80 Million Tiny Images, is withdrawn; `auxiliary` takes half of
TinyImageNet. Words after a colon, joined by commas: `densenet`, `jpeg`, `auxiliary`, `augmix`, `cutmix`, `gan`, `none`,
`logit_norm`, `generalized_odin`, `exposure`, `energy`, `balanced_energy`, `woods`, `head`, `smoke`; see
configs/cifar10_tv_ood.py. Nobody has run all epochs of this config yet.
"""

from ml_collections import ConfigDict

from mollax import ood_recipes, recipes


def densenet(config: ConfigDict) -> None:
    """The paper's first network."""
    config.name += "-densenet"
    config.model.name = "densenet121"


def get_config(argument: str = "") -> ConfigDict:
    """WRN-40-2 (the paper does not say which WideResNet), 100 epochs, m = .5; schedule ours."""
    config = recipes.base()
    config.name = "cifar100-tv-ood"
    config.data.reader = "cifar"
    ood_recipes.photographs(config, "wrn40_2")
    ood_recipes.natural_sets(config)
    return recipes.variant(config, argument, densenet=densenet, **ood_recipes.WORDS)
